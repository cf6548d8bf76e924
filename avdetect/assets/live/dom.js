// Small helpers for the document and for words.

export const $ = (id) => document.getElementById(id);

/** An element. Text goes in as text, never as markup. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-") || name === "role" || name === "for") made.setAttribute(name, value);
    else if (name === "data") Object.assign(made.dataset, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const STROKES = {
  confirm: "M4 10.5l4 4 8-9",
  dismiss: "M5 5l10 10M15 5L5 15",
  play: "M7 4.5v11l9-5.5z",
};

/** One of our icons, drawn with the colour of the text. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon", `icon-${name}`);
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", STROKES[name]);
  svg.append(path);
  return svg;
}

const NUM_COLOURS = 10;
export const classColour = (index) => `--class-${Math.max(0, index) % NUM_COLOURS}`;

let toastTimer = 0;

/** Say something for a few seconds. */
export function toast(message) {
  $("toast").textContent = message;
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").hidden = true; }, 5000);
}
