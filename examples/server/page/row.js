// One file in the queue: a row that shows its progress, then its outcome on one line.

import { badge, button, bytes, clock, code, el, isPicture, spoken } from "./dom.js";
import { createUpload, finished, goesInParts } from "./parts.js";
import { t } from "./texts.js";
import { upload } from "./transfer.js";
import * as steps from "./steps.js";

/** The final states of a row. */
export const ENDS = ["done", "failed", "cancelled"];
const MARKS = { done: "✓", failed: "!", cancelled: "–" };

export class Row {
  /** `changed` is called when the progress or the state changes, and `enqueue` to run again. */
  constructor(file, options, { changed, enqueue }) {
    Object.assign(this, { file, options, changed, enqueue });
    this.loaded = 0;
    this.status = "waiting";
    // Whether another attempt can succeed.
    this.retriable = false;
    const { name } = file;
    this.mark = el("span", { class: "mark", "aria-hidden": "true" });
    this.state = el("p", { class: "state" });
    this.bar = el("progress", { max: "100", value: "0", "aria-label": t("progressOf", { name }) });
    this.actions = el("div", { class: "actions" });
    this.detail = el("details", { hidden: true });
    this.inParts = goesInParts(file) && !options.path;
    this.element = el("li", { class: this.inParts ? "card parts" : "card", "data-state": "waiting" },
      thumbnail(file),
      el("span", { class: "name", title: name }, name),
      el("span", { class: "size quiet" }, bytes(file.size)),
      this.mark, this.actions, this.bar, this.state, this.detail);
  }

  get ended() {
    return ENDS.includes(this.status);
  }

  show(status, text, ...actions) {
    this.status = status;
    // What a screen reader announces.
    this.said = status === "done" ? t("doneOf") : text;
    this.element.dataset.state = status;
    this.mark.textContent = MARKS[status] ?? "";
    this.state.textContent = text;
    this.actions.replaceChildren(...actions.filter(Boolean));
    this.bar.hidden = status !== "running" && status !== "paused";
    this.changed(this);
  }

  refuse(why) {
    this.show("failed", why);
  }

  wait() {
    this.loaded = 0;
    this.bar.value = 0;
    this.detail.hidden = true;
    this.aborter = new AbortController();
    this.show("waiting", t("waiting"), this.cancelButton());
  }

  cancel() {
    this.aborter.abort();
    if (this.status === "waiting") this.fail(t("cancelled"), { cancelled: true });
  }

  async run() {
    const speed = new Speed();
    this.trace = steps.begin(this.file, this.options.follow, this.inParts);
    this.show("running", t(this.inParts ? "signing" : "requesting"), this.cancelButton());
    try {
      const answer = this.inParts ? await this.runInParts() : await upload(this.file, {
        onToken: (asked) => this.trace.token(asked),
        onExpired: (answer) => {
          this.trace.expired(answer);
          this.state.textContent = t("renewing");
        },
        onProgress: (loaded, total) => this.progress(loaded, total, speed),
      }, { path: this.options.path, signal: this.aborter.signal });
      this.succeed(answer);
    } catch (error) {
      this.trace.failed(error);
      this.fail(error.message, error);
    }
  }

  runInParts() {
    this.upload = createUpload(this.file, {
      signal: this.aborter.signal,
      onState: (state, info) => this.moved(state, info),
      onProgress: (progress) => this.advance(progress),
    });
    return finished(this.upload);
  }

  /** Shows a state of the upload in parts. Its end is shown as that of a form. */
  moved(state, { reason, until }) {
    const { name } = this.file;
    const focused = this.actions.contains(document.activeElement);
    const pause = button(t("pause"), () => this.upload.pause(), t("pauseFor", { name }));
    const resume = button(t("resume"), () => this.upload.resume(), t("resumeFor", { name }));
    switch (state) {
      case "uploading":
        this.trace.parts(this.upload);
        this.show("running", t("sending"), pause, this.cancelButton());
        this.advance(this.upload.progress);
        break;
      case "waiting":
        this.show("running", t(`wait.${reason}`, { time: clock(until) }), pause, this.cancelButton());
        break;
      case "paused":
        this.show("paused", t("pausedAt", { percent: this.bar.value }), resume, this.cancelButton());
        break;
      case "completing":
        this.show("running", t("completing"));
        break;
      default:
    }
    // The focused button is gone, so move the focus to the one in its place.
    if (focused) this.actions.querySelector("button")?.focus();
  }

  advance({ loaded, total, speed, secondsLeft, partsStored, partCount }) {
    this.loaded = loaded;
    this.bar.value = Math.floor((loaded / total) * 100);
    this.trace.parts(this.upload);
    if (this.upload.state === "uploading" && partCount > 0) {
      this.state.textContent = [
        `${this.bar.value}%`,
        t("partsOf", { partsStored, partCount }),
        speed > 0 && `${bytes(speed)}/s`,
        secondsLeft && t("left", { seconds: secondsLeft }),
      ].filter(Boolean).join(" · ");
    }
    this.changed(this);
  }

  progress(loaded, total, speed) {
    const rate = speed.of(loaded);
    // The form is slightly longer than the file.
    this.loaded = Math.min(loaded, this.file.size);
    this.bar.value = total > 0 ? Math.floor((loaded / total) * 100) : 0;
    this.state.textContent = loaded < total
      ? [
        `${this.bar.value}%`,
        rate && `${bytes(rate)}/s`,
        rate && t("left", { seconds: (total - loaded) / rate }),
      ].filter(Boolean).join(" · ")
      : t("storing");
    this.changed(this);
  }

  succeed(answer) {
    this.loaded = this.file.size;
    this.trace.succeeded(answer);
    this.explain(t("answerOf", { name: this.file.name }),
      answer.attempt > 1 && el("p", { class: "quiet" }, t("renewed")),
      el("p", { class: "quiet" }, t("answer")), code(answer.text, t("answer")));
    this.show("done", t("done"), this.stepsButton());
  }

  fail(text, error = {}) {
    this.loaded = 0;
    this.retriable = error.retry !== false;
    if (error.detail?.code) {
      const { status, code: name, message, ec } = error.detail;
      const response = `${status} ${name}\n${message}${ec ? `\nEC ${ec}` : ""}`;
      this.explain(t("answerOf", { name: this.file.name }),
        el("p", { class: "quiet" }, t("rawAnswer")), code(response, t("rawAnswer")));
    }
    this.show(error.cancelled ? "cancelled" : "failed", text,
      this.retriable && button(t("again"), () => this.again(), t("againFor", { name: this.file.name })),
      this.trace && !error.cancelled && this.stepsButton());
  }

  again(follow = true) {
    // An experiment affects the first attempt only.
    this.options = { follow };
    this.enqueue(this);
  }

  /** Puts content behind the disclosure at the end of the row. */
  explain(label, ...content) {
    this.detail.open = false;
    this.detail.hidden = false;
    this.detail.replaceChildren(
      el("summary", {}, spoken(label)),
      el("div", { class: "answer" }, ...content),
    );
  }

  cancelButton() {
    return button(t("cancel"), () => this.cancel(), t("cancelFor", { name: this.file.name }));
  }

  stepsButton() {
    const { trace } = this;
    return button(t("showSteps"), () => steps.show(trace, true),
      t("stepsOf", { name: this.file.name }));
  }
}

/** Creates a thumbnail of a picture, or shows the extension of any other file. */
function thumbnail(file) {
  if (!isPicture(file.type)) return badge(file.name);
  const url = URL.createObjectURL(file);
  const image = el("img", {
    class: "thumb", alt: "", src: url, decoding: "async",
    onload: () => URL.revokeObjectURL(url),
    onerror: () => {
      URL.revokeObjectURL(url);
      image.replaceWith(badge(file.name));
    },
  });
  return image;
}

/** Measures bytes per second, averaged over about the last two seconds. */
export class Speed {
  constructor(loaded = 0) {
    this.marks = [[performance.now(), loaded]];
  }

  of(loaded) {
    const now = performance.now();
    this.marks.push([now, loaded]);
    while (this.marks.length > 2 && now - this.marks[0][0] > 2000) this.marks.shift();
    const [time, before] = this.marks[0];
    return now > time && loaded > before ? ((loaded - before) / (now - time)) * 1000 : 0;
  }
}
