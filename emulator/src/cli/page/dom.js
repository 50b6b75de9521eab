// Builds elements, and asks the emulator. Text is never parsed as HTML, so what clients upload cannot
// inject markup.

/**
 * Creates an element. Attributes whose names start with `on` are event listeners. Children are
 * elements or text; `null`, `undefined` and `false` are left out.
 */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  const kept = (child) => child !== null && child !== undefined && child !== false;
  element.append(...children.filter(kept));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Creates a table of names and values. Rows without a value are left out. */
export function table(rows) {
  const body = el("tbody");
  for (const [name, value] of rows) {
    if (value === null || value === undefined || value === "") continue;
    body.append(el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, String(value))));
  }
  return el("table", {}, body);
}

/** Creates a block of text. JSON is indented if that keeps its numbers. */
export function code(text, label) {
  let shown = text;
  try {
    const parsed = JSON.parse(text);
    if (JSON.stringify(parsed) === text.replace(/\s+/g, "")) shown = JSON.stringify(parsed, null, 2);
  } catch {
    // Not JSON: shown unchanged.
  }
  return el("pre", { tabindex: "0", role: "group", "aria-label": label }, shown);
}

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

/** The path of an endpoint below this page. */
export const path = (name, parameters = {}) => {
  const query = new URLSearchParams(parameters).toString();
  return query === "" ? name : `${name}?${query}`;
};

/** Asks an endpoint. Fails with its message. */
export async function ask(name, parameters = {}, method = "GET") {
  const response = await fetch(path(name, parameters), { method });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}
