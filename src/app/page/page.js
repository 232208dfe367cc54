"use strict";

// The page's state is the last answer and the shown place: 0 is the picture, then come the layers;
// and the picture that the server looks at, with the one that comes next.
const at = (id) => document.getElementById(id);
let answer = null;
let about = null;
let looking = null;
let waiting = null;

function percent(probability) {
  return `${(100 * probability).toFixed(1)}%`;
}

function say({ status = "", error = "", quiet = false }) {
  at("status").textContent = status;
  // The heading shows it already; a screen reader says it.
  at("status").classList.toggle("quiet", quiet);
  at("error").textContent = error;
}

async function json(response) {
  try {
    return await response.json();
  } catch {
    return { error: "The server failed; the terminal where it runs says why." };
  }
}

async function take([file, ...others]) {
  const count = others.length + 1;
  const note = others.length ? `Only the first of ${count} files is taken; drop one at a time.` : "";
  // Of those that wait only the last is looked at: the page shows one picture.
  waiting = { file, note };
  if (looking) {
    say({ status: `Looking at ${looking.file.name} …, then at ${file.name}. ${note}` });
    return;
  }
  let failed = "";
  while (waiting) {
    [looking, waiting] = [waiting, null];
    try {
      failed = await look(looking, failed);
    } finally {
      looking = null;
    }
  }
}

// Returns what is wrong with the file; failed: what was wrong with the one before, which would
// otherwise be gone before anyone has read it.
async function look({ file, note }, failed) {
  // The server may have been started again, with another network.
  learn().catch(() => {});
  // What is hidden loses the keyboard's focus.
  if (at("result").contains(document.activeElement)) at("file").focus();
  at("result").hidden = true;
  say({ status: `Looking at ${file.name} … ${note}`, error: failed });
  const found = await ask(file);
  if (found.error) say({ status: note, error: [failed, found.error].filter(Boolean).join(" ") });
  else show(found, note, failed);
  return found.error ?? "";
}

async function ask(file) {
  if (about && file.size > about.max_bytes) {
    const megabytes = Math.floor(about.max_bytes / 2 ** 20);
    return { error: `${file.name}: has more than ${megabytes} MB; make it smaller` };
  }
  let body;
  try {
    body = await file.arrayBuffer();
  } catch {
    return { error: `${file.name}: cannot be read; drop a picture file, not a folder` };
  }
  const headers = { "X-Name": encodeURIComponent(file.name.toWellFormed?.() ?? file.name) };
  try {
    return await json(await fetch("predict", { method: "POST", headers, body }));
  } catch {
    return { error: "The server does not answer; start it again with `make app`." };
  }
}

function show(found, note, failed) {
  answer = found;
  const [first] = found.classes;
  const said = `${found.name}: ${first.name}, ${percent(first.probability)}`;
  at("said").textContent = said;
  at("remark").textContent = found.remark;
  at("guesses").replaceChildren(...found.classes.map(row));
  at("layer").max = found.layers.length;
  at("layer").value = found.layers.length;
  at("result").hidden = false;
  showLayer();
  const status = note ? `${said}. ${note}` : said;
  say({ status, error: failed, quiet: !note });
}

function row({ name, probability }) {
  const [line, heading, cell, meter] = ["tr", "th", "td", "meter"].map((kind) =>
    document.createElement(kind));
  heading.scope = "row";
  heading.textContent = name;
  meter.value = probability;
  // The number beside it says the same.
  meter.ariaHidden = "true";
  cell.append(meter, percent(probability));
  line.append(heading, cell);
  return line;
}

function showLayer() {
  const place = Number(at("layer").value);
  const layer = answer.layers[place - 1];
  const [{ name }] = answer.classes;
  const found = layer?.found ? `evidence for ${name}` : `no evidence for ${name}`;
  const words = layer ? `${layer.name}: ${found}` : "the picture";
  at("picture").src = layer ? layer.url : answer.url;
  at("picture").alt = layer ? `${answer.name}, ${words}` : answer.name;
  // The slider says it to a screen reader.
  at("shown").textContent = words;
  at("scale").classList.toggle("off", !layer);
  at("layer").setAttribute("aria-valuetext", words);
}

function listen() {
  at("file").addEventListener("change", () => {
    if (at("file").files.length) take(at("file").files);
    // The same file may be chosen again.
    at("file").value = "";
  });
  at("layer").addEventListener("input", showLayer);
  // Everywhere, because a picture that misses the field would replace the page.
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      at("drop").classList.toggle("over", kind.startsWith("drage") || kind === "dragover");
    });
  }
  document.addEventListener("drop", (event) => {
    if (event.dataTransfer.files.length) take(event.dataTransfer.files);
    else say({ error: "That was no file; drop a picture from a folder." });
  });
}

async function learn() {
  about = await json(await fetch("about"));
  at("classes").textContent = `The network knows: ${about.classes.join(", ")}.`;
  at("caveat").textContent = about.caveat;
}

listen();
learn();
