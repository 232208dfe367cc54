"use strict";

// The page's state is the last answer and the shown place: 0 is the picture, then come the layers.
const at = (id) => document.getElementById(id);
let answer = null;
let about = null;
let busy = false;

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

async function send(file) {
  // The server would wait as well, but the answers would come in a row.
  if (busy) return;
  at("result").hidden = true;
  if (about && file.size > about.max_bytes) {
    const megabytes = Math.floor(about.max_bytes / 2 ** 20);
    say({ error: `${file.name}: has more than ${megabytes} MB; make it smaller` });
    return;
  }
  busy = true;
  say({ status: `Looking at ${file.name} …` });
  try {
    const headers = { "X-Name": encodeURIComponent(file.name) };
    const response = await fetch("predict", { method: "POST", headers, body: file });
    const found = await json(response);
    if (found.error) say({ error: found.error });
    else show(found);
  } catch {
    say({ error: "The server does not answer; start it again with `make app`." });
  } finally {
    busy = false;
  }
}

function show(found) {
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
  say({ status: said, quiet: true });
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
  at("shown").textContent = words;
  at("layer").setAttribute("aria-valuetext", words);
}

function listen() {
  at("file").addEventListener("change", () => {
    const [file] = at("file").files;
    if (file) send(file);
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
    const [file] = event.dataTransfer.files;
    if (file) send(file);
    else say({ error: "That was no file; drop a picture from a folder." });
  });
}

async function begin() {
  listen();
  about = await json(await fetch("about"));
  at("classes").textContent = `The network knows: ${about.classes.join(", ")}.`;
  at("caveat").textContent = about.caveat;
}

begin();
