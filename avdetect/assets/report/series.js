// What the page knows of one source, and what can be asked of it. Times are seconds from the grid's origin.

const FOUND = document.documentElement.dataset.found;  // what is listed: an "event" of a class, or a "place" of a question
const HEADS = ["fused", "heard", "seen"];
const HEARD = 1, SEEN = 2;  // bits of `present`

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** Scores of one source, decoded; `score / 255` is a probability. */
function decodeSeries(entry) {
  return {
    start: entry.start_s, hop: entry.hop_s, classes: entry.classes,
    scores: bytesOf(entry.scores), present: bytesOf(entry.present),
  };
}

/** Whether events of a class are listed: one that has no threshold was not asked for. */
const isWanted = (spec) => spec.on !== null;

/** The curve of each head, `null` as class index meaning the highest of all classes whose events are listed. */
function curvesOf(series, classIndex) {
  const length = series.present.length, numClasses = series.classes.length;
  const row = (head, index) => series.scores.subarray((head * numClasses + index) * length, (head * numClasses + index + 1) * length);
  return HEADS.map((_, head) => {
    if (classIndex !== null) return row(head, classIndex);
    const highest = new Uint8Array(length);
    series.classes.forEach((spec, index) => {
      if (!isWanted(spec)) return;
      const scores = row(head, index);
      for (let i = 0; i < length; i++) if (scores[i] > highest[i]) highest[i] = scores[i];
    });
    return highest;
  });
}

/** Index of the snippet that holds a time, or -1. */
function snippetAt(series, time) {
  const index = Math.floor((time - series.start) / series.hop + 1e-9);
  return index >= 0 && index < series.present.length ? index : -1;
}

/**
 * Lowest and highest score under each pixel column of a view, and whether something is absent there. `low` is -1 where
 * nothing is present. A column always looks at a snippet at least, so that zoomed in the curve is made of steps.
 */
function envelopeOf(series, curve, bit, view, width) {
  const low = new Int16Array(width).fill(-1), high = new Int16Array(width), absent = new Uint8Array(width);
  const perColumn = (view.end - view.start) / width / series.hop;
  const first = (view.start - series.start) / series.hop;
  for (let x = 0; x < width; x++) {
    const from = Math.max(0, Math.floor(first + x * perColumn + 1e-9));
    const to = Math.min(series.present.length, Math.max(Math.floor(first + x * perColumn) + 1, Math.floor(first + (x + 1) * perColumn)));
    for (let i = from; i < to; i++) {
      if (!(series.present[i] & bit)) { absent[x] = 1; continue; }
      if (low[x] < 0 || curve[i] < low[x]) low[x] = curve[i];
      if (curve[i] > high[x]) high[x] = curve[i];
    }
  }
  return { low, high, absent };
}

/** `75.5` as `1:15.5`, with as many decimals as asked. */
function clock(time, decimals = 1) {
  const scale = 10 ** decimals, ticks = Math.round(Math.max(0, time) * scale);
  const whole = Math.floor(ticks / scale), hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  const pad = (value) => String(value).padStart(2, "0");
  const rest = decimals ? "." + String(ticks % scale).padStart(decimals, "0") : "";
  return (hours ? `${hours}:${pad(minutes)}` : `${minutes}`) + ":" + pad(whole % 60) + rest;
}

const CARRIED_BY = { audio: "heard", visual: "seen", both: "both" };
const plain = (label) => label.replaceAll("_", " ");
