// Builds elements and texts, for the page of the emulator and for the demo. Text is never parsed as HTML,
// so what clients upload cannot inject markup.

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

/** Indents JSON if that keeps its numbers. Other text is unchanged. */
export function indented(text) {
  const dense = (json) => json.replace(/\s+/g, "");
  try {
    const parsed = JSON.parse(text);
    // Not `crc64`, for example, which JavaScript would round.
    if (dense(JSON.stringify(parsed)) === dense(text)) return JSON.stringify(parsed, null, 2);
  } catch {
    // Not JSON.
  }
  return text;
}
