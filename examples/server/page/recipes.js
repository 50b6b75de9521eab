// Code for the reader's own application. The server cuts it out of files that are compiled.

import { announce, byId, el, more } from "./dom.js";
import { t } from "./texts.js";

export async function setup() {
  const recipes = await (await fetch("/recipes")).json();
  const shown = el("div", { class: "recipe" });
  const choices = recipes.map((recipe, at) => el("label", { class: "choice" },
    el("input", {
      type: "radio", name: "recipe", value: recipe.name, checked: at === 0,
      onchange: () => show(shown, recipe),
    }),
    el("span", {}, recipe.name === "browser" ? t("browser") : recipe.name)));
  byId("recipes").replaceChildren(
    el("fieldset", { class: "choices" }, el("legend", { class: "spoken" }, t("framework")), ...choices),
    shown);
  show(shown, recipes[0]);
}

function show(place, recipe) {
  const note = t.maybe(`recipe.${recipe.name}`);
  place.replaceChildren(...[
    note && el("p", { class: "quiet" }, note),
    listing(recipe),
    recipe.more && more(t(recipe.name === "axum" ? "functions" : "wholeFile"), listing(recipe.more)),
  ].filter(Boolean));
}

function listing({ code, file }) {
  const text = el("code", {}, code);
  const copy = el("button", {
    type: "button", class: "small",
    onclick: async () => {
      if (!await copied(code, text)) return;
      announce(t("copied"));
      copy.textContent = t("copied");
      setTimeout(() => { copy.textContent = t("copy"); }, 2000);
    },
  }, t("copy"));
  return el("div", { class: "listing" },
    el("p", { class: "line" }, el("span", { class: "quiet mono", lang: "en" }, file), copy),
    el("pre", { tabindex: "0", lang: "en", role: "group", "aria-label": file }, text));
}

/** Copies a text. Without access to the clipboard, selects it instead. */
async function copied(code, element) {
  try {
    await navigator.clipboard.writeText(code);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return false;
  }
}
