// Where it begins: sign in if need be, then follow what changes, and hand it to the feeds and the events.

import { getEvents, getSession, signIn, signOut, whenSignedOut } from "./api.js";
import { forgetStyles } from "./canvas.js";
import { clock, serverNow, setServerTime } from "./clock.js";
import { $ } from "./dom.js";
import { answerChanged, clipReady, eventChanged, filterFeed, refreshChoices, refreshOpenEvents, reloadEvents, startEvents } from "./events.js";
import { addScore, fetchScores, forgetScores, gapChanged, markEvent, redrawFeeds, setFeeds, setStatus, startFeeds } from "./feeds.js";
import { followChanges } from "./live.js";
import { openViewer, startViewer, viewerChanged } from "./viewer.js";

const CURVES_S = 310; // how far back events are marked on the curves
const MAX_MARKED = 500;

let stream = null, service = null, behind = false;

function showConnection(state, text) {
  $("connection").dataset.state = state;
  $("connection").querySelector("span").textContent = text;
  document.body.classList.toggle("offline", state === "offline");
}

const handlers = {
  opened() { behind = true; },
  lost() {
    if ($("connection").dataset.state !== "offline") showConnection("offline", `Offline since ${clock(serverNow())}`);
    checkSession();
  },
  feeds(message) {
    setServerTime(message.now);
    if (service !== message.service) { service = message.service; forgetScores(); }
    setFeeds(message.feeds, message.classes);
    $("trouble").textContent = message.trouble;
    $("trouble").hidden = !message.trouble;
    refreshChoices();
    showConnection("live", "Live");
    if (behind) { behind = false; catchUp(); }
  },
  score: addScore,
  event(event) { markEvent(event); eventChanged(event); },
  clip: clipReady,
  answer: answerChanged,
  gap: gapChanged,
  state: setStatus,
};

/** All that was missed while the stream was not there. */
async function catchUp() {
  try {
    await fetchScores();
    const since = new Date((serverNow() - CURVES_S) * 1000).toISOString();
    const [recent] = await Promise.all([getEvents({ since, limit: MAX_MARKED }), reloadEvents()]);
    recent.events.forEach(markEvent);
  } catch {
    behind = true; // with the next message about all feeds
  }
}

async function checkSession() {
  try {
    const { token_needed: needed, signed_in: signedIn } = await getSession();
    $("sign-out").hidden = !needed || !signedIn;
    if (!signedIn) askForToken();
    return signedIn;
  } catch {
    return true; // not there at all: the stream goes on trying
  }
}

function askForToken() {
  stream?.stop();
  stream = null;
  showConnection("offline", "Signed out");
  if (!$("sign-in").open) $("sign-in").showModal();
}

function begin() { stream ??= followChanges(handlers); }

$("sign-in").addEventListener("cancel", (event) => event.preventDefault());
$("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = event.target.token;
  try {
    await signIn(field.value);
    field.value = "";
    $("sign-in-error").hidden = true;
    $("sign-in").close();
    $("sign-out").hidden = false;
    begin();
  } catch (error) {
    $("sign-in-error").textContent = error.message;
    $("sign-in-error").hidden = false;
    field.select();
  }
});
$("sign-out").addEventListener("click", async () => { await signOut(); location.reload(); });
$("scheme").addEventListener("click", () => window.switchScheme());
addEventListener("schemechange", () => { forgetStyles(); redrawFeeds(); });

function showTab(name) {
  document.body.dataset.tab = name;
  for (const tab of ["feeds", "events"]) $(`tab-${tab}`).setAttribute("aria-pressed", String(tab === name));
  redrawFeeds();
}
$("tab-feeds").addEventListener("click", () => showTab("feeds"));
$("tab-events").addEventListener("click", () => showTab("events"));

startFeeds({ chosen: filterFeed });
startEvents({ open: openViewer, changed: viewerChanged });
startViewer();
whenSignedOut(askForToken);
setInterval(refreshOpenEvents, 1000);
if (await checkSession()) begin();
