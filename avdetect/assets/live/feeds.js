// The feeds: a card with small curves for each, and one of them at large.

import { getGaps, getScores, putThreshold } from "./api.js";
import { briefly, clock, duration, fullTime, secondsOf, serverNow } from "./clock.js";
import { drawLarge, drawSmall, rowAt, valueOf } from "./curves.js";
import { $, classColour, element, toast } from "./dom.js";

const KEPT_S = 310; // a little more than the longest curves
const FRESH_S = 10; // a score this young is "now": the curves end with it, and not with a hole
const NUM_GAPS = 12;
const WORDS = { connecting: "connecting", running: "live", waiting: "waiting", restarting: "restarting", ended: "ended", stopped: "stopped" };

let classes = [];              // of the bundle: the columns of all scores
const feeds = new Map();       // name -> { status, rows, events, chosen, card }
const stale = new Set();       // feeds whose curves have to be drawn anew
let windowS = 300, opened = null, onChosen = () => {};

/** Begin. `chosen(name)` is called with the feed that was opened, or "" when it was closed. */
export function startFeeds({ chosen }) {
  onChosen = chosen;
  for (const input of document.getElementsByName("window")) {
    input.addEventListener("change", () => { windowS = Number(input.value); redrawFeeds(); });
  }
  $("detail-close").addEventListener("click", () => openFeed(null));
  $("detail-plot").addEventListener("pointermove", (event) => readOut(event.clientX));
  $("detail-plot").addEventListener("pointerleave", () => readOut(null));
  $("detail-thresholds").addEventListener("toggle", () => { if ($("detail-thresholds").open) listThresholds(); });
  $("detail-gaps").addEventListener("toggle", () => { if ($("detail-gaps").open) listGaps(); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && opened && !document.querySelector("dialog[open]")) openFeed(null);
  });
  new ResizeObserver(redrawFeeds).observe($("feeds"));
  setInterval(refreshTexts, 1000);
}

export const feedNames = () => [...feeds.keys()];
export const classTitle = (name) => classes.find((entry) => entry.name === name)?.title ?? name;
export const colourOfClass = (name) => classColour(classes.findIndex((entry) => entry.name === name));
export const knownClasses = () => classes;

/** All feeds as they are now, in order; those that are not among them have left. */
export function setFeeds(snapshots, columns) {
  classes = columns;
  const names = new Set(snapshots.map(({ feed }) => feed));
  for (const [name, feed] of feeds) if (!names.has(name)) { feed.card.remove(); feeds.delete(name); }
  if (opened && !names.has(opened)) openFeed(null);
  for (const snapshot of snapshots) setFeed(snapshot);
  $("no-feeds").hidden = feeds.size > 0;
  refreshTexts();
}

function setFeed(snapshot) {
  let feed = feeds.get(snapshot.feed);
  if (!feed) {
    feed = { rows: [], events: new Map(), chosen: [], card: makeCard(snapshot.feed) };
    feeds.set(snapshot.feed, feed);
    $("feed-grid").append(feed.card);
  }
  feed.status = snapshot;
  feed.wanted = indicesOf(snapshot.classes.map(({ name }) => name));
}

const indicesOf = (names) => classes.flatMap((entry, index) => (names.includes(entry.name) ? [index] : []));

/** A feed's state has changed. */
export function setStatus(change) {
  const feed = feeds.get(change.feed);
  if (feed) { Object.assign(feed.status, change); refreshTexts(); }
}

/** A snippet has been scored. */
export function addScore(row) {
  const feed = feeds.get(row.feed);
  if (!feed || row.sequence <= (feed.rows.at(-1)?.sequence ?? 0)) return;
  feed.rows.push(row);
  while (feed.rows[0].at < row.at - KEPT_S) feed.rows.shift();
  feed.status.last_score_at = serverNow();
  feed.status.level_dbfs = row.level_dbfs;
  redraw([feed]); // alone: with many feeds scores come all the time
}

/** An event that is on the curves, as far as it has come. */
export function markEvent(event) {
  const feed = feeds.get(event.feed);
  if (!feed) return;
  feed.events.set(event.id, { ...event, title: classTitle(event.class), colour: colourOfClass(event.class) });
  for (const [id, { stage, ended_at }] of feed.events) {
    if (stage === "closed" && secondsOf(ended_at) < serverNow() - KEPT_S) feed.events.delete(id);
  }
  refreshTexts();
  redraw([feed]);
}

/** Forget the curves: the service began anew, and so did its numbers. */
export function forgetScores() { for (const feed of feeds.values()) { feed.rows = []; feed.events.clear(); } }

/** Fetch the scores that came while nobody listened. */
export async function fetchScores() {
  await Promise.all([...feeds].map(async ([name, feed]) => {
    const { scores } = await getScores(name, feed.rows.at(-1)?.sequence ?? 0);
    const known = new Set(feed.rows.map((row) => row.sequence));
    feed.rows = [...feed.rows, ...scores.filter((row) => !known.has(row.sequence))].sort((a, b) => a.sequence - b.sequence);
  }));
  refreshTexts();
  redrawFeeds();
}

function makeCard(name) {
  const button = element("button", { type: "button", className: "feed-name", "aria-expanded": "false" }, name);
  const card = element("article", { className: "card feed", role: "listitem", data: { feed: name } },
    element("header", {}, element("i", { className: "dot", "aria-hidden": "true" }), button, element("span", { className: "state" })),
    element("canvas", { role: "img", "aria-label": `Scores of ${name} over the last minutes` }),
    element("footer", {}, element("span", { className: "what" }), element("span", { className: "numbers muted" })));
  card.addEventListener("click", (event) => {
    if (event.target !== button && getSelection().toString()) return; // somebody copies a message
    openFeed(opened === name ? null : name);
  });
  return card;
}

/** Show a feed at large; null for none. */
export function openFeed(name) {
  opened = name;
  for (const [other, { card }] of feeds) {
    card.classList.toggle("opened", other === name);
    card.querySelector(".feed-name").setAttribute("aria-expanded", String(other === name));
  }
  $("detail").hidden = !name;
  $("detail-gaps").open = $("detail-thresholds").open = false;
  if (name) { listClasses(); $("detail").scrollIntoView({ block: "nearest" }); }
  refreshTexts();
  redrawFeeds();
  onChosen(name ?? "");
}

function listClasses() {
  const feed = feeds.get(opened);
  feed.only = null;
  const chip = (index, title, colour) => {
    const input = element("input", { type: "radio", name: "class-drawn", checked: index === null });
    input.addEventListener("change", () => { feed.only = index; redrawFeeds(); });
    const dot = element("i", { className: "dot square", "aria-hidden": "true" });
    if (colour) dot.style.setProperty("--colour", `var(${colour})`);
    return element("label", { className: "chip" }, input, element("span", {}, colour ? dot : null, title));
  };
  $("detail-classes").replaceChildren(chip(null, "Any event"), ...feed.wanted.map((index) => chip(index, classes[index].title, classColour(index))));
}

async function listGaps() {
  const list = $("detail-gaps").querySelector("ol");
  try {
    const gaps = await getGaps({ feed: opened, limit: NUM_GAPS });
    list.replaceChildren(...gaps.map((gap) => {
      const start = secondsOf(gap.started_at);
      const length = gap.ended_at ? duration(secondsOf(gap.ended_at) - start) : "lasts";
      return element("li", {}, element("time", { dateTime: gap.started_at }, fullTime(start)), ` · ${length} · ${gap.message}`);
    }));
    if (!gaps.length) list.replaceChildren(element("li", {}, "None. Everything was seen."));
  } catch (error) {
    list.replaceChildren(element("li", {}, error.message));
  }
}

/** A field for each class that is looked for now. */
function listThresholds() {
  const { status, wanted } = feeds.get(opened), feed = opened;
  $("detail-thresholds").querySelector("ul").replaceChildren(...wanted.map((index) => {
    const { name, title } = classes[index], threshold = status.thresholds[name], id = `threshold-${index}`;
    const field = element("input", { id, type: "number", min: 0, max: 1, step: 0.01, value: threshold ?? "", disabled: threshold === undefined });
    const reset = element("button", { type: "button", disabled: !status.chosen_thresholds.includes(name), "aria-label": `Set the threshold of ${title} back` }, "Reset");
    field.addEventListener("change", () => { if (field.value !== "" && field.checkValidity()) setThreshold(feed, name, Number(field.value)); else field.reportValidity(); });
    reset.addEventListener("click", () => setThreshold(feed, name, null));
    return element("li", { className: "threshold" }, element("label", { for: id, title }, title), field, reset);
  }));
}

async function setThreshold(feed, name, value) {
  try {
    const snapshot = await putThreshold(feed, name, value);
    if (feeds.has(feed)) setFeed(snapshot);
  } catch (error) {
    toast(`Not set: ${error.message}`);
  }
  if (opened === feed) listThresholds();
}

export function gapChanged(gap) { if (gap.feed === opened && $("detail-gaps").open) listGaps(); }

const levelOf = ({ state, level_dbfs: level }) => (state === "running" && level !== null ? `${Math.round(level)} dBFS` : "");

function numbersOf({ dropped_snippets: dropped, reconnects, has_audio: heard, has_video: seen }) {
  return [
    heard === false ? "no sound" : "",
    seen === false ? "no picture" : "",
    dropped ? `${dropped} dropped` : "",
    reconnects ? `${reconnects} reconnect${reconnects === 1 ? "" : "s"}` : "",
  ].filter(Boolean);
}

/** What is going on: the open events, else what is wrong, else the highest score. */
function whatOf(feed) {
  const open = [...feed.events.values()].filter((event) => event.stage !== "closed");
  if (open.length) return { text: open.map((event) => event.title).join(", "), kind: "now", colour: open[0].colour };
  if (feed.status.message) return { text: feed.status.message, kind: "trouble" };
  return { text: feed.rows.length ? "quiet" : "no score yet", kind: "quiet" };
}

/** "live · 0.85 s", "waiting · 3 min". */
function stateOf({ state, since, latency_s: latency }) {
  if (state !== "running") return `${WORDS[state]} · ${briefly(serverNow() - secondsOf(since))}`;
  return latency === null ? WORDS[state] : `${WORDS[state]} · ${latency.toFixed(2)} s`;
}

function refreshTexts() {
  let running = 0;
  for (const feed of feeds.values()) {
    const { status, card } = feed, what = whatOf(feed);
    running += status.state === "running";
    card.dataset.state = status.state;
    const state = card.querySelector(".state");
    state.textContent = stateOf(status);
    state.title = `${WORDS[status.state]} since ${fullTime(secondsOf(status.since))}${status.latency_s === null ? "" : `, latency ${status.latency_s} s`}`;
    card.querySelector(".numbers").textContent = [levelOf(status), ...numbersOf(status)].filter(Boolean).join(" · ");
    const text = card.querySelector(".what");
    text.textContent = text.title = what.text;
    text.dataset.kind = what.kind;
    if (what.colour) text.style.setProperty("--colour", `var(${what.colour})`);
  }
  $("feeds-summary").textContent = feeds.size ? `${running} of ${feeds.size} live` : "";
  $("tab-feeds-count").textContent = feeds.size ? `${running}/${feeds.size}` : "";
  if (opened) refreshDetail(feeds.get(opened));
  redraw([...feeds.values()].filter((feed) => !isFresh(feed))); // the curves of a feed that is silent move too
}

function refreshDetail({ status }) {
  $("detail-name").textContent = opened;
  const latency = status.state === "running" && status.latency_s !== null ? `latency ${status.latency_s.toFixed(2)} s` : "";
  $("detail-facts").textContent = [
    `${WORDS[status.state]} for ${duration(serverNow() - secondsOf(status.since))}`, latency, levelOf(status), ...numbersOf(status), status.message,
  ].filter(Boolean).join(" · ");
}

function readOut(clientX) {
  const feed = feeds.get(opened), row = clientX === null ? null : feed && rowAt($("detail-plot"), feed, viewOf(feed), clientX);
  const chosen = feed?.chosen ?? [];
  const percent = (head) => (row[head] ? `${Math.round(valueOf(row[head], chosen) * 100)} %` : "absent");
  $("detail-readout").textContent = row
    ? `${clock(row.at)} · fused ${percent("fused")} · heard ${percent("audio")} · seen ${percent("visual")}`
      + (row.level_dbfs === null ? "" : ` · ${row.level_dbfs.toFixed(1)} dBFS`) : "";
}

const isFresh = ({ status, rows }) => status.state === "running" && rows.length > 0 && serverNow() - rows.at(-1).at < FRESH_S;

function viewOf(feed) {
  const end = isFresh(feed) ? feed.rows.at(-1).at : serverNow();
  return { start: end - windowS, end };
}

/** Draw the curves of all feeds anew, as far as they can be seen. */
export function redrawFeeds() { redraw(feeds.values()); }

function redraw(changed) {
  if (!stale.size) requestAnimationFrame(drawStale);
  for (const feed of changed) stale.add(feed);
}

function drawStale() {
  const now = serverNow(), changed = [...stale];
  stale.clear();
  for (const feed of changed) {
    const canvas = feed.card.querySelector("canvas");
    if (!canvas.clientWidth) continue; // on another tab
    const shown = { rows: feed.rows, events: [...feed.events.values()], chosen: feed.wanted };
    if (isOnScreen(canvas)) drawSmall(canvas, shown, viewOf(feed), now);
    if (feed !== feeds.get(opened)) continue;
    feed.chosen = feed.only === null ? feed.wanted : [feed.only];
    drawLarge($("detail-plot"), { ...shown, chosen: feed.chosen }, viewOf(feed), now);
  }
}

function isOnScreen(canvas) {
  const { top, bottom } = canvas.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}
addEventListener("scroll", redrawFeeds, { passive: true });
