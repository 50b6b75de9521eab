// The files of this page: a card each, three uploads at a time.

import { byId, bytes, code, el, more } from "./dom.js";
import { objection } from "./words.js";
import { upload } from "./transfer.js";
import * as steps from "./steps.js";

const AT_ONCE = 3;
const ENDS = ["done", "failed", "cancelled"];
const waiting = [];
let running = 0;

/** Takes files in. `options.path` asks another route for the first token. */
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
    // For those who wait for the end of it.
    this.done = new Promise((resolve) => { this.finish = resolve; });
  }

  show(state, text, ...actions) {
    this.element.dataset.state = state;
    this.state.textContent = text;
    this.actions.replaceChildren(...actions.filter(Boolean));
    // Only the end is read out, not each percent.
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
    this.show("running", "Asking for a token…", button("Cancel", () => this.cancel()));
    this.trace = steps.begin(this.file);
    try {
      const answer = await upload(this.file, {
        onToken: (asked) => this.trace.token(asked),
        onExpired: (answer) => {
          this.trace.expired(answer);
          this.state.textContent = "The token has expired. Asking for a new one…";
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
      ? `${part} %${rate ? ` · ${bytes(rate)}/s` : ""}`
      : "Sent. OSS stores it and calls your server back…";
  }

  succeed(answer) {
    this.bar.value = 100;
    this.trace.succeeded(answer);
    const renewed = answer.attempt > 1 ? " The first token had expired, so a new one was taken." : "";
    this.show("done", `Stored, and confirmed by your server.${renewed}`, this.stepsButton());
    this.detail.replaceChildren(el("p", { class: "answer" }, "Your server answered ", el("code", {}, answer.text)));
    this.finish("done");
  }

  failed(text, error = {}) {
    const again = button("Try again", () => {
      // The fault was asked for; the second attempt is an ordinary one.
      this.options = {};
      this.enqueue();
    });
    const state = error.cancelled ? "cancelled" : "failed";
    this.show(state, text, error.retry === false ? null : again, this.trace && !error.cancelled ? this.stepsButton() : null);
    if (error.detail?.code) {
      const { status, code: name, message, ec } = error.detail;
      this.detail.replaceChildren(more("What OSS answered", code(`${status} ${name}\n${message}${ec ? `\nEC ${ec}` : ""}`)));
    }
    this.finish("failed");
  }

  stepsButton() {
    const { trace } = this;
    return button("Show steps", () => steps.show(trace, true));
  }
}

const button = (text, onclick) => el("button", { type: "button", class: "small", onclick }, text);

/** A picture of a picture; the kind of anything else. */
function thumbnail(file) {
  if (/^image\/(png|jpeg|gif|webp|avif|bmp)$/.test(file.type)) {
    const url = URL.createObjectURL(file);
    const free = () => URL.revokeObjectURL(url);
    return el("img", { class: "thumb", alt: "", src: url, onload: free, onerror: free });
  }
  const kind = file.name.includes(".") ? file.name.split(".").pop().slice(0, 4) : "file";
  return el("span", { class: "thumb", "aria-hidden": "true" }, kind);
}

/** Bytes a second, over the last second or so. */
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
