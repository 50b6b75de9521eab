// Builds elements. Text is never parsed as HTML, so a file name cannot inject markup.

/**
 * Creates an element. Attributes whose names start with `on` are event listeners. Children are
 * elements or text.
 */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

export function bytes(count) {
  if (count < 1024) return `${count} B`;
  let value = count;
  let unit = "B";
  for (const next of ["KiB", "MiB", "GiB"]) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return `${value.toFixed(value < 10 ? 1 : 0)} ${unit}`;
}

export const clock = (time) =>
  new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** Creates a table of names and values. Long values scroll. */
export function table(rows) {
  const body = el("tbody");
  for (const [name, value] of rows) {
    const long = value.length > 160;
    const shown = long ? el("div", { class: "long", tabindex: "0" }, value) : value;
    body.append(el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, shown)));
  }
  return el("table", {}, body);
}

/** Creates a code block. JSON is indented. */
export function code(text) {
  let shown = text;
  try {
    shown = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    // Not JSON: shown unchanged.
  }
  return el("pre", { tabindex: "0" }, el("code", {}, shown));
}

/** Creates a collapsed section. */
export const more = (title, ...children) =>
  el("details", {}, el("summary", {}, title), ...children);
