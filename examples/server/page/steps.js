// What happened to one upload, step by step, as page and servers saw it.

import { byId, code, el, more, table } from "./dom.js";
import { LAYER_CHECKS, LAYER_REASONS, OSS_CHECKS } from "./words.js";

const MAX_REMEMBERED = 100;
const TITLES = [
  "The page asks your server for a token",
  "The page posts a form to OSS",
  "OSS checks the form and stores the file",
  "OSS calls your server back",
  "Your server checks the callback",
  "Your handler answers, and OSS passes it on",
];
/** By the id of the upload request, which OSS gives to its answer and to its callback alike. */
const atOss = new Map();
const atServer = new Map();
let config = { emulated: true };
let current = null;

/** Before the first upload, the steps are there to be read. */
export function setup(of) {
  config = of;
  byId("steps").replaceChildren(...TITLES.map((title) => step("waiting", title)));
}

/** A server saw something. */
export function saw(trace) {
  const { requestId } = trace;
  if (!requestId) return;
  const known = trace.kind === "oss" ? atOss : atServer;
  // What comes second under an id is a replay, and no part of the upload.
  if (!known.has(requestId)) known.set(requestId, trace);
  if (known.size > MAX_REMEMBERED) known.delete(known.keys().next().value);
  if (current?.id === requestId) render();
}

/** An upload begins, and is shown. */
export function begin(file) {
  const trace = new Trace(file);
  show(trace);
  return trace;
}

export function show(trace, focus = false) {
  current = trace;
  render();
  if (!focus) return;
  byId("steps-section").scrollIntoView({ block: "start" });
  byId("steps-title").focus({ preventScroll: true });
}

class Trace {
  constructor(file) {
    Object.assign(this, { file, asked: null, sent: null, id: null, answer: null, error: null, earlier: null });
  }

  token({ asked, token }) {
    this.change({ asked: { asked, token }, sent: token.fields, id: null });
  }

  /** The fields were changed on the way. */
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
  byId("steps-of").textContent = `${trace.file.name}${trace.id ? `, request ${trace.id}` : ""}`;
  const oss = atOss.get(trace.id);
  const server = atServer.get(trace.id);
  byId("steps").replaceChildren(...[
    trace.earlier && expiredStep(trace.earlier),
    tokenStep(trace),
    formStep(trace, oss),
    ossStep(trace, oss),
    callbackStep(oss, server),
    serverStep(server),
    answerStep(trace, oss, server),
  ].filter(Boolean));
}

function step(state, title, ...content) {
  return el("li", { class: "step", "data-state": state }, el("h3", {}, title), ...content);
}

const quiet = (text) => text.length > 200
  ? el("p", { class: "quiet long", tabindex: "0" }, text)
  : el("p", { class: "quiet" }, text);

function expiredStep({ error }) {
  return step("failed", "The first token was too late",
    quiet(`OSS answered ${error.code}: ${error.message} The page asks for a new one, once, by itself.`));
}

function tokenStep({ asked, error }) {
  const title = TITLES[0];
  if (!asked) return step(error ? "failed" : "waiting", title, quiet(error ?? "…"));
  const { token } = asked;
  return step("done", title, quiet(`GET ${asked.asked}`), table([
    ["key", token.key],
    ["url", token.url],
    ["expires", new Date(token.expires * 1000).toLocaleTimeString()],
  ]), more("The whole token", code(JSON.stringify(token))));
}

function formStep({ sent, file, error, asked }, oss) {
  const title = TITLES[1];
  if (!sent) return step("waiting", title);
  const fields = oss?.fields.length ? oss.fields : Object.entries(sent);
  const shown = table([...fields, ["file", file.name]]);
  const policy = fields.find(([name]) => name === "policy")?.[1];
  const callback = fields.find(([name]) => name === "callback")?.[1];
  return step(error && !asked ? "failed" : "done", title,
    quiet(oss ? "These fields, as OSS received them:" : "These fields:"),
    more(`${fields.length} fields and the file`, shown),
    policy && more("The policy, decoded", code(oss?.policy ?? decoded(policy))),
    callback && more("The callback, decoded", code(oss?.callback ?? decoded(callback))));
}

function ossStep({ answer }, oss) {
  const title = TITLES[2];
  if (!oss) {
    if (config.emulated || !answer) return step("waiting", title);
    const ok = answer.status === 200;
    return step(ok ? "done" : "failed", title, quiet(`OSS tells nobody what it checks. It answered ${answer.status}.`));
  }
  const wanted = OSS_CHECKS.slice(0, -1);
  const broken = wanted.find(([name]) => !oss.passed.includes(name))?.[0];
  const list = wanted.map(([name, text]) => {
    const state = oss.passed.includes(name) ? "passed" : name === broken ? "failed" : "notReached";
    return [state, text];
  });
  const refusal = broken && oss.refusal;
  return step(broken ? "failed" : "done", title, checks(list),
    refusal && quiet(`${oss.status} ${refusal.code}: ${refusal.message}${refusal.ec ? ` (EC ${refusal.ec})` : ""}`));
}

function callbackStep(oss, server) {
  const title = TITLES[3];
  const exchange = oss?.exchanges[0];
  if (!exchange && !server) return step("waiting", title);
  if (!exchange) return step("done", title, more("Headers", table(server.headers)));
  return step("done", title, quiet(`POST ${exchange.url}`),
    more("Headers", table(exchange.headers)),
    more("Body, decoded", table([...new URLSearchParams(exchange.body)])),
    more("Body, as it was signed", code(exchange.body)));
}

function serverStep(server) {
  const title = TITLES[4];
  if (!server) return step("waiting", title);
  return step(server.code ? "failed" : "done", title,
    checks(server.checks.map(({ name, state }) => [state, LAYER_CHECKS[name] ?? name])),
    server.code && quiet(LAYER_REASONS[server.code] ?? server.code));
}

function answerStep({ answer, error }, oss, server) {
  const title = TITLES[5];
  const exchange = oss?.exchanges[0];
  if (!server && !answer) return step("waiting", title, error && quiet(error));
  if (!server) return step(answer.status === 200 ? "done" : "waiting", title, quiet(`The page got ${answer.status}.`));
  const lines = [
    quiet(`${server.ran ? "The handler ran" : "The handler did not run"}, and the answer was ${server.status}.`),
    exchange?.answer && code(exchange.answer),
    answer && quiet(`The page got ${answer.status}.`),
    error && quiet(error),
  ].filter(Boolean);
  return step(server.status === 200 ? "done" : "failed", title, ...lines);
}

const MARKS = { passed: "✓", failed: "✕", notReached: "·" };
const SAID = { passed: "passed: ", failed: "failed: ", notReached: "not reached: " };

function checks(list) {
  return el("ul", { class: "checks" }, ...list.map(([state, text]) =>
    el("li", { "data-state": state },
      el("span", { class: "mark", "aria-hidden": "true" }, MARKS[state]),
      el("span", {}, el("span", { class: "spoken" }, SAID[state]), text))));
}

function decoded(base64) {
  try {
    return new TextDecoder().decode(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)));
  } catch {
    return base64;
  }
}
