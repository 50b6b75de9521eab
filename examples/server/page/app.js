// The entry point of the page: settings, file input and the live event feed.

import { byId, bytes, clock, el } from "./dom.js";
import { add } from "./queue.js";
import * as experiments from "./experiments.js";
import * as steps from "./steps.js";

const MAX_SHOWN = 200;

const config = await (await fetch("/config")).json();

const service = config.emulated ? "emulator" : "Alibaba Cloud OSS";
byId("mode").textContent = `${service} · ${config.bucket}`;
byId("limits").textContent = `Text, PDF, images and videos, up to ${bytes(config.maxSize)} each.`;

const input = byId("files");
input.addEventListener("change", () => {
  add(input.files, config);
  // Without this, choosing the same file again would not fire a `change` event.
  input.value = "";
});

const drop = byId("drop");
// `dragenter` and `dragleave` fire for every element below the pointer, so count them.
let depth = 0;
const hover = (change) => (event) => {
  event.preventDefault();
  depth += change;
  drop.classList.toggle("over", depth > 0);
};
document.addEventListener("dragenter", hover(1));
document.addEventListener("dragleave", hover(-1));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  drop.classList.remove("over");
  add(event.dataTransfer.files, config);
});

/** Shows the events of the server as they arrive. Every connection starts with a snapshot. */
function follow() {
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
  const time = clock(upload.receivedAt);
  return el("li", { "data-object": upload.object },
    el("div", { class: "line" },
      el("span", { class: "name", title: name }, name),
      el("time", { class: "quiet", datetime: upload.receivedAt }, time)),
    el("div", { class: "quiet" }, `${bytes(upload.size ?? 0)} · ${upload.mimeType ?? "no type"}`),
    el("div", { class: "quiet mono" }, `${upload.bucket}/${upload.object}`),
    el("div", { class: "quiet mono" }, `ETag ${upload.etag ?? "none"}`));
}

steps.setup(config);
experiments.setup(config);
follow();
document.documentElement.dataset.ready = "true";
