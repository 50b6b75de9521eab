// What the server tells, live.

import { byId, bytes, clock, el } from "./dom.js";
import * as steps from "./steps.js";

const MAX_SHOWN = 200;

export function follow() {
  const events = new EventSource("/events");
  const live = byId("live");
  const state = (text, on) => {
    live.textContent = text;
    live.classList.toggle("on", on);
  };
  events.onopen = () => state("live", true);
  events.onerror = () => state("reconnecting…", false);
  events.addEventListener("snapshot", (event) => {
    const { uploads, traces } = JSON.parse(event.data);
    byId("received").replaceChildren(...uploads.map(entry));
    count();
    for (const trace of traces.reverse()) steps.saw(trace);
  });
  events.addEventListener("upload", (event) => {
    const list = byId("received");
    const added = entry(JSON.parse(event.data));
    added.classList.add("new");
    list.prepend(added);
    while (list.children.length > MAX_SHOWN) list.lastElementChild.remove();
    count();
  });
  events.addEventListener("trace", (event) => steps.saw(JSON.parse(event.data)));
}

function count() {
  const { length } = byId("received").children;
  byId("count").textContent = String(length);
  byId("nothing").hidden = length > 0;
}

function entry(upload) {
  const name = upload.claims?.file ?? upload.object ?? "?";
  return el("li", { "data-object": upload.object },
    el("div", { class: "line" },
      el("span", { class: "name", title: name }, name),
      el("time", { class: "quiet", datetime: upload.receivedAt }, clock(upload.receivedAt))),
    el("div", { class: "quiet" }, `${bytes(upload.size ?? 0)} · ${upload.mimeType ?? "no type"}`),
    el("div", { class: "quiet mono" }, `${upload.bucket}/${upload.object}`),
    el("div", { class: "quiet mono" }, `ETag ${upload.etag ?? "none"}`));
}
