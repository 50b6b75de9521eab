// The queue of files: one card each, at most three concurrent uploads.

import { byId, bytes, code, el, more } from "./dom.js";
import { upload } from "./transfer.js";
import * as steps from "./steps.js";

const AT_ONCE = 3;
const ENDS = ["done", "failed", "cancelled"];
const waiting = [];
let running = 0;

/** Adds files to the queue. `options.path` is another route for the first token. */
export function add(files, config, options = {}) {
  return Array.from(files, (file) => {
    const card = new Card(file, config, options);
    byId("queue").prepend(card.element);
    const why = objection(file, config);
    if (why) card.refuse(why);
    else card.enqueue();
    return card;
  });
}

/** Returns why a file cannot be uploaded, or null. The server checks the same limits again. */
function objection(file, config) {
  if (file.size === 0) return "This file is empty. An upload needs at least one byte.";
  if (file.size > config.maxSize) {
    return `Too large: ${bytes(file.size)}. The limit is ${bytes(config.maxSize)}.`;
  }
  // The server reads an empty type from the name, and takes image/jpg for image/jpeg.
  const type = file.type === "image/jpg" ? "image/jpeg" : file.type;
  if (type && !config.types.includes(type)) {
    return `This type is not allowed (${type}). Use text, PDF, images or videos.`;
  }
  return null;
}

function next() {
  while (running < AT_ONCE && waiting.length > 0) {
    running += 1;
    waiting.shift().run().finally(() => {
      running -= 1;
      next();
    });
  }
}

class Card {
  constructor(file, config, options) {
    Object.assign(this, { file, config, options });
    this.name = el("span", { class: "name", title: file.name }, file.name);
    this.state = el("p", { class: "state" });
    this.bar = el("progress", { max: "100", value: "0", "aria-label": `Progress of ${file.name}` });
    this.actions = el("div", { class: "actions" });
    this.detail = el("div", { class: "detail" });
    this.element = el(
      "li",
      { class: "card", "data-state": "waiting" },
      thumbnail(file),
      el("div", { class: "body" },
        el("div", { class: "line" }, this.name, el("span", { class: "quiet" }, bytes(file.size))),
        this.bar, this.state, this.detail, this.actions),
    );
    // Resolves with the final state.
    this.done = new Promise((resolve) => { this.finish = resolve; });
  }

  show(state, text, ...actions) {
    this.element.dataset.state = state;
    this.state.textContent = text;
    this.actions.replaceChildren(...actions.filter(Boolean));
    // Screen readers announce only the final state, not every percent.
    if (ENDS.includes(state)) byId("announce").textContent = `${this.file.name}: ${text}`;
  }

  refuse(why) {
    this.bar.hidden = true;
    this.show("failed", why, button("Remove", () => this.element.remove()));
    this.finish("failed");
  }

  enqueue() {
    this.bar.hidden = false;
    this.detail.replaceChildren();
    this.aborter = new AbortController();
    waiting.push(this);
    this.show("waiting", "Waiting…", button("Cancel", () => this.cancel()));
    next();
  }

  cancel() {
    const at = waiting.indexOf(this);
    if (at >= 0) {
      waiting.splice(at, 1);
      this.failed("Cancelled.", { cancelled: true });
    }
    this.aborter.abort();
  }

  async run() {
    const speed = new Speed();
    this.bar.value = 0;
    this.show("running", "Requesting a token…", button("Cancel", () => this.cancel()));
    this.trace = steps.begin(this.file);
    try {
      const answer = await upload(this.file, {
        onToken: (asked) => this.trace.token(asked),
        onExpired: (answer) => {
          this.trace.expired(answer);
          this.state.textContent = "The token has expired. Requesting a new one…";
        },
        onProgress: (loaded, total) => this.progress(loaded, total, speed),
      }, { path: this.options.path, signal: this.aborter.signal });
      this.succeed(answer);
    } catch (error) {
      this.trace.failed(error);
      this.failed(error.message, error);
    }
  }

  progress(loaded, total, speed) {
    const rate = speed.of(loaded);
    const part = total > 0 ? Math.floor((loaded / total) * 100) : 0;
    this.bar.value = part;
    this.state.textContent = loaded < total
      ? `${part}%${rate ? ` · ${bytes(rate)}/s` : ""}`
      : "Sent. OSS is storing the file and calling your server back…";
  }

  succeed(answer) {
    this.bar.value = 100;
    this.trace.succeeded(answer);
    const renewed = answer.attempt > 1
      ? " The first token had expired, so a new one was requested."
      : "";
    this.show("done", `Stored and confirmed by your server.${renewed}`, this.stepsButton());
    this.detail.replaceChildren(
      el("p", { class: "answer" }, "Response of your server: ", el("code", {}, answer.text)),
    );
    this.finish("done");
  }

  failed(text, error = {}) {
    const again = button("Try again", () => {
      // An experiment affects the first attempt only.
      this.options = {};
      this.enqueue();
    });
    const state = error.cancelled ? "cancelled" : "failed";
    this.show(state, text,
      error.retry === false ? null : again,
      this.trace && !error.cancelled ? this.stepsButton() : null);
    if (error.detail?.code) {
      const { status, code: name, message, ec } = error.detail;
      const response = `${status} ${name}\n${message}${ec ? `\nEC ${ec}` : ""}`;
      this.detail.replaceChildren(more("Response of OSS", code(response)));
    }
    this.finish("failed");
  }

  stepsButton() {
    const { trace } = this;
    return button("Show steps", () => steps.show(trace, true));
  }
}

const button = (text, onclick) => el("button", { type: "button", class: "small", onclick }, text);

/** Creates a thumbnail of an image, or shows the extension of any other file. */
function thumbnail(file) {
  if (/^image\/(png|jpeg|gif|webp|avif|bmp)$/.test(file.type)) {
    const url = URL.createObjectURL(file);
    const free = () => URL.revokeObjectURL(url);
    return el("img", { class: "thumb", alt: "", src: url, onload: free, onerror: free });
  }
  const kind = file.name.includes(".") ? file.name.split(".").pop().slice(0, 4) : "file";
  return el("span", { class: "thumb", "aria-hidden": "true" }, kind);
}

/** Measures bytes per second, averaged over about the last second. */
class Speed {
  constructor() {
    this.marks = [[performance.now(), 0]];
  }

  of(loaded) {
    const now = performance.now();
    this.marks.push([now, loaded]);
    while (this.marks.length > 2 && now - this.marks[0][0] > 1000) this.marks.shift();
    const [time, before] = this.marks[0];
    return now > time ? ((loaded - before) / (now - time)) * 1000 : 0;
  }
}
