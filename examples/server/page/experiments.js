// Attacks and failures on request: what is sent, how the servers respond, and why.

import { byId, code, el, more, table } from "./dom.js";
import { add } from "./queue.js";
import { askToken, formOf, post, readError } from "./transfer.js";
import * as steps from "./steps.js";

const FORGERIES = {
  unsigned: "A POST without a signature, which any client can send",
  ownKey: "Signed with the attacker's key, with a key URL on the attacker's server",
  otherCustomer: "Signed by OSS for another customer's bucket, with this server as the callback",
  stolenTicket: "Signed by OSS, with the ticket of the last upload, but for another object",
  changed: "The last genuine callback with one digit of its size changed",
};

const encoded = (value) => btoa(JSON.stringify(value));

/** Changes to a granted form, and why OSS rejects each. */
const ALTERATIONS = [
  ["Another name, to overwrite another client's file", "The policy fixes the object key.",
    (fields) => ({ ...fields, key: "demo/of-another-client.txt" })],
  ["Another type, a web page instead of text",
    "The policy fixes the content type, so a client cannot plant a web page in the bucket.",
    (fields) => ({ ...fields, "x-oss-content-type": "text/html" })],
  ["Another callback, to a different server", "The policy contains the whole callback.",
    (fields) => ({
      ...fields,
      callback: encoded({
        callbackUrl: "http://attacker.example/",
        callbackBody: "object=${object}",
      }),
    })],
  ["No callback, to hide the upload from your server",
    "A policy condition fails if its field is missing.",
    ({ callback, ...fields }) => fields],
  ["Another policy, which allows everything", "The signature covers the original policy only.",
    (fields) => ({
      ...fields,
      policy: encoded({ expiration: "2099-01-01T00:00:00Z", conditions: [] }),
    })],
  ["A larger file than requested", "The policy fixes the exact size.",
    (fields) => fields, "x".repeat(5000)],
];

export function setup(config) {
  const run = (id, work) => byId(id).addEventListener("click", async (event) => {
    const button = event.currentTarget;
    button.disabled = true;
    try {
      await work(config);
    } catch (error) {
      tell("The experiment failed", el("p", {}, error.message));
    }
    button.disabled = false;
    // A disabled button loses the focus. Restore it, unless the focus has moved elsewhere.
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

/** Shows one attempt. `held` is true if the servers blocked it. */
function attempt(held, title, status, why, ...extra) {
  return el("li", { class: "attempt", "data-held": String(held) },
    el("p", { class: "line" }, el("strong", {}, title), el("span", { class: "status" }, status)),
    el("p", {}, why), ...extra);
}

const whatWasSent = (sent) => more("Request",
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
    const why = steps.LAYER_REASONS[name] ?? one.answer;
    return attempt(held, FORGERIES[one.name] ?? one.name, `${one.status} ${name}`,
      held ? `${why} Your handler did not run.` : "The handler ran!", whatWasSent(one.sent));
  });
  const held = items.every((item) => item.dataset.held === "true");
  tell(held ? "Every forgery was rejected" : "A forgery was accepted",
    el("ul", { class: "attempts" }, ...items),
    attempts.length < 4
      ? el("p", { class: "quiet" }, "Upload a file first to try more forgeries.")
      : null);
}

async function replay() {
  if (byId("received").children.length === 0) {
    tell("Nothing to replay", el("p", {}, "No callback was received yet. Upload a file first."));
    return;
  }
  const one = await ask("/demo/replay");
  const held = one.runsBefore === one.runsAfter;
  const runs = one.runsAfter === 1 ? "1 run" : `${one.runsAfter} runs`;
  const why = held
    ? "The server received the same callback again, byte for byte. Its ticket was already used, so "
      + "the server returned the stored response, and your handler did not run again "
      + `(${runs} in total).`
    : "Your handler ran a second time!";
  tell(held ? "The replay did not run the handler" : "The replay ran the handler",
    el("ul", { class: "attempts" },
      attempt(held, "The last callback again", String(one.status), why,
        more("Response", code(one.answer)), whatWasSent(one.sent))));
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
    const detail = { status: answer.status, ...error };
    if (held) trace.failed({ message: why, detail, id: answer.id });
    else trace.succeeded(answer);
    const showSteps = () => steps.show(trace, true);
    items.push(attempt(held, title, `${answer.status} ${error.code}`,
      held ? why : "OSS accepted the form!",
      more("Response of OSS", code(`${error.message}${error.ec ? `\nEC ${error.ec}` : ""}`)),
      el("button", { type: "button", class: "small", onclick: showSteps }, "Show steps")));
    tell("Tampering…", el("ul", { class: "attempts" }, ...items));
  }
  const held = items.every((item) => item.dataset.held === "true");
  tell(held ? "OSS rejected every altered form" : "OSS accepted an altered form",
    el("ul", { class: "attempts" }, ...items));
}

function text(name) {
  const content = `Created by the page at ${new Date().toISOString()}\n`;
  return new File([content], name, { type: "text/plain" });
}

async function expire(config) {
  const [card] = add([text("too-late.txt")], config, { path: "/demo/policy/expired" });
  const done = (await card.done) === "done";
  tell(done ? "The token was renewed" : "The token was not renewed",
    el("p", {}, done
      ? "The first token was an hour old, so OSS rejected the form. The page read the cause from "
        + "the response, requested a new token, and sent the file again."
      : "See the file above for details."));
}

async function fail(config) {
  const [card] = add([text("unconfirmed.txt")], config, { path: "/demo/policy/failing" });
  await card.done;
  tell("Stored, but not confirmed", el("p", {},
    "Your handler responded with 500. OSS keeps the file and responds with 203 CallbackFailed, "
      + "which the page treats as a failure. “Try again” requests a new token, because a token "
      + "cannot overwrite an object. Plan a clean-up of files that no callback confirmed."));
}
