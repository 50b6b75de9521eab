// Builds the elements of several sections.

import { byId, bytes, el, indented } from "./element.js";
import { language, t } from "./texts.js";

export { byId, bytes, el };

export const spoken = (text) => el("span", { class: "spoken" }, text);

/** Creates a small button. `label` is its accessible name if its text alone is ambiguous. */
export const button = (text, onclick, label) =>
  el("button", { type: "button", class: "small", "aria-label": label, onclick }, text);

export const clock = (time) => new Date(time).toLocaleTimeString(language, {
  hour: "2-digit", minute: "2-digit", second: "2-digit",
});

/** Creates a table of names and values. Long values scroll. */
export function table(rows) {
  const body = el("tbody");
  for (const [name, value] of rows) {
    const long = value.length > 160;
    const shown = long
      ? el("div", { class: "long", tabindex: "0", role: "group", "aria-label": name }, value)
      : value;
    body.append(el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, shown)));
  }
  return el("table", { lang: "en" }, body);
}

/** Creates a code block. */
export const code = (text, label = t("code")) =>
  el("pre", { tabindex: "0", lang: "en", role: "group", "aria-label": label },
    el("code", {}, indented(text)));

/** Creates a collapsed section. */
export const more = (title, ...children) =>
  el("details", {}, el("summary", {}, title), ...children);

/** Shows the extension of a file, for what has no picture. */
export function badge(name) {
  const kind = name.includes(".") ? name.split(".").pop().slice(0, 4) : "·";
  return el("span", { class: "thumb", "aria-hidden": "true", lang: "en" }, kind);
}

/** Image types that every current browser displays. */
export const isPicture = (type) => /^image\/(png|jpeg|gif|webp|avif|bmp)$/.test(type ?? "");

/** Makes a list that scrolls reachable by keyboard while its content overflows. */
export function reachable(element) {
  const update = () => {
    if (element.scrollHeight > element.clientHeight) element.tabIndex = 0;
    else element.removeAttribute("tabindex");
  };
  new ResizeObserver(update).observe(element);
  new MutationObserver(update).observe(element, { childList: true });
  // `toggle` does not bubble.
  element.addEventListener("toggle", update, true);
}

/** Has a screen reader read a text. */
export const announce = (text) => {
  byId("announce").textContent = text;
};
