// The drawing: curves of what was fused, heard and seen, with the events behind them, on the clock.

import { contextOf, hatchOf, styleOf } from "./canvas.js";
import { clock, secondsOf } from "./clock.js";

const LANES = [
  { head: "fused", name: "Fused", colour: "--fused", height: 96 },
  { head: "audio", name: "Heard", colour: "--heard", height: 54 },
  { head: "visual", name: "Seen", colour: "--seen", height: 54 },
];
const AXIS = 20, EVENT_ROW = 14, LANE_GAP = 8, STRIP = 3;
const TICKS_S = [5, 10, 15, 30, 60, 120];
const USUAL_HOP_S = 0.64;

/** The room for the names of lanes and classes, left of the large drawing. */
const gutterOf = (width) => (width < 500 ? 62 : 84);

/** The highest of the chosen classes; null where the modality was absent. */
export const valueOf = (scores, chosen) => (scores ? chosen.reduce((most, index) => Math.max(most, scores[index]), 0) : null);

/** How far apart snippets are: the shortest step of the last ones. */
export function hopOf(rows) {
  let hop = Infinity;
  for (let i = Math.max(1, rows.length - 20); i < rows.length; i++) {
    const step = rows[i].at - rows[i - 1].at;
    if (step > 0.01) hop = Math.min(hop, step);
  }
  return Number.isFinite(hop) ? hop : USUAL_HOP_S;
}

/** Runs of snippets without a hole, as `[{start, end, value}]`; what was absent is a hole. */
function runsOf(rows, head, chosen, view, hop) {
  const runs = [];
  let run = null, end = -Infinity;
  for (const row of rows) {
    if (row.at < view.start || row.at - hop > view.end) continue;
    const value = valueOf(row[head], chosen);
    if (value === null) continue;
    const start = row.at - hop;
    if (Math.abs(start - end) > hop / 2) runs.push((run = []));
    run.push({ start: run.length ? end : start, end: row.at, value });
    end = row.at;
  }
  return runs;
}

function drawCurve(context, runs, view, box, colour, { filled, width }) {
  const x = (at) => box.left + (box.width * (at - view.start)) / (view.end - view.start);
  const y = (value) => box.top + box.height * (1 - value);
  context.strokeStyle = colour;
  context.fillStyle = colour;
  context.lineWidth = width;
  context.lineJoin = "round";
  for (const run of runs) {
    context.beginPath();
    for (const { start, end, value } of run) { context.lineTo(x(start), y(value)); context.lineTo(x(end), y(value)); }
    context.stroke();
    if (!filled) continue;
    context.lineTo(x(run.at(-1).end), box.top + box.height);
    context.lineTo(x(run[0].start), box.top + box.height);
    context.globalAlpha = 0.2;
    context.fill();
    context.globalAlpha = 1;
  }
}

/** Hatch the times in `box` that no run covers. */
function drawHoles(context, runs, view, box, hatch) {
  const x = (at) => box.left + (box.width * (at - view.start)) / (view.end - view.start);
  context.fillStyle = hatch;
  let from = view.start;
  for (const [start, end] of [...runs.map((run) => [run[0].start, run.at(-1).end]), [view.end, view.end]]) {
    if (start - from > 0.05) context.fillRect(x(from), box.top, x(Math.min(start, view.end)) - x(from), box.height);
    from = Math.max(from, end);
  }
}

function drawBands(context, events, view, box, now) {
  for (const event of events) {
    const span = spanOf(event, view, box, now);
    if (!span) continue;
    context.fillStyle = styleOf(event.colour);
    context.globalAlpha = 0.16;
    context.fillRect(span.left, box.top, span.width, box.height);
    context.globalAlpha = 1;
  }
}

function spanOf(event, view, box, now) {
  const start = Math.max(view.start, secondsOf(event.started_at));
  const end = Math.min(view.end, event.stage === "closed" ? secondsOf(event.ended_at) : now);
  if (end <= view.start || start >= view.end) return null;
  const scale = box.width / (view.end - view.start);
  return { left: box.left + (start - view.start) * scale, width: Math.max(3, (end - start) * scale) };
}

/** A feed's curves one over the other, small: `feed` has `rows`, `events` and `chosen` (indices of classes). */
export function drawSmall(canvas, feed, view, now) {
  const width = canvas.clientWidth, height = 64;
  const context = contextOf(canvas, width, height);
  const box = { left: 0, top: STRIP + 2, width, height: height - STRIP - 3 };
  const hop = hopOf(feed.rows);
  const fused = runsOf(feed.rows, "fused", feed.chosen, view, hop);
  context.fillStyle = styleOf("--line");
  for (const level of [0, 0.5, 1]) context.fillRect(0, Math.round(box.top + box.height * (1 - level)), width, 1);
  drawHoles(context, fused, view, box, hatchOf(context, styleOf("--hatch")));
  drawBands(context, feed.events, view, box, now);
  for (const event of feed.events) {
    const span = spanOf(event, view, box, now);
    if (!span) continue;
    context.fillStyle = styleOf(event.colour);
    context.fillRect(span.left, 0, span.width, STRIP);
  }
  drawCurve(context, fused, view, box, styleOf("--fused"), { filled: true, width: 2 });
  drawCurve(context, runsOf(feed.rows, "visual", feed.chosen, view, hop), view, box, styleOf("--seen"), { filled: false, width: 1.1 });
  drawCurve(context, runsOf(feed.rows, "audio", feed.chosen, view, hop), view, box, styleOf("--heard"), { filled: false, width: 1.1 });
}

/** The same, large: a lane for each curve, a row for each class that has events, and the clock. */
export function drawLarge(canvas, feed, view, now) {
  const labels = [...new Map(feed.events.map((event) => [event.class, event])).values()];
  const top = AXIS + Math.max(1, labels.length) * EVENT_ROW + 6;
  const height = top + LANES.reduce((sum, lane) => sum + lane.height + LANE_GAP, 0);
  const width = canvas.clientWidth, gutter = gutterOf(width), plot = { left: gutter, top: AXIS, width: width - gutter - 2, height: height - AXIS - LANE_GAP };
  const context = contextOf(canvas, width, height);
  context.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  context.textBaseline = "middle";
  drawAxis(context, view, plot);
  drawBands(context, feed.events, view, { ...plot, top, height: height - top - LANE_GAP }, now);
  drawEventRows(context, labels, feed.events, view, plot, now);
  const hop = hopOf(feed.rows), hatch = hatchOf(context, styleOf("--hatch"));
  let at = top;
  for (const lane of LANES) {
    const box = { ...plot, top: at, height: lane.height };
    const runs = runsOf(feed.rows, lane.head, feed.chosen, view, hop);
    context.fillStyle = styleOf("--line");
    for (const level of [0, 0.5, 1]) context.fillRect(box.left, Math.round(box.top + box.height * (1 - level)), box.width, 1);
    drawHoles(context, runs, view, box, hatch);
    drawCurve(context, runs, view, box, styleOf(lane.colour), { filled: true, width: 2 });
    context.fillStyle = styleOf(lane.colour);
    context.textAlign = "right";
    context.font = `600 ${context.font.replace(/^600 /, "")}`;
    context.fillText(lane.name, gutter - 8, at + 8);
    at += lane.height + LANE_GAP;
  }
}

function drawAxis(context, view, plot) {
  const span = view.end - view.start, step = TICKS_S.find((tick) => (plot.width * tick) / span > 84) ?? TICKS_S.at(-1);
  context.textAlign = "center";
  for (let at = Math.ceil(view.start / step) * step; at <= view.end; at += step) {
    const x = plot.left + (plot.width * (at - view.start)) / span;
    context.fillStyle = styleOf("--line");
    context.fillRect(Math.round(x), plot.top, 1, plot.height);
    context.fillStyle = styleOf("--muted");
    if (x > plot.left + 22 && x < plot.left + plot.width - 22) context.fillText(clock(at), x, 8);
  }
}

function drawEventRows(context, labels, events, view, plot, now) {
  for (const [row, { class: name, title, colour }] of labels.entries()) {
    const top = AXIS + row * EVENT_ROW + 2;
    context.fillStyle = styleOf("--muted");
    context.textAlign = "right";
    context.fillText(title, plot.left - 8, top + 5, plot.left - 10);
    context.fillStyle = styleOf(colour);
    for (const event of events.filter((candidate) => candidate.class === name)) {
      const span = spanOf(event, view, plot, now);
      if (span) { context.beginPath(); context.roundRect(span.left, top, span.width, EVENT_ROW - 5, 3); context.fill(); }
    }
  }
}

/** The snippet under a place on the large drawing, or undefined. */
export function rowAt(canvas, feed, view, clientX) {
  const bounds = canvas.getBoundingClientRect(), gutter = gutterOf(bounds.width);
  const at = view.start + ((clientX - bounds.left - gutter) / (bounds.width - gutter - 2)) * (view.end - view.start);
  const hop = hopOf(feed.rows);
  return feed.rows.find((row) => row.at - hop <= at && at < row.at);
}
