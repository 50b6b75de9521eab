// The steps of one upload, as the page and the servers saw them.

import { byId, code, el, more, table } from "./dom.js";

const MAX_REMEMBERED = 100;
const TITLES = [
  "The page requests a token from your server",
  "The page posts a form to OSS",
  "OSS checks the form and stores the file",
  "OSS calls your server back",
  "Your server checks the callback",
  "Your handler responds, and OSS forwards the response",
];

/** The checks of OSS. */
const OSS_CHECKS = [
  ["form", "The form is complete up to its file"],
  ["signature", "The signature matches your access key"],
  ["expiry", "The policy has not expired"],
  ["conditions", "Every field meets its policy condition"],
  ["callbackParameters", "The callback parameters are valid"],
  ["size", "The size is within the limits of the policy"],
  ["stored", "The object is stored"],
];

/** The checks of the callback layer. */
const LAYER_CHECKS = {
  method: "The method is POST",
  headers: "The signature headers are present, once each",
  keyUrl: "The key URL is one of OSS's own",
  target: "The path has its canonical spelling",
  contentType: "The content type is the requested one",
  body: "The body is small, complete and on time",
  ticket: "The ticket was issued by this server and has not expired",
  key: "The public key is available (nothing was fetched)",
  signature: "OSS signed this path and body",
  grant: "Bucket, object, size and type match the grant",
  oneUse: "The ticket is used for the first time",
};

/** Why the layer rejects a callback. */
export const LAYER_REASONS = {
  MissingHeader: "There is no signature.",
  KeyUrlRejected: "The key URL is not in the fixed table of OSS's key URLs. It is never fetched.",
  TicketMissing: "The signature is valid, but OSS signs for every customer. "
    + "Without a ticket of this server, the upload was not granted here.",
  TicketInvalid: "The ticket was not issued by this server, or it is for another callback.",
  SignatureMismatch: "The ticket is valid, but OSS did not sign this body.",
  OutsideGrant: "Signature and ticket are valid, but the ticket grants another object.",
  TicketUsed: "The ticket was already used for another upload.",
};

/** Traces by the id of the upload request, which OSS sends in its response and in its callback. */
const atOss = new Map();
const atServer = new Map();
let config = { emulated: true };
let current = null;

/** Shows the titles of all steps before the first upload. */
export function setup(of) {
  config = of;
  byId("steps").replaceChildren(...TITLES.map((title) => step("waiting", title)));
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

/** Starts and shows the trace of an upload. */
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
    Object.assign(this, { file, asked: null, sent: null, id: null });
    Object.assign(this, { answer: null, error: null, earlier: null });
  }

  token({ asked, token }) {
    this.change({ asked: { asked, token }, sent: token.fields, id: null });
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
  return step("failed", "The first token had expired",
    quiet(`OSS responded with ${error.code}: ${error.message} `
      + "The page requests a new token once."));
}

function tokenStep({ asked, error }) {
  const title = TITLES[0];
  if (!asked) return step(error ? "failed" : "waiting", title, quiet(error ?? "…"));
  const { token } = asked;
  return step("done", title, quiet(`GET ${asked.asked}`), table([
    ["key", token.key],
    ["url", token.url],
    ["expires", new Date(token.expires * 1000).toLocaleTimeString()],
  ]), more("Complete token", code(JSON.stringify(token))));
}

function formStep({ sent, file, error, asked }, oss) {
  const title = TITLES[1];
  if (!sent) return step("waiting", title);
  const fields = oss?.fields.length ? oss.fields : Object.entries(sent);
  const shown = table([...fields, ["file", file.name]]);
  const policy = fields.find(([name]) => name === "policy")?.[1];
  const callback = fields.find(([name]) => name === "callback")?.[1];
  return step(error && !asked ? "failed" : "done", title,
    quiet(oss ? "Fields as received by OSS:" : "Fields:"),
    more(`${fields.length} fields and the file`, shown),
    policy && more("Policy, decoded", code(oss?.policy ?? decoded(policy))),
    callback && more("Callback, decoded", code(oss?.callback ?? decoded(callback))));
}

function ossStep({ answer }, oss) {
  const title = TITLES[2];
  if (!oss) {
    if (config.emulated || !answer) return step("waiting", title);
    const ok = answer.status === 200;
    return step(ok ? "done" : "failed", title,
      quiet(`OSS does not report its checks. It responded with ${answer.status}.`));
  }
  const broken = OSS_CHECKS.find(([name]) => !oss.passed.includes(name))?.[0];
  const list = OSS_CHECKS.map(([name, text]) => {
    const state = oss.passed.includes(name) ? "passed" : name === broken ? "failed" : "notReached";
    return [state, text];
  });
  const refusal = broken && oss.refusal;
  const ec = refusal?.ec ? ` (EC ${refusal.ec})` : "";
  return step(broken ? "failed" : "done", title, checks(list),
    refusal && quiet(`${oss.status} ${refusal.code}: ${refusal.message}${ec}`));
}

function callbackStep(oss, server) {
  const title = TITLES[3];
  const exchange = oss?.exchanges[0];
  if (!exchange && !server) return step("waiting", title);
  if (!exchange) return step("done", title, more("Headers", table(server.headers)));
  return step("done", title, quiet(`POST ${exchange.url}`),
    more("Headers", table(exchange.headers)),
    more("Body, decoded", table([...new URLSearchParams(exchange.body)])),
    more("Body, as signed", code(exchange.body)));
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
  const received = answer && quiet(`The page received ${answer.status}.`);
  if (!server) return step(answer.status === 200 ? "done" : "waiting", title, received);
  const lines = [
    quiet(server.ran
      ? `The handler ran. Your server responded with ${server.status}.`
      : `The handler did not run. Your server responded with ${server.status}.`),
    exchange?.answer && code(exchange.answer),
    received,
    error && quiet(error),
  ].filter(Boolean);
  return step(server.status === 200 ? "done" : "failed", title, ...lines);
}

const MARKS = { passed: "✓", failed: "✕", notReached: "·" };
const SPOKEN = { passed: "passed: ", failed: "failed: ", notReached: "not reached: " };

function checks(list) {
  return el("ul", { class: "checks" }, ...list.map(([state, text]) =>
    el("li", { "data-state": state },
      el("span", { class: "mark", "aria-hidden": "true" }, MARKS[state]),
      el("span", {}, el("span", { class: "spoken" }, SPOKEN[state]), text))));
}

function decoded(base64) {
  try {
    return new TextDecoder().decode(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)));
  } catch {
    return base64;
  }
}
