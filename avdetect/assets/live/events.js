// The events: filters, and a list that grows at its top while it is looked at.

import { getEvents, putAnswer, thumbnailUrl } from "./api.js";
import { clock, day, duration, fullTime, secondsOf, serverNow } from "./clock.js";
import { classTitle, colourOfClass, feedNames, knownClasses } from "./feeds.js";
import { $, element, icon, toast } from "./dom.js";

const PAGE = 40;
const SENSED = { audio: "heard", visual: "seen", both: "heard, seen" };

let events = [];      // as listed, newest first
let cursor = null;
let request = 0;      // only the answer to the last one counts
let onOpen = () => {}, onChange = () => {};

/** Begin. `open(id)` shows an event, `changed(event)` hears of every event whose answer or clip is new. */
export function startEvents({ open, changed }) {
  onOpen = open;
  onChange = changed;
  const form = $("filters");
  readHash();
  form.addEventListener("input", () => { writeHash(); reloadEvents(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { writeHash(); reloadEvents(); }));
  for (const button of form.querySelectorAll("[data-hours]")) {
    button.addEventListener("click", () => {
      form.since.value = localTime(serverNow() - button.dataset.hours * 3600);
      form.until.value = "";
      form.dispatchEvent(new Event("input"));
    });
  }
  $("filter-toggle").addEventListener("click", () => showFilters($("filters").hidden));
  $("more").addEventListener("click", loadMore);
  $("no-events").addEventListener("click", (event) => { if (event.target.matches("button")) form.reset(); });
}

function showFilters(shown) {
  $("filters").hidden = !shown;
  $("filter-toggle").setAttribute("aria-expanded", String(shown));
}

const localTime = (seconds) => {
  const at = new Date(seconds * 1000);
  return new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
};

const FIELDS = ["feed", "class", "answer", "confidence", "since", "until"];

// The filters are kept in the address, so that it can be bookmarked and sent.
function readHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const name of FIELDS) {
    const field = $("filters")[name], value = given.get(name);
    if (value === null) continue;
    if (field.tagName === "SELECT" && ![...field.options].some((option) => option.value === value)) field.append(new Option(value, value));
    field.value = value;
  }
}

function writeHash() {
  const form = $("filters");
  const set = FIELDS.filter((name) => form[name].value && form[name].value !== "0").map((name) => [name, form[name].value]);
  history.replaceState(null, "", set.length ? `#${new URLSearchParams(set)}` : location.pathname);
}

/** Offer the feeds and classes that there are. */
export function refreshChoices() {
  const form = $("filters");
  fillSelect(form.feed, feedNames().map((name) => [name, name]));
  fillSelect(form.class, knownClasses().map(({ name, title }) => [name, title]));
}

function fillSelect(select, entries) {
  const there = new Set([...select.options].map((option) => option.value));
  for (const [value, title] of entries) if (!there.has(value)) select.append(new Option(title, value));
}

/** Show the events of one feed only; "" for all. */
export function filterFeed(name) {
  const field = $("filters").feed;
  if (field.value === name) return;
  refreshChoices();
  field.value = name;
  writeHash();
  reloadEvents();
}

function wanted() {
  const form = $("filters");
  const at = (field) => (field.value ? new Date(field.value).toISOString() : "");
  return {
    feed: form.feed.value, class: form.class.value, answer: form.answer.value,
    min_confidence: form.confidence.value === "0" ? "" : form.confidence.value, since: at(form.since), until: at(form.until),
  };
}

function isWanted(event) {
  const filter = wanted(), started = secondsOf(event.started_at);
  return (!filter.feed || event.feed === filter.feed) && (!filter.class || event.class === filter.class)
    && (!filter.answer || (event.answer ?? "unanswered") === filter.answer)
    && (!filter.min_confidence || event.confidence >= Number(filter.min_confidence))
    && (!filter.since || started >= secondsOf(filter.since)) && (!filter.until || started < secondsOf(filter.until));
}

/** Ask for the list anew. */
export async function reloadEvents() {
  const mine = ++request;
  try {
    const page = await getEvents({ ...wanted(), limit: PAGE });
    if (mine !== request) return;
    events = page.events;
    cursor = page.next_cursor;
    renderAll();
  } catch (error) {
    if (mine === request) toast(error.message);
  }
}

async function loadMore() {
  const mine = ++request;
  $("more").disabled = true;
  try {
    const page = await getEvents({ ...wanted(), limit: PAGE, cursor });
    if (mine !== request) return;
    const known = new Set(events.map((event) => event.id));
    events.push(...page.events.filter((event) => !known.has(event.id)));
    cursor = page.next_cursor;
    renderAll();
  } catch (error) {
    toast(error.message);
  } finally {
    $("more").disabled = false;
  }
}

/** An event that is new, or has come further. */
export function eventChanged(change) {
  const index = events.findIndex((event) => event.id === change.id);
  if (index >= 0) {
    events[index] = { ...events[index], ...change, clip: change.clip ?? events[index].clip, thumbnail: change.thumbnail ?? events[index].thumbnail };
    renderOne(events[index]);
    onChange(events[index]);
  } else if (isWanted(change)) {
    const at = events.findIndex((event) => event.started_at <= change.started_at);
    events.splice(at < 0 ? events.length : at, 0, change);
    renderAll();
    rowOf(change.id)?.classList.add("fresh");
  }
}

/** Its clip has been cut. */
export function clipReady({ id, clip, thumbnail, clip_failure }) {
  const event = findEvent(id);
  if (event) eventChanged({ ...event, clip, thumbnail, clip_failure });
}

export const findEvent = (id) => events.find((event) => event.id === id);

/** The event listed before (-1) or after (1) another one, or undefined. */
export const neighbourOf = (id, step) => events[events.findIndex((event) => event.id === id) + step];

const rowOf = (id) => $("event-list").querySelector(`[data-id="${CSS.escape(id)}"]`);

/** Confirm or dismiss; saying the same again takes it back. */
export async function answer(id, said) {
  const event = findEvent(id);
  if (!event) return; // the list was loaded anew meanwhile
  const before = event.answer;
  const now = before === said ? null : said;
  answerChanged({ id, answer: now });
  try {
    await putAnswer(id, now);
  } catch (error) {
    answerChanged({ id, answer: before });
    toast(`Not stored: ${error.message}`);
  }
}

/** It has been answered, here or on another page. It stays listed, whatever the filters say: somebody may look at it. */
export function answerChanged({ id, answer }) {
  const event = findEvent(id);
  if (!event) return;
  event.answer = answer;
  renderOne(event);
  summarise();
  onChange(event);
}

/** Two buttons for the event that `idOf()` names: yes, this happened; no, it did not. */
export function makeAnswerButtons(idOf) {
  return [["confirmed", "Confirm"], ["dismissed", "Dismiss"]].map(([said, word]) => {
    const button = element("button", { type: "button", className: said, title: word }, icon(word.toLowerCase()), element("span", {}, word));
    button.addEventListener("click", () => answer(idOf(), said));
    return button;
  });
}

export function showAnswer(buttons, event) {
  for (const button of buttons) {
    button.setAttribute("aria-pressed", String(button.classList.contains(event.answer)));
    button.setAttribute("aria-label", `${button.title} ${spoken(event)}`);
  }
}

const spoken = (event) => `${classTitle(event.class)} on ${event.feed} at ${clock(secondsOf(event.started_at))}`;

/** "heard", "seen", "heard, seen". */
export const sensed = (event) => SENSED[event.modality];

export function lengthOf(event) {
  const end = event.stage === "closed" ? secondsOf(event.ended_at) : serverNow();
  return duration(end - secondsOf(event.started_at));
}

function makeRow(event) {
  const started = secondsOf(event.started_at);
  const show = element("button", { type: "button", className: "show", "aria-label": `Show ${spoken(event)}` });
  const about = element("div", { className: "about" },
    element("h4", {}, element("i", { className: "dot square", "aria-hidden": "true" }), element("span", {}, classTitle(event.class)), element("b")),
    element("p", {}, element("time", { dateTime: event.started_at, title: fullTime(started) }, clock(started)), ` · ${event.feed}`),
    element("p", { className: "muted" }));
  for (const part of [show, about]) part.addEventListener("click", () => onOpen(event.id));
  const row = element("article", { className: "event", data: { id: event.id } },
    show, about, element("div", { className: "answer" }, ...makeAnswerButtons(() => event.id)));
  row.style.setProperty("--colour", `var(${colourOfClass(event.class)})`);
  fillRow(row, event);
  return row;
}

/** Write into a row what may change. Its buttons stay: one of them may just be pressed. */
function fillRow(row, event) {
  const open = event.stage !== "closed", files = `${event.thumbnail} ${event.clip} ${open}`;
  row.dataset.open = String(open);
  row.dataset.answer = event.answer ?? "";
  row.querySelector("b").textContent = `${Math.round(event.confidence * 100)} %`;
  row.querySelector(".muted").textContent = `${open ? "so far " : ""}${lengthOf(event)} · ${sensed(event)}${event.interrupted ? " · cut off" : ""}${event.clip_failure ? " · no clip" : ""}`;
  showAnswer(row.querySelectorAll(".answer button"), event);
  if (row.dataset.files === files) return;
  row.dataset.files = files;
  const missing = open ? "now" : event.modality === "audio" ? "sound" : "no picture";
  row.querySelector(".show").replaceChildren(
    event.thumbnail
      ? element("img", { src: thumbnailUrl(event.thumbnail), alt: "", loading: "lazy", decoding: "async" })
      : element("span", { className: "no-picture" }, missing),
    ...(event.clip ? [icon("play")] : []));
}

function renderOne(event) {
  const row = rowOf(event.id);
  if (row) fillRow(row, event);
}

/** List all events, and keep the rows that are there already: the focus may be in one of them. */
function renderAll() {
  const rows = new Map([...$("event-list").querySelectorAll(".event")].map((row) => [row.dataset.id, row]));
  const parts = [];
  let lastDay = null;
  for (const event of events) {
    const today = day(secondsOf(event.started_at));
    if (today !== lastDay) parts.push(element("h3", {}, (lastDay = today)));
    const row = rows.get(event.id);
    if (row) fillRow(row, event);
    parts.push(row ?? makeRow(event));
  }
  replaceInOrder($("event-list"), parts);
  summarise();
}

/** Like `replaceChildren`, but what stays is not taken out: it would lose the focus. */
function replaceInOrder(parent, wanted) {
  const kept = new Set(wanted);
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  wanted.forEach((child, index) => { if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null); });
}

function summarise() {
  const form = $("filters"), set = FIELDS.filter((name) => form[name].value && form[name].value !== "0").length;
  const unanswered = events.filter((event) => !event.answer).length, more = cursor ? "+" : "";
  form.querySelector("output").textContent = form.confidence.value === "0" ? "any" : `${Math.round(form.confidence.value * 100)} %`;
  $("filter-count").hidden = !set;
  $("filter-count").textContent = set;
  $("events-summary").textContent = events.length ? `${events.length}${more} shown, ${unanswered} unanswered` : "";
  $("tab-events-count").textContent = unanswered ? `${unanswered}${more}` : "";
  $("more").hidden = !cursor;
  $("no-events").hidden = events.length > 0;
  $("no-events").replaceChildren(...(set
    ? ["No event passes these filters. ", element("button", { type: "button" }, "Clear them")]
    : ["No events yet. They appear here within about a second."]));
}

/** The lengths of events that go on. */
export function refreshOpenEvents() { for (const event of events) if (event.stage !== "closed") renderOne(event); }
