// The drawing: events by class, then the fused, heard and seen curves, all on one time axis.

const GUTTER = FOUND === "place" ? 136 : 64;  // phrases are longer than names of classes
const AXIS = 20, EVENT_ROW = 15, LANE_GAP = 10;
const LANES = FOUND === "place" ? [{ head: 0, name: "Relevance", colour: "--fused", bit: HEARD, height: 160 }] : [
  { head: 0, name: "Fused", colour: "--fused", bit: HEARD | SEEN, height: 104 },
  { head: 1, name: "Heard", colour: "--heard", bit: HEARD, height: 58 },
  { head: 2, name: "Seen", colour: "--seen", bit: SEEN, height: 58 },
];
const TICKS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
const NUM_COLOURS = 10;

const classColour = (index) => `--class-${index % NUM_COLOURS}`;

/** Runs `[from, to)` of columns for which `test(column)` holds. */
function* runsOf(width, test) {
  for (let from = 0; from < width; from++) {
    if (!test(from)) continue;
    let to = from + 1;
    while (to < width && test(to)) to++;
    yield [from, to];
    from = to;
  }
}

/** One curve in `box`: hatched where absent, filled below, and the span from lowest to highest score as its line. */
function drawCurve(context, series, curve, bit, view, box, colour, hatch) {
  const columns = Math.max(1, Math.round(box.width * (window.devicePixelRatio || 1)));
  const step = box.width / columns;
  const { low, high, absent } = envelopeOf(series, curve, bit, view, columns);
  const y = (score) => box.top + box.height * (1 - score / 255);
  context.fillStyle = hatch;
  for (const [from, to] of runsOf(columns, (x) => absent[x])) {
    context.fillRect(box.left + from * step, box.top, Math.max(1, (to - from) * step), box.height);
  }
  context.strokeStyle = context.fillStyle = colour;
  context.lineWidth = (view.end - view.start) / series.hop > box.width ? 0.75 : 1.5;
  context.lineJoin = "round";
  for (const [from, to] of runsOf(columns, (x) => low[x] >= 0)) {
    const line = new Path2D(), area = new Path2D();
    area.moveTo(box.left + from * step, y(0));
    for (let x = from; x < to; x++) {
      const left = box.left + x * step, right = left + step;
      area.lineTo(left, y(high[x]));
      area.lineTo(right, y(high[x]));
      if (x === from) line.moveTo(left, y(high[x]));
      line.lineTo(left, y(high[x]));
      if (low[x] < high[x]) line.lineTo(left, y(low[x]));
      line.lineTo(right, y(high[x]));
    }
    area.lineTo(box.left + to * step, y(0));
    context.globalAlpha = 0.2;
    context.fill(area);
    context.globalAlpha = 1;
    context.stroke(line);
  }
}

/** `model`: series, curves, classIndex, events, eventClasses, duration, view. */
function plotHeight(model) {
  const lanes = LANES.reduce((sum, lane) => sum + lane.height + LANE_GAP, 0);
  return AXIS + model.eventClasses.length * EVENT_ROW + (model.eventClasses.length ? 6 : 0) + lanes;
}

function drawAxis(context, model, width, height, toX) {
  const span = model.view.end - model.view.start;
  const step = TICKS_S.find((tick) => (tick / span) * (width - GUTTER) >= 74) ?? TICKS_S.at(-1);
  context.textBaseline = "alphabetic";
  for (let n = Math.ceil(model.view.start / step); n * step <= model.view.end; n++) {
    const x = toX(n * step);
    context.fillStyle = styleOf("--line");
    context.fillRect(x, AXIS - 5, 1, height - AXIS);
    context.fillStyle = styleOf("--muted");
    context.textAlign = x > width - 24 ? "right" : x < GUTTER + 16 ? "left" : "center";
    context.fillText(clock(n * step, step < 1 ? 1 : 0), x, 11);
  }
}

/** `text`, cut at its end until it is no wider than `width`. */
function fitted(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let length = text.length - 1;
  while (length > 1 && context.measureText(text.slice(0, length) + "…").width > width) length--;
  return text.slice(0, length).trimEnd() + "…";
}

function drawEventRows(context, model, toX) {
  model.eventClasses.forEach((label, row) => {
    const top = AXIS + row * EVENT_ROW, index = model.classIndexOf(label);
    const chosen = model.classIndex === null || model.classIndex === index;
    context.globalAlpha = chosen ? 1 : 0.35;
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.fillStyle = styleOf("--muted");
    context.fillText(fitted(context, plain(label), GUTTER - 10), GUTTER - 8, top + EVENT_ROW / 2 - 1);
    context.fillStyle = styleOf(classColour(index));
    for (const event of model.events) {
      if (event.class !== label || event.end_s < model.view.start || event.start_s > model.view.end) continue;
      const left = Math.max(GUTTER, toX(event.start_s)), right = toX(event.end_s);
      context.beginPath();
      context.roundRect(left, top + 2, Math.max(3, right - left), EVENT_ROW - 5, 3);
      context.fill();
    }
    context.globalAlpha = 1;
  });
}

function drawLanes(context, model, width, toX) {
  const hatch = hatchOf(context, styleOf("--hatch"));
  let top = plotHeight(model) - LANES.reduce((sum, lane) => sum + lane.height + LANE_GAP, 0);
  for (const lane of LANES) {
    const box = { left: GUTTER, top, width: width - GUTTER, height: lane.height };
    context.fillStyle = styleOf("--line");
    for (const part of [0, 0.5, 1]) context.fillRect(box.left, Math.round(top + lane.height * part), box.width, 1);
    context.save();
    context.beginPath();
    context.rect(box.left, top - 2, box.width, lane.height + 4);
    context.clip();
    for (const event of model.events) {
      const index = model.classIndexOf(event.class);
      if (model.classIndex !== null && model.classIndex !== index) continue;
      if (event.end_s < model.view.start || event.start_s > model.view.end) continue;
      context.globalAlpha = 0.13;
      context.fillStyle = styleOf(classColour(index));
      context.fillRect(toX(event.start_s), top, Math.max(2, toX(event.end_s) - toX(event.start_s)), lane.height);
      context.globalAlpha = 1;
    }
    drawCurve(context, model.series, model.curves[lane.head], lane.bit, model.view, box, styleOf(lane.colour), hatch);
    context.restore();
    context.fillStyle = styleOf(lane.colour);
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.font = `600 ${context.font}`;
    const threshold = lane.head === 0 ? model.threshold : null;
    const nameTop = threshold !== null && threshold > 0.7 ? 0.6 : 0.14;  // beside the threshold's figure, never under it
    context.fillText(lane.name, GUTTER - 8, top + Math.max(8, lane.height * nameTop));
    context.font = context.font.replace(/^(600|bold) /, "");
    if (threshold !== null) drawThreshold(context, threshold, box);
    top += lane.height + LANE_GAP;
  }
}

function drawThreshold(context, threshold, box) {
  const y = box.top + box.height * (1 - threshold);
  context.strokeStyle = context.fillStyle = styleOf("--ink");
  context.lineWidth = 1;
  context.setLineDash([5, 4]);
  context.beginPath();
  context.moveTo(box.left, y);
  context.lineTo(box.left + box.width, y);
  context.stroke();
  context.setLineDash([]);
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.fillText(`≥ ${threshold.toFixed(2)}`, box.left - 8, y);
}

function drawPlot(canvas, model) {
  const width = canvas.parentElement.clientWidth, height = plotHeight(model);
  canvas.style.height = `${height}px`;
  const context = contextOf(canvas, width, height);
  context.font = "11.5px system-ui, sans-serif";
  const toX = (time) => GUTTER + ((time - model.view.start) / (model.view.end - model.view.start)) * (width - GUTTER);
  drawAxis(context, model, width, height, toX);
  drawEventRows(context, model, toX);
  drawLanes(context, model, width, toX);
}

/** The whole source in small, with the part that the plot shows. */
function drawOverview(canvas, model) {
  const width = canvas.clientWidth, height = canvas.clientHeight;
  const context = contextOf(canvas, width, height);
  const box = { left: GUTTER, top: 2, width: width - GUTTER, height: height - 4 };
  const all = { start: 0, end: model.duration };
  const toX = (time) => box.left + (time / model.duration) * box.width;
  context.fillStyle = styleOf("--soft");
  context.fillRect(box.left, 0, box.width, height);
  drawCurve(context, model.series, model.curves[0], HEARD | SEEN, all, box, styleOf("--fused"), hatchOf(context, styleOf("--hatch")));
  for (const event of model.events) {
    context.fillStyle = styleOf(classColour(model.classIndexOf(event.class)));
    context.fillRect(toX(event.start_s), height - 4, Math.max(2, toX(event.end_s) - toX(event.start_s)), 4);
  }
  const left = toX(model.view.start), right = toX(model.view.end);
  context.globalAlpha = 0.65;
  context.fillStyle = styleOf("--card");
  context.fillRect(box.left, 0, left - box.left, height);
  context.fillRect(right, 0, width - right, height);
  context.globalAlpha = 1;
  context.strokeStyle = styleOf("--accent");
  context.lineWidth = 2;
  context.strokeRect(left + 1, 1, Math.max(4, right - left - 2), height - 2);
}
