// The entry point of the page: language, settings, file input and the live event feed.

import { byId, bytes } from "./dom.js";
import { PARTS_ABOVE } from "./parts.js";
import { t, translate } from "./texts.js";
import * as experiments from "./experiments.js";
import * as outage from "./outage.js";
import * as queue from "./queue.js";
import * as received from "./received.js";
import * as recipes from "./recipes.js";
import * as steps from "./steps.js";

translate(document);

const config = await (await fetch("/config")).json();

const service = config.emulated ? t("emulator") : "Alibaba Cloud OSS";
byId("mode").textContent = `${service} · ${config.bucket}`;
byId("limits").textContent = t("limits", { size: bytes(config.maxSize) });
byId("parts-hint").textContent = t("partsHint", { size: bytes(PARTS_ABOVE) });

const input = byId("files");
input.addEventListener("change", () => {
  queue.add(input.files, config);
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
  queue.add(event.dataTransfer.files, config);
});

/** Shows the events of the server as they arrive. Every connection starts with a snapshot. */
function follow() {
  const events = new EventSource("/events");
  const live = byId("live");
  const state = (text, on) => {
    live.textContent = text;
    live.classList.toggle("on", on);
  };
  events.onopen = () => state(t("live"), true);
  events.onerror = () => state(t("reconnecting"), false);
  events.addEventListener("snapshot", (event) => {
    const { uploads, traces } = JSON.parse(event.data);
    received.replace(uploads);
    for (const trace of traces.reverse()) steps.saw(trace);
  });
  events.addEventListener("upload", (event) => received.add(JSON.parse(event.data)));
  events.addEventListener("trace", (event) => steps.saw(JSON.parse(event.data)));
}

queue.setup();
received.setup(config);
steps.setup(config);
experiments.setup(config);
await outage.setup(config);
await recipes.setup();
follow();
document.documentElement.dataset.ready = "true";
