// The page: everything it does begins here.

import { byId, bytes } from "./dom.js";
import { add } from "./queue.js";
import { follow } from "./feed.js";
import * as experiments from "./experiments.js";
import * as steps from "./steps.js";

const config = await (await fetch("/config")).json();

byId("mode").textContent = `${config.emulated ? "emulator" : "Alibaba Cloud OSS"} · ${config.bucket}`;
byId("limits").textContent = `Text, PDF, images and videos, up to ${bytes(config.maxSize)} each.`;

const input = byId("files");
input.addEventListener("change", () => {
  add(input.files, config);
  // So that the same file can be chosen again.
  input.value = "";
});

const drop = byId("drop");
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

steps.setup(config);
experiments.setup(config);
follow();
document.documentElement.dataset.ready = "true";
