// Drawing on a canvas: what the live page and the report share. It knows neither events nor scores.

let styles = new Map(); // looked up once per colour scheme: thousands of events ask

/** The value of a CSS variable. */
export function styleOf(name) {
  if (!styles.has(name)) styles.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  return styles.get(name);
}

/** The colour scheme has changed. */
export function forgetStyles() { styles = new Map(); }

/** A 2d context whose unit is a CSS pixel, on a canvas as fine as the screen. */
export function contextOf(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/** The pattern of what was not there. */
export function hatchOf(context, colour) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const pen = tile.getContext("2d");
  pen.strokeStyle = colour;
  for (const shift of [-8, 0, 8]) { pen.moveTo(shift, 8); pen.lineTo(shift + 8, 0); }
  pen.stroke();
  return context.createPattern(tile, "repeat");
}
