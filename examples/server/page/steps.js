// The steps of one upload, as the page and the servers saw them.

import { byId, code, el, more, reachable, spoken, table } from "./dom.js";
import { t } from "./texts.js";

const MAX_REMEMBERED = 100;
const STEPS = ["token", "form", "oss", "callback", "layer", "answer"];
/** What OSS checks when it completes an upload in parts. */
const PARTS_CHECKS = ["signature", "callbackParameters", "size", "stored"];
const OSS_CHECKS = [
  "form", "signature", "expiry", "conditions", "callbackParameters", "size", "stored",
];

/** On a narrow screen, the panel opens in a dialog. */
const narrow = matchMedia("(max-width: 860px)");

/** Traces by the id of the upload request, which OSS sends in its response and in its callback. */
const atOss = new Map();
const atServer = new Map();
let config = { emulated: true };
let current = null;

/** Shows the titles of all steps before the first upload. */
export function setup(of) {
  config = of;
  byId("steps").replaceChildren(...STEPS.map((name) => step("waiting", name)));
  reachable(byId("steps-home"));
  const sheet = byId("sheet");
  byId("how").addEventListener("click", open);
  byId("steps-close").addEventListener("click", () => sheet.close());
  sheet.addEventListener("click", (event) => {
    // The dialog itself is the target of a click on its backdrop only.
    if (event.target === sheet) sheet.close();
  });
  sheet.addEventListener("close", () => {
    byId("steps-close").hidden = true;
    byId("steps-home").append(byId("steps-panel"));
  });
  narrow.addEventListener("change", () => sheet.close());
}

/** Brings the panel into view. A dialog returns the focus to the button that opened it. */
function open() {
  if (narrow.matches) {
    byId("steps-close").hidden = false;
    byId("sheet").append(byId("steps-panel"));
    byId("sheet").showModal();
    byId("sheet").scrollTop = 0;
  } else {
    byId("steps-home").scrollTop = 0;
    byId("steps-home").scrollIntoView({ block: "nearest" });
  }
  byId("steps-title").focus({ preventScroll: true });
}

/** Adds a trace from a server. */
export function saw(trace) {
  const { requestId } = trace;
  if (!requestId) return;
  const known = trace.kind === "oss" ? atOss : atServer;
  // A second trace with the same id is a replay and not part of the upload.
  if (!known.has(requestId)) known.set(requestId, trace);
  if (known.size > MAX_REMEMBERED) known.delete(known.keys().next().value);
  if (current?.id === requestId) render();
}

/** Starts the trace of an upload, and shows it if the panel shall follow this upload. */
export function begin(file, follow = true, inParts = false) {
  const trace = new Trace(file, inParts);
  if (follow) show(trace);
  return trace;
}

export function show(trace, focus = false) {
  if (current !== trace) {
    current = trace;
    render();
  }
  if (focus) open();
}

class Trace {
  constructor(file, inParts) {
    Object.assign(this, { file, inParts, session: null, sentParts: 0 });
    Object.assign(this, { asked: null, sent: null, id: null });
    Object.assign(this, { answer: null, error: null, earlier: null });
  }

  token({ asked, token }) {
    this.change({ asked: { asked, token }, sent: token.fields, id: null });
  }

  /** Records how far an upload in parts is. */
  parts({ session, progress }) {
    const { partsStored } = progress;
    if (session && (partsStored !== this.sentParts || !this.session)) {
      this.change({ session, sentParts: partsStored });
    }
  }

  /** Records that the page changed the granted fields. */
  altered(fields) {
    this.change({ sent: fields });
  }

  expired({ id, error }) {
    this.change({ earlier: { id, error } });
  }

  succeeded(answer) {
    this.change({ answer, id: answer.id });
  }

  failed(error) {
    this.change({ error: error.message, answer: error.detail ?? null, id: error.id ?? null });
  }

  change(what) {
    Object.assign(this, what);
    if (current === this) render();
  }
}

function render() {
  const trace = current;
  const { id } = trace;
  byId("steps-of").textContent = id ? `${trace.file.name} · ${id}` : trace.file.name;
  const oss = atOss.get(id);
  const server = atServer.get(id);
  const opened = remembered(trace);
  const inParts = () => [
    signStep(trace), partsStep(trace), ossStep(trace, oss, "complete", PARTS_CHECKS),
  ];
  const inOneForm = () => [
    trace.earlier && expiredStep(trace.earlier),
    tokenStep(trace),
    formStep(trace, oss),
    ossStep(trace, oss, "oss", OSS_CHECKS),
  ];
  byId("steps").replaceChildren(...[
    ...(trace.inParts ? inParts() : inOneForm()),
    callbackStep(oss, server),
    serverStep(server),
    answerStep(trace, oss, server),
  ].filter(Boolean));
  opened();
}

let drawn = null;

/** Remembers which details are open and which one has the focus, and returns what restores both. */
function remembered(trace) {
  const titles = new Set();
  let focused = null;
  if (drawn === trace) {
    for (const summary of byId("steps").querySelectorAll("summary")) {
      if (summary.parentElement.open) titles.add(summary.textContent);
      if (summary === document.activeElement) focused = summary.textContent;
    }
  }
  drawn = trace;
  return () => {
    for (const summary of byId("steps").querySelectorAll("summary")) {
      summary.parentElement.open = titles.has(summary.textContent);
      if (summary.textContent === focused) summary.focus({ preventScroll: true });
    }
  };
}

function step(state, name, ...content) {
  return el("li", { class: "step", "data-state": state, "data-step": name },
    el("h3", {}, t(`step.${name}`)), ...content);
}

const quiet = (text) => text.length > 200
  ? el("p", { class: "quiet long", tabindex: "0" }, text)
  : el("p", { class: "quiet" }, text);

/** A text of a server, which is English. */
const raw = (text) => {
  const shown = quiet(text);
  shown.lang = "en";
  return shown;
};

function expiredStep({ error }) {
  return step("failed", "expired", raw(`${error.code}: ${error.message}`), quiet(t("expiredStep")));
}

function tokenStep({ asked, error }) {
  if (!asked) return step(error ? "failed" : "waiting", "token", quiet(error ?? "…"));
  const { token } = asked;
  return step("done", "token", raw(`GET ${asked.asked}`), table([
    ["key", token.key],
    ["url", token.url],
    ["expires", new Date(token.expires * 1000).toLocaleTimeString("en-GB")],
  ]), more(t("wholeToken"), code(JSON.stringify(token))));
}

function formStep({ sent, file, error, asked }, oss) {
  if (!sent) return step("waiting", "form");
  const fields = oss?.fields.length ? oss.fields : Object.entries(sent);
  const policy = fields.find(([name]) => name === "policy")?.[1];
  const callback = fields.find(([name]) => name === "callback")?.[1];
  return step(error && !asked ? "failed" : "done", "form",
    more(t(oss ? "fieldsAtOss" : "fields", { count: fields.length }),
      table([...fields, ["file", file.name]])),
    policy && more(t("policy"), code(oss?.policy ?? decoded(policy))),
    callback && more(t("callback"), code(oss?.callback ?? decoded(callback))));
}

/** The service signs the requests of an upload in parts. */
function signStep({ session, error }) {
  if (!session) return step(error ? "failed" : "waiting", "sign", quiet(error ?? "…"));
  return step("done", "sign", raw("POST /oss/presign"), table([
    ["key", session.key],
    ["uploadId", session.uploadId],
    ["partSize", String(session.partSize)],
    ["partCount", String(session.partCount)],
    ["expires", new Date(session.expires * 1000).toLocaleTimeString("en-GB")],
  ]), quiet(t("signedLead")));
}

function partsStep({ session, sentParts, answer, error }) {
  if (!session) return step("waiting", "parts");
  const { partCount } = session;
  const stored = answer ? partCount : sentParts;
  const state = stored === partCount ? "done" : error ? "failed" : "waiting";
  return step(state, "parts", quiet(t("partsOf", { partsStored: stored, partCount })));
}

function ossStep({ answer }, oss, name, all) {
  if (!oss) {
    if (config.emulated || !answer) return step("waiting", name);
    return step(answer.status === 200 ? "done" : "failed", name,
      quiet(t("noChecks", { status: answer.status })));
  }
  const broken = all.find((check) => !oss.passed.includes(check));
  const list = all.map((check) => {
    const state = oss.passed.includes(check) ? "passed" : check === broken ? "failed" : "notReached";
    return [state, t(`oss.${check}`)];
  });
  const refusal = broken && oss.refusal;
  const ec = refusal?.ec ? ` (EC ${refusal.ec})` : "";
  return step(broken ? "failed" : "done", name, checks(list),
    refusal && raw(`${oss.status} ${refusal.code}: ${refusal.message}${ec}`));
}

function callbackStep(oss, server) {
  const exchange = oss?.exchanges[0];
  if (!exchange && !server) return step("waiting", "callback");
  if (!exchange) return step("done", "callback", more(t("headers"), table(server.headers)));
  return step("done", "callback", raw(`POST ${exchange.url}`),
    more(t("headers"), table(exchange.headers)),
    more(t("body"), table([...new URLSearchParams(exchange.body)])),
    more(t("signedBody"), code(exchange.body)));
}

function serverStep(server) {
  if (!server) return step("waiting", "layer");
  return step(server.code ? "failed" : "done", "layer",
    checks(server.checks.map(({ name, state }) => [state, t.maybe(`layer.${name}`) ?? name])),
    server.code && quiet(t.maybe(`reason.${server.code}`) ?? server.code));
}

function answerStep({ answer, error }, oss, server) {
  const exchange = oss?.exchanges[0];
  if (!server && !answer) return step("waiting", "answer", error && quiet(error));
  const received = answer && quiet(t("pageReceived", { status: answer.status }));
  if (!server) return step(answer.status === 200 ? "done" : "waiting", "answer", received);
  return step(server.status === 200 ? "done" : "failed", "answer",
    quiet(t(server.ran ? "handlerRan" : "handlerDidNotRun", { status: server.status })),
    exchange?.answer && code(exchange.answer),
    received,
    error && quiet(error));
}

const MARKS = { passed: "✓", failed: "✕", notReached: "·" };

function checks(list) {
  return el("ul", { class: "checks" }, ...list.map(([state, text]) =>
    el("li", { "data-state": state },
      el("span", { class: "mark", "aria-hidden": "true" }, MARKS[state]),
      el("span", {}, spoken(t(state)), text))));
}

function decoded(base64) {
  try {
    return new TextDecoder().decode(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)));
  } catch {
    return base64;
  }
}
