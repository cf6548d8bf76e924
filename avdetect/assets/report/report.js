// The page: which source, which class, which stretch of time, where in it, and the player that goes along.

const $ = (id) => document.getElementById(id);
const entries = [...document.querySelectorAll("script.entry")].map((script) => JSON.parse(script.textContent));
const CLICK_PIXELS = 4, SKIP_S = 5, SMALLEST_VIEW_SNIPPETS = 6;

let entry = null;      // the source on show
let model = null;      // what is drawn of it
let player = null;     // <video>, <audio>, or null where there is nothing to play
let shift = 0;         // the player's clock minus ours: some browsers keep the container's, some start from 0
let position = 0;
let chosenRow = -1;    // index into model.listed of the event last jumped to
let objectUrl = null;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// ---- player ----------------------------------------------------------------------------------------------------------------

function openPlayer(url) {
  closePlayer();
  if (!url) return sayUnplayable(`${entry.name} was not read from a file, so there is nothing to play here. The curves and ${FOUND}s are all the same.`);
  const audioOnly = entry.kind === "audio";
  player = element(audioOnly ? "audio" : "video", { controls: true, preload: "metadata", playsInline: true });
  player.setAttribute("aria-label", entry.name);
  const mine = player;
  player.addEventListener("error", () => {
    if (player !== mine) return;
    closePlayer();
    sayUnplayable(`This browser cannot play ${entry.name}: it may have been moved, or be in a format (${entry.facts}) that browsers do not know. The curves and ${FOUND}s work without it.`);
  });
  player.addEventListener("loadedmetadata", () => {
    shift = mine.currentTime;
    if (position > 0) mine.currentTime = position + shift;
  });
  for (const type of ["timeupdate", "seeking", "seeked"]) player.addEventListener(type, followPlayer);
  player.addEventListener("play", () => requestAnimationFrame(followWhilePlaying));
  player.src = url;
  $("screen").replaceChildren(player);
  $("unplayable").hidden = true;
  document.querySelector(".player").classList.toggle("quiet", audioOnly);
}

function closePlayer() {
  const old = player;
  player = null;
  if (old) { old.removeAttribute("src"); old.load(); old.remove(); }
}

function sayUnplayable(why) {
  $("screen").replaceChildren();
  $("why").textContent = why;
  $("unplayable").hidden = false;
  document.querySelector(".player").classList.add("quiet");
}

function followPlayer() {
  if (player && player.readyState > 0) setPosition(player.currentTime - shift);
}

function followWhilePlaying() {
  followPlayer();
  if (player && !player.paused) requestAnimationFrame(followWhilePlaying);
}

function seek(time) {
  const wanted = Math.min(Math.max(0, time), model.duration);
  if (player && player.readyState > 0) player.currentTime = wanted + shift;
  setPosition(wanted);
}

function setPosition(time) {
  position = Math.min(Math.max(0, time), model.duration);
  const { start, end } = model.view, span = end - start;
  if (player && !player.paused && (position < start || position > end) && !drag) setView(position - span * 0.1, position + span * 0.9);
  $("plot").setAttribute("aria-valuenow", position.toFixed(2));
  $("plot").setAttribute("aria-valuetext", readoutAt(position).map((line) => line.join(" ")).join(", "));
  placeLine($("playhead"), position);
  markCurrentRow();
}

// ---- what is drawn ---------------------------------------------------------------------------------------------------------

const plotWidth = () => $("plot").clientWidth - GUTTER;
const timeAt = (clientX) => model.view.start + ((clientX - $("plot").getBoundingClientRect().left - GUTTER) / plotWidth()) * (model.view.end - model.view.start);

function placeLine(line, time) {
  const part = (time - model.view.start) / (model.view.end - model.view.start);
  line.hidden = part < 0 || part > 1;
  line.style.transform = `translateX(${GUTTER + part * plotWidth()}px)`;
}

let frameWanted = false;
function redraw() {
  if (frameWanted) return;
  frameWanted = true;
  requestAnimationFrame(() => {
    frameWanted = false;
    drawPlot($("curves"), model);
    drawOverview($("overview"), model);
    placeLine($("playhead"), position);
  });
}

function setView(start, end) {
  const span = Math.min(model.duration, Math.max(end - start, SMALLEST_VIEW_SNIPPETS * model.series.hop));
  const from = Math.min(Math.max(0, start), model.duration - span);
  model.view = { start: from, end: from + span };
  redraw();
}

function zoom(factor, around) {
  const { start, end } = model.view;
  setView(around - (around - start) * factor, around + (end - around) * factor);
}

const zoomCentre = () => (position >= model.view.start && position <= model.view.end ? position : (model.view.start + model.view.end) / 2);

function readoutAt(time) {
  const index = snippetAt(model.series, time);
  const lines = [[clock(time, 2)]];
  for (const lane of LANES) {
    const isPresent = index >= 0 && model.series.present[index] & lane.bit;
    lines.push([lane.name, isPresent ? (model.curves[lane.head][index] / 255).toFixed(2) : "absent"]);
  }
  for (const event of model.listed) {
    if (event.start_s <= time && time < event.end_s) lines.push([plain(event.class), event.confidence.toFixed(2)]);
  }
  return lines;
}

function showReadout(clientX) {
  const time = timeAt(clientX), box = $("readout");
  if (time < model.view.start || time > model.view.end) return hideReadout();
  const [[title], ...lines] = readoutAt(time);
  box.replaceChildren(element("b", { textContent: title }), ...lines.flatMap(([name, value]) => [element("span", { textContent: name }), element("span", { textContent: value })]));
  box.hidden = false;
  placeLine($("cursor"), time);
  const x = clientX - $("plot").getBoundingClientRect().left, room = $("plot").clientWidth;
  box.style.transform = `translateX(${x + 14 + box.offsetWidth > room ? Math.max(0, x - 14 - box.offsetWidth) : x + 14}px)`;
}

function hideReadout() {
  $("readout").hidden = true;
  $("cursor").hidden = true;
}

function chooseClass(index) {
  model.classIndex = index;
  model.curves = curvesOf(model.series, index);
  const thresholds = new Set(model.series.classes.filter((spec, i) => (index === null ? isWanted(spec) : i === index)).map((spec) => spec.on));
  model.threshold = thresholds.size === 1 ? [...thresholds][0] : null;
  model.listed = index === null ? entry.events : entry.events.filter((event) => event.class === model.series.classes[index].name);
  chosenRow = -1;
  listEvents();
  redraw();
}

// ---- events ----------------------------------------------------------------------------------------------------------------

function listEvents() {
  $("rows").replaceChildren(...model.listed.map((event, row) => {
    const colour = `var(${classColour(model.classIndexOf(event.class))})`;
    const bar = element("span", { className: "bar" }, element("i"));
    bar.firstChild.style.width = `${event.confidence * 100}%`;
    const dot = element("span", { className: "dot" });
    const jump = element("button", { type: "button", textContent: clock(event.start_s) });
    jump.setAttribute("aria-label", `${plain(event.class)} at ${clock(event.start_s)}: play from here`);
    const line = element("tr", {},
      element("td", {}, jump, element("small", { textContent: ` ${(event.end_s - event.start_s).toFixed(1)} s` })),
      element("td", {}, element("span", { className: "label" }, dot, plain(event.class))),
      element("td", {}, bar, event.confidence.toFixed(2)),
      element("td", {}, element("span", { className: `by by-${event.modality}`, textContent: CARRIED_BY[event.modality] })));
    line.style.setProperty("--colour", colour);
    line.addEventListener("click", () => jumpTo(row));
    return line;
  }));
  $("none").hidden = model.listed.length > 0;
  document.querySelector(".events table").hidden = model.listed.length === 0;
  $("previous").disabled = $("next").disabled = model.listed.length === 0;
  markCurrentRow();
}

function jumpTo(row) {
  const event = model.listed[row];
  if (!event) return;
  chosenRow = row;
  const { start, end } = model.view, span = end - start;
  if (event.start_s < start || event.start_s > end) setView(event.start_s - span * 0.2, event.start_s + span * 0.8);
  seek(event.start_s);
  const line = $("rows").children[row], scroller = $("scroller");
  const above = line.offsetTop - 40, below = line.offsetTop + line.offsetHeight - scroller.clientHeight;
  if (scroller.scrollTop > above) scroller.scrollTop = above;
  if (scroller.scrollTop < below) scroller.scrollTop = below;
}

const atChosen = () => chosenRow >= 0 && Math.abs(model.listed[chosenRow].start_s - position) < 0.01;

/** The event last begun; the one jumped to where several begin at once. */
function currentRow() {
  return atChosen() ? chosenRow : model.listed.findLastIndex((event) => event.start_s <= position + 1e-6);
}

function step(direction) {
  const row = currentRow();
  const goBackToStart = direction < 0 && row >= 0 && position - model.listed[row].start_s > 1;
  jumpTo(Math.min(Math.max(0, goBackToStart ? row : row + direction), model.listed.length - 1));
}

let marked = null;
function markCurrentRow() {
  const row = currentRow();
  const inside = row >= 0 && (atChosen() || position < model.listed[row].end_s);
  const line = inside ? $("rows").children[row] : null;
  if (line === marked) return;
  marked?.removeAttribute("aria-current");
  line?.setAttribute("aria-current", "true");
  marked = line;
}

// ---- one source ------------------------------------------------------------------------------------------------------------

function listClasses() {
  const chip = (index, name, count, colour) => {
    const input = element("input", { type: "radio", name: "class", checked: index === null });
    input.addEventListener("change", () => chooseClass(index));
    const face = element("span", {}, ...(colour ? [element("i", { className: "dot" })] : []), name, ...(count ? [element("em", { textContent: count })] : []));
    if (colour) face.style.setProperty("--colour", `var(${colour})`);
    return element("label", { className: "chip" }, input, face);
  };
  const countOf = (name) => entry.events.filter((event) => event.class === name).length;
  $("classes").replaceChildren(
    chip(null, `All ${FOUND}s`, entry.count, null),
    ...entry.classes.map((spec, index) => chip(index, plain(spec.name), countOf(spec.name), classColour(index))));
}

function show(index) {
  entry = entries[index];
  const series = decodeSeries(entry);
  const labels = new Map(entry.classes.map((spec, i) => [spec.name, i]));
  const duration = Math.max(entry.duration_s, series.hop);
  model = {
    series, duration, events: entry.events, listed: entry.events, classIndex: null, curves: null, threshold: null,
    classIndexOf: (label) => labels.get(label) ?? labels.size,
    eventClasses: entry.classes.map((spec) => spec.name).filter((name) => entry.events.some((event) => event.class === name)),
    view: { start: 0, end: duration },
  };
  position = 0;
  shift = 0;
  $("name").textContent = entry.name;
  $("facts").textContent = entry.facts;
  $("plot").setAttribute("aria-valuemax", duration.toFixed(2));
  document.querySelectorAll("#source-list button").forEach((button, i) => button.setAttribute("aria-current", String(i === index)));
  listClasses();
  chooseClass(null);
  $("notes").hidden = entry.notes.length === 0;
  $("note-list").replaceChildren(...entry.notes.map((note) => element("li", {},
    ...(note.time_s === null ? [] : [element("b", { textContent: clock(note.time_s) })]),
    element("span", { textContent: note.message }), element("code", { textContent: note.code }))));
  openPlayer(entry.url);
  setPosition(0);
}

function listSources() {
  const numFound = entries.reduce((sum, one) => sum + one.count, 0);
  const counted = (count) => `${count || "no"} ${FOUND}${count === 1 ? "" : "s"}`;
  const length = clock(entries.reduce((sum, one) => sum + one.duration_s, 0), 0);
  $("totals").textContent = (entries.length > 1 ? `${entries.length} sources · ` : "") + `${counted(numFound)} in ${length}`;
  $("sources").hidden = entries.length < 2;
  $("source-list").replaceChildren(...entries.map((one, index) => {
    const button = element("button", { type: "button" }, element("b", { textContent: one.name }),
      element("span", { className: "muted", textContent: `${counted(one.count)} · ${clock(one.duration_s, 0)}` }));
    button.addEventListener("click", () => show(index));
    return element("li", {}, button);
  }));
}

// ---- hands -----------------------------------------------------------------------------------------------------------------

const pointers = new Map();
let drag = null;  // {x, view, moved, gap}: where a drag or pinch on the plot began

function beginDrag() {
  const xs = [...pointers.values()];
  drag = { x: xs.reduce((a, b) => a + b) / xs.length, gap: xs.length > 1 ? Math.abs(xs[0] - xs[1]) : 0, view: model.view, moved: xs.length > 1 || (drag?.moved ?? false) };
}

function onPointerMove(event) {
  if (!pointers.has(event.pointerId)) return void (event.pointerType === "mouse" && showReadout(event.clientX));
  pointers.set(event.pointerId, event.clientX);
  const xs = [...pointers.values()], x = xs.reduce((a, b) => a + b) / xs.length;
  if (Math.abs(x - drag.x) > CLICK_PIXELS) drag.moved = true;
  if (!drag.moved) return;
  $("plot").classList.add("dragging");
  hideReadout();
  const span = drag.view.end - drag.view.start, part = (drag.x - $("plot").getBoundingClientRect().left - GUTTER) / plotWidth();
  const newSpan = drag.gap ? (span * drag.gap) / Math.max(8, Math.abs(xs[0] - xs[1])) : span;
  const start = drag.view.start + part * (span - newSpan) - ((x - drag.x) / plotWidth()) * newSpan;
  setView(start, start + newSpan);
}

function endDrag(event) {
  if (!pointers.delete(event.pointerId)) return;
  if (pointers.size) return beginDrag();
  const clicked = event.type === "pointerup" && !drag.moved && timeAt(event.clientX) >= model.view.start;
  drag = null;
  $("plot").classList.remove("dragging");
  if (clicked) {
    seek(timeAt(event.clientX));
    if (event.pointerType !== "mouse") showReadout(event.clientX);
  }
}

$("plot").addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  $("plot").setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, event.clientX);
  beginDrag();
});
$("plot").addEventListener("pointermove", onPointerMove);
$("plot").addEventListener("pointerup", endDrag);
$("plot").addEventListener("pointercancel", endDrag);
$("plot").addEventListener("pointerleave", hideReadout);
$("plot").addEventListener("wheel", (event) => {
  const { start, end } = model.view, span = end - start;
  const sideways = event.shiftKey ? event.deltaX || event.deltaY : Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : 0;
  if (!sideways && event.deltaY > 0 && span >= model.duration) return;  // nothing left to zoom out of: the page scrolls
  event.preventDefault();
  if (sideways) setView(start + (sideways / plotWidth()) * span, end + (sideways / plotWidth()) * span);
  else zoom(Math.exp(Math.min(60, Math.max(-60, event.deltaY)) * 0.004), timeAt(event.clientX));
  showReadout(event.clientX);
}, { passive: false });

function centreOn(event) {
  const bounds = $("overview").getBoundingClientRect(), span = model.view.end - model.view.start;
  const time = ((event.clientX - bounds.left - GUTTER) / (bounds.width - GUTTER)) * model.duration;
  setView(time - span / 2, time + span / 2);
}
$("overview").addEventListener("pointerdown", (event) => { $("overview").setPointerCapture(event.pointerId); centreOn(event); });
$("overview").addEventListener("pointermove", (event) => { if ($("overview").hasPointerCapture(event.pointerId)) centreOn(event); });

const KEYS = {
  n: () => step(1),
  p: () => step(-1),
  " ": () => player && (player.paused ? player.play().catch(() => {}) : player.pause()),
  ArrowLeft: () => seek(position - SKIP_S),
  ArrowRight: () => seek(position + SKIP_S),
  Home: () => seek(0),
  End: () => seek(model.duration),
  "+": () => zoom(0.5, zoomCentre()),
  "=": () => zoom(0.5, zoomCentre()),
  "-": () => zoom(2, zoomCentre()),
  0: () => setView(0, model.duration),
};
document.addEventListener("keydown", (event) => {
  const at = event.target;
  const typing = at.matches("input, video, audio") || (at.matches("button") && event.key === " ");
  if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key] || (typing && event.key !== "n" && event.key !== "p")) return;
  event.preventDefault();
  KEYS[event.key]();
});

$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("zoom-in").addEventListener("click", KEYS["+"]);
$("zoom-out").addEventListener("click", KEYS["-"]);
$("zoom-all").addEventListener("click", KEYS[0]);
$("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (!file) return;
  if (objectUrl) URL.revokeObjectURL(objectUrl);
  objectUrl = URL.createObjectURL(file);
  openPlayer(objectUrl);
  event.target.value = "";
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { forgetStyles(); if (model) redraw(); });

listSources();
if (entries.length) {
  show(0);
  new ResizeObserver(redraw).observe($("plot"));
} else {
  document.querySelector("main").hidden = true;
}
