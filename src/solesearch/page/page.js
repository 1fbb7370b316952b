// What the browser does itself: it asks the server for pieces of HTML and puts them in their place.
"use strict";
const find = (selector, inside = document) => inside.querySelector(selector);
const form = find("#choices"), results = find("#results"), neighbours = find("#map-neighbours");
const drawing = find("svg.points");
const latest = new Map();  // place -> the question whose answer it waits for
const GONE = "The page does not answer. Is its server still running?";

function refuse(place, words) {
  const line = Object.assign(document.createElement("p"), { className: "message problem", textContent: words });
  line.setAttribute("role", "alert");
  place.replaceChildren(line);
}

// Put what an address answers into a place, or the sentence that says why it does not. Return whether that is
// what the place waits for: the answer to an older question comes too late and is dropped.
async function load(place, path, parameters) {
  const asked = Symbol(path);
  latest.set(place, asked);
  let reply, content;
  try {
    reply = await fetch(`${path}?${new URLSearchParams(parameters)}`);
    content = reply.ok ? await reply.text() : (await reply.json()).detail;
  } catch { content = GONE; }
  if (latest.get(place) !== asked) return false;
  if (reply?.ok) place.innerHTML = content; else refuse(place, content);
  return true;
}

// Search with a photo's id, an upload's token, or any photo of a class; `from` is the button that was pressed.
// The keyboard's place moves to the new query when the button was among the old answers, and on a phone, where
// answers lie below the screen, the page scrolls to them.
let query = ["photo", find(".query", results).dataset.value];  // what is shown or asked for, and asked again
async function search(name, value, { place = results, from = null } = {}) {
  const moves = Boolean(from && place.contains(from));
  const choices = place === results ? [...new FormData(form)] : [["model", find("#map").dataset.model]];
  if (place === results) query = [name, value];
  if (!await load(place, "/answers", [...choices, [name, value]])) return;
  const figure = find(".query", place);
  if (figure && place === results) query = [figure.dataset.name, figure.dataset.value];
  if (moves) figure?.focus({ preventScroll: true });
  if (from && place.getBoundingClientRect().top > 0.8 * innerHeight) place.scrollIntoView();
}

const pick = () => load(find("#picker"), "/picker", { label: find("#class").value });
find("#class").addEventListener("change", pick);
find("#more").addEventListener("click", pick);
find("#random").addEventListener("click", (event) => search("label", find("#class").value, { from: event.target }));
form.addEventListener("submit", (event) => event.preventDefault());
find("#photo-id").addEventListener("keydown", (event) => {
  if (event.key === "Enter") search("photo", event.target.value, { from: event.target });
});
form.addEventListener("input", () => { find("output").textContent = find("[name=k]").value; });
form.addEventListener("change", (event) => { if (event.target.name) search(...query); });

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.photo) {
    const place = button.closest("#map") ? neighbours : results;
    search("photo", button.dataset.photo, { place, from: button }).then(edge);
  } else if (button.dataset.class !== undefined) {  // of the map's legend
    const group = find(`g[data-class="${CSS.escape(button.dataset.class)}"]`);
    group.toggleAttribute("hidden");
    button.setAttribute("aria-pressed", String(!group.hasAttribute("hidden")));
  } else if (button.role === "tab") {
    for (const tab of document.querySelectorAll("[role=tab]")) {
      tab.setAttribute("aria-selected", String(tab === button));
      find(`#${tab.getAttribute("aria-controls")}`).hidden = tab !== button;
    }
  }
});

// The file's bytes go to /upload, its name does not; the token that comes back starts the search.
find("#upload").addEventListener("change", async (event) => {
  const [file] = event.target.files, most = Number(event.target.dataset.most);
  if (!file) return;
  let said = { detail: `The file is larger than ${most} MB. Please choose a smaller photo.` };
  if (file.size <= most * 1e6) {
    const headers = { "Content-Type": "application/octet-stream" };
    const sent = fetch("/upload", { method: "POST", body: file, headers });
    said = await sent.then((reply) => reply.json()).catch(() => ({ detail: GONE }));
  }
  event.target.value = "";  // the same file may be chosen again
  if (said.token) return search("upload", said.token, { from: event.target });
  refuse(results, said.detail);
  results.scrollIntoView({ block: "nearest" });
});

// --- the map ---------------------------------------------------------------------------------------------
let current = null;
const place = (mark) => mark.transform.baseVal[0].matrix;

function show(mark) {
  current = mark;
  const ring = find(".cursor", drawing);
  ring.setAttribute("cx", place(mark).e);
  ring.setAttribute("cy", place(mark).f);
  ring.setAttribute("visibility", "visible");
  find(".here").textContent = `${mark.parentNode.dataset.class}, photo ${mark.dataset.photo}`;
}

// The neighbours that the row below shows get a black edge on the map.
function edge() {
  const near = new Set([...neighbours.querySelectorAll(".answers [data-photo]")].map((button) => button.dataset.photo));
  for (const mark of drawing.querySelectorAll("path")) mark.classList.toggle("near", near.has(mark.dataset.photo));
}

function choose(mark) {
  show(mark);
  search("photo", mark.dataset.photo, { place: neighbours, from: mark }).then(edge);
}

// Return the visible mark nearest to a point, among those that `wanted` takes by their offset, and its distance.
function nearest(x, y, wanted = () => true) {
  let best = null, least = Infinity;
  for (const mark of drawing.querySelectorAll("g:not([hidden]) > path")) {
    const at = place(mark), far = Math.hypot(at.e - x, at.f - y);
    if (far < least && wanted(at.e - x, at.f - y)) [best, least] = [mark, far];
  }
  return [best, least];
}

drawing.addEventListener("click", (event) => {
  const toDrawing = drawing.getScreenCTM().inverse();
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(toDrawing);
  const [mark, far] = nearest(point.x, point.y);
  if (mark && far < 22 * toDrawing.a) choose(mark);  // a finger is about 22 pixels wide
});

const arrows = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
drawing.addEventListener("keydown", (event) => {
  if (event.key in arrows) {
    const [right, down] = arrows[event.key];
    const from = current && !current.parentNode.hasAttribute("hidden") ? place(current) : null;
    const ahead = (x, y) => x * right + y * down > Math.abs(x * down) + Math.abs(y * right);
    const [mark] = from ? nearest(from.e, from.f, ahead) : nearest(484, 304);
    if (mark) show(mark);
  } else if ((event.key === "Enter" || event.key === " ") && current) choose(current);
  else return;
  event.preventDefault();
});
