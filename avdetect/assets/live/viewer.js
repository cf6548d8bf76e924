// One event at large: its clip, what is known of it, and what a person says.

import { clipUrl, thumbnailUrl } from "./api.js";
import { fullTime, secondsOf } from "./clock.js";
import { $, element } from "./dom.js";
import { answer, findEvent, lengthOf, makeAnswerButtons, neighbourOf, sensed, showAnswer } from "./events.js";
import { classTitle, colourOfClass } from "./feeds.js";

let shown = null; // id

export function startViewer() {
  const viewer = $("viewer"), video = $("viewer-video");
  $("viewer-answer").append(...makeAnswerButtons(() => shown));
  $("viewer-close").addEventListener("click", () => viewer.close());
  $("viewer-newer").addEventListener("click", () => step(-1));
  $("viewer-older").addEventListener("click", () => step(1));
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); }); // beside it
  viewer.addEventListener("close", () => { stop(); document.querySelector(`[data-id="${CSS.escape(shown)}"] .show`)?.focus(); shown = null; });
  viewer.addEventListener("keydown", (event) => {
    const action = { c: () => answer(shown, "confirmed"), d: () => answer(shown, "dismissed"), n: () => step(1), p: () => step(-1) }[event.key];
    if (action && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); action(); }
  });
  video.addEventListener("error", failed);
}

/** Show an event and play its clip. */
export function openViewer(id) {
  shown = id;
  const event = findEvent(id);
  stop();
  describe(event);
  if (!$("viewer").open) $("viewer").showModal();
  play(event);
}

/** It has come further: a clip, an answer. */
export function viewerChanged(event) {
  if (event.id !== shown) return;
  describe(event);
  if (event.clip && !$("viewer-video").getAttribute("src")) play(event);
}

function step(by) {
  const next = neighbourOf(shown, by);
  if (next) openViewer(next.id);
}

function play(event) {
  const video = $("viewer-video");
  if (!event.clip) {
    say(event.stage !== "closed" ? "It goes on. The clip follows when it is over." : event.clip_failure || "There is no clip of it.");
    return;
  }
  $("viewer-message").hidden = true;
  video.hidden = false;
  if (event.thumbnail) video.poster = thumbnailUrl(event.thumbnail);
  video.src = clipUrl(event.clip);
  video.play().catch(() => {}); // where a browser wants another click first, the controls are there
}

/** The first clip of a long event makes way for the whole one: then there is another to play. */
function failed() {
  const video = $("viewer-video"), event = findEvent(shown), source = video.getAttribute("src");
  if (!source) return;
  if (event?.clip && clipUrl(event.clip) !== source) play(event);
  else say("This browser cannot play the clip. Download it instead.");
}

function stop() {
  const video = $("viewer-video");
  video.pause();
  video.removeAttribute("src");
  video.removeAttribute("poster");
  video.load();
}

function say(message) {
  $("viewer-video").hidden = true;
  $("viewer-message").textContent = message;
  $("viewer-message").hidden = false;
}

function describe(event) {
  $("viewer").style.setProperty("--colour", `var(${colourOfClass(event.class)})`);
  $("viewer-title").replaceChildren(element("i", { className: "dot square", "aria-hidden": "true" }), classTitle(event.class));
  const facts = {
    Feed: event.feed, Time: fullTime(secondsOf(event.started_at)), Length: lengthOf(event),
    Confidence: `${Math.round(event.confidence * 100)} %, ${sensed(event)}`,
    Note: event.interrupted ? "The feed was lost: it may have gone on." : null,
    Clip: event.clip_failure,
  };
  $("viewer-facts").replaceChildren(...Object.entries(facts).filter(([, text]) => text).map(([name, text]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, text))));
  showAnswer($("viewer-answer").children, event);
  $("viewer-newer").disabled = !neighbourOf(event.id, -1);
  $("viewer-older").disabled = !neighbourOf(event.id, 1);
  $("viewer-download").hidden = !event.clip;
  if (event.clip) $("viewer-download").href = clipUrl(event.clip);
}
