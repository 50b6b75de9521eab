// Builds tables and texts, and asks the emulator.

import { el, indented } from "./element.js";

/** Creates a table of names and values. Rows without a value are left out. */
export function table(rows) {
  const body = el("tbody");
  for (const [name, value] of rows) {
    if (value === null || value === undefined || value === "") continue;
    body.append(el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, String(value))));
  }
  return el("table", {}, body);
}

/** Creates a block of text. */
export const code = (text, label) =>
  el("pre", { tabindex: "0", role: "group", "aria-label": label }, indented(text));

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
