"use strict";
// DVC writes a <div> for each plot, charts first and then the pictures by their files' names. A
// chart's holds a script that calls vegaEmbed; a picture's holds its path and an <img> for each
// revision. This script puts them in the pipeline's order, each chart beside its picture.

// The first topic that fits takes a chart by its title, a picture by its file's name. A chart that
// fits none stands with the chart before it in dvc.yaml. A picture that fits none stands with the
// chart that has a word in common with its name, or else at the end.
const TOPICS = [
  ["Learning rate range test", /range test|^lr find/],
  ["Training", /^(loss|accuracy|learning rate|augmentation|training)$/],
  ["Test", /confus/],
  ["Test", /^f1|^class(es)?$/],
  ["Confidence", /calibrat|confiden|coverage/],
  ["Disturbed images", /corrupt|robust|disturb/],
  ["Explanations", /cam/],
  ["Explanations", /example|mistake|misclassified/],
  ["Explanations", /faith|control|delet|insert/],
  ["Explanations", /explan|sanity|maps?\b/],
  ["More", /$^/],
];
const NAMES = {
  "lr find": "The range test, and the rates read from it",
  "augmentation": "What training sees: augmented images",
  "training": "The course of training",
  "class examples": "Each class: its surest right image and its worst mistake",
  "confused pairs": "The most confused pairs, with examples",
  "confusion": "Which class is taken for which",
  "calibration adaptive": "The same, with as many images in each bin",
  "coverage": "Accuracy without the least sure answers",
  "corruptions": "Accuracy by kind and strength of corruption",
  "faithfulness": "What deletion and insertion do, beside controls",
  "sanity": "What is left of the maps",
  "calibration": "How often an answer is right, by how sure it is",
  "classes": "Scores of each class",
  "gradcam": "Grad-CAM: where the evidence lies, by layer",
  "misclassified": "The most confident mistakes",
};
const options = (width) => ({
  renderer: "svg",
  ast: true, // interprets Vega's expressions, so that the page need not allow `eval`
  actions: { export: true, source: false, compiled: false, editor: false },
  config: {
    font: "system-ui, sans-serif",
    axis: {
      labelFontSize: 12,
      titleFontSize: 13,
      labelSeparation: 5,
      labelLimit: Math.max(180, width / 3),
    },
    axisDiscrete: { labelOverlap: true }, // names that would lie over each other are left out
    header: { labelFontSize: 12, title: null },
    legend: {
      orient: "bottom",
      layout: { bottom: { direction: "vertical", anchor: "start" } },
      columns: Math.max(1, Math.floor(width / 180)),
      labelLimit: 140,
      labelFontSize: 12,
    },
  },
});

const embed = window.vegaEmbed;
const specs = new Map();
window.vegaEmbed = (_, spec) => specs.set(document.currentScript.parentElement, spec);

function element(name, content = "", attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(content);
  return made;
}

function readChart(div, spec, rank) {
  const title = [spec.title?.text || div.id.replaceAll("_", " ")].flat().join(" ");
  return { key: title.toLowerCase(), title, spec, rank };
}

function readPicture(div) {
  const [path, ...revisions] = [...div.querySelectorAll("p")].map((p) => p.textContent);
  const key = path.replace(/^.*[/\\]|\.\w+$/g, "").replaceAll("_", " ").toLowerCase();
  const title = NAMES[key] ?? key[0].toUpperCase() + key.slice(1);
  const sources = [...div.querySelectorAll("img")].map((img) => img.getAttribute("src"));
  return { key, title, images: sources.map((src, i) => [revisions[i], src]), rank: Infinity };
}

function haveWordInCommon(a, b) {
  const words = (text) => text.match(/\w{4,}/g) ?? [];
  const same = (one, other) => one.startsWith(other) || other.startsWith(one);
  return words(a).some((one) => words(b).some((other) => same(one, other)));
}

function place(charts, pictures) {
  let before = 0;
  for (const chart of charts) {
    const topic = TOPICS.findIndex(([, pattern]) => pattern.test(chart.key));
    chart.topic = before = topic < 0 ? before : topic;
  }
  for (const picture of pictures) {
    const topic = TOPICS.findIndex(([, pattern]) => pattern.test(picture.key));
    const near = charts.filter((chart) => topic < 0 || chart.topic === topic);
    const kin = near.find((chart) => haveWordInCommon(chart.key, picture.key));
    if (kin) kin.paired = true;
    picture.topic = kin?.topic ?? (topic < 0 ? TOPICS.length - 1 : topic);
    picture.rank = kin ? kin.rank + 0.5 : Infinity;
    picture.alone = !charts.some((chart) => chart.topic === picture.topic);
  }
  const byPlace = (a, b) => a.topic - b.topic || (a.rank === b.rank ? 0 : a.rank - b.rank);
  return [...charts, ...pictures].sort(byPlace);
}

function picture({ title, images, alone }, revisions) {
  const row = element("div", "", { className: "revisions" });
  for (const [revision, src] of images) {
    // A tap on a picture opens it alone, so that it can be made larger.
    const img = element("img", "", { src, alt: `${title} (${revision})` });
    img.onload = () => {
      const wide = images.length > 1 || alone || img.naturalWidth > 1600;
      row.parentElement.classList.toggle("wide", wide);
    };
    const link = element("a", img, { href: src });
    row.append(element("div", link));
    if (revision !== "workspace" || revisions > 1) link.before(revision);
  }
  return row;
}

// The name of a lone revision says nothing. Lines are told apart by their dashes.
function tidyLegends(spec, revisions) {
  for (const channel of ["color", "strokeDash", "shape"]) {
    const encoded = spec.encoding?.[channel];
    if (!encoded?.field) continue;
    const legend = { ...encoded.legend };
    if (["rev", "field", "filename"].includes(encoded.field)) legend.title = null;
    if (channel === "strokeDash") Object.assign(legend, { symbolType: "stroke", symbolSize: 500 });
    encoded.legend = encoded.field === "rev" && revisions < 2 ? null : legend;
  }
  if (spec.facet?.column) spec.facet.column.header = { labels: revisions > 1 };
}

// A chart takes the width that there is. Panels side by side stand one below the other where they
// would be too small, and a chart of named rows is so high that the names can be read.
function fit(spec, width, revisions) {
  const rows = spec.data?.values ?? [];
  const count = (field) => new Set(rows.map((row) => row[field])).size;
  tidyLegends(spec, revisions);
  const column = spec.facet?.column ?? spec.encoding?.column;
  if (column?.field) {
    const stacked = spec.facet && !spec.facet.row?.field && 250 * count(column.field) > width;
    if (stacked) spec.facet = { row: spec.facet.column };
    const size = Math.min(400, (width - 140) / (stacked ? 1 : count(column.field)));
    for (const view of spec.spec?.layer ?? [spec]) if ("width" in view) view.width = size;
  } else if ("width" in spec) {
    const { y } = spec.encoding ?? {};
    const row = Math.max(18, 6 * count("rev"));
    if (y?.type === "nominal") spec.height = Math.max(spec.height, row * count(y.field) + 80);
    spec.width = "container";
    spec.autosize = { type: "fit", contains: "padding" };
  }
}

// Vega takes an empty cell of a table for 0: of a loss that was not measured, say.
function emptyCellsAreNone(spec) {
  for (const row of spec.data?.values ?? [])
    for (const name in row) if (row[name] === "") row[name] = null;
}

async function draw(box, spec, revisions) {
  box.ariaBusy = "true";
  try {
    delete spec.title;
    emptyCellsAreNone(spec);
    fit(spec, box.clientWidth, revisions);
    await embed(box, spec, options(box.clientWidth));
  } catch (error) {
    console.error(error);
    box.textContent = `This chart could not be drawn: ${error.message}`;
  }
  box.ariaBusy = "false";
}

// How many revisions the page shows. A chart may have the data of one of them alone.
function countRevisions(items) {
  const names = items.flatMap(({ spec, images }) =>
    spec ? (spec.data?.values ?? []).map((row) => row.rev) : images.map(([revision]) => revision),
  );
  return new Set(names.filter(Boolean)).size;
}

function show(item, revisions) {
  const content = item.spec ? element("div") : picture(item, revisions);
  const className = item.paired ? "paired" : "";
  const figure = element("figure", element("figcaption", item.title), { className });
  figure.append(content);
  return figure;
}

function arrange() {
  const main = document.querySelector("main");
  // Where no revision has the data of a plot, its specification is empty.
  const drawn = [...specs].filter(([, spec]) => Object.keys(spec).length);
  const charts = drawn.map(([div, spec], rank) => readChart(div, spec, rank));
  const pictures = [...main.querySelectorAll("div:has(> p):has(img)")].filter((div) => div.id);
  const items = place(charts, pictures.map(readPicture));
  const revisions = countRevisions(items);
  const nav = element("nav");
  main.replaceChildren(nav);
  for (const [heading] of new Map(TOPICS)) {
    const here = items.filter((item) => TOPICS[item.topic][0] === heading);
    if (!here.length) continue;
    const section = element("section", element("h2", heading), { id: heading });
    nav.append(element("a", heading, { href: `#${heading}` }));
    main.append(section);
    for (const item of here) section.append((item.figure = show(item, revisions)));
  }
  for (const { spec, figure } of items) if (spec) draw(figure.lastChild, spec, revisions);
}

document.addEventListener("DOMContentLoaded", arrange);
