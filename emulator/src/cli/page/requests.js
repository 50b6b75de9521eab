// The last requests, newest first.

import { ask, code, table } from "./dom.js";
import { byId, el } from "./element.js";

const KEPT = 200;

let last = 0;

/** Adds the requests since the last call. Returns whether there were any. */
export async function update() {
  const answer = await ask("requests", { after: last });
  // The emulator has been started again, and counts from the beginning.
  if (answer.last < last) clear();
  last = answer.last;
  const list = byId("requests");
  for (const request of answer.requests.slice(-KEPT)) list.prepend(row(request));
  while (list.children.length > KEPT) list.lastChild.remove();
  byId("no-requests").hidden = list.querySelector("li:not([hidden])") !== null;
  return answer.requests.length > 0;
}

/** Empties the list. */
export function clear() {
  byId("requests").replaceChildren();
  byId("no-requests").hidden = false;
}

const isRefused = ({ status }) => status === null || status >= 300 || status === 203;

/** The bucket and the object as text, or the target if the path names no object. */
function shown({ bucket, key, target }) {
  if (key === null) return target;
  const at = target.indexOf("?");
  return `/${bucket}/${key}${at < 0 ? "" : target.slice(at)}`;
}

function row(request) {
  const refused = isRefused(request);
  const why = request.status === null
    ? "the client disconnected before the response"
    : [request.code, request.ec, request.message].filter(Boolean).join(" · ");
  const details = el(
    "details",
    { ontoggle: fill },
    el("summary", {},
      el("span", { class: "quiet" }, new Date(request.time).toLocaleTimeString()),
      el("span", { class: refused ? "status bad" : "status" }, request.status ?? "—"),
      el("span", { class: "name" }, request.operation ?? request.method),
      el("span", { class: "name mono path" }, shown(request)),
      why !== "" && el("span", { class: "why" }, el("bdi", {}, why))),
  );
  // The details are built when they are opened: a row may have 16 KiB of each text.
  function fill() {
    details.removeEventListener("toggle", fill);
    details.append(el("div", { class: "detail" }, ...detail(request)));
  }
  return el("li", { "data-refused": refused, hidden: !refused && byId("refused").checked }, details);
}

function detail(request) {
  const { upload } = request;
  const parts = [table([
    ["Request", `${request.method} ${request.target}`],
    ["Host", request.host],
    ["Bucket", request.bucket],
    ["Object", request.key],
    ["Client", request.client],
    ["Request ID", request.requestId],
    ["Time", `${request.time}, ${request.milliseconds} ms`],
    ["Code", request.code],
    ["EC", request.ec],
    ["Message", request.message],
    ["Checks passed", upload?.steps.join(", ")],
    ["File name", upload?.fileName],
  ])];
  if (upload?.policy) parts.push(el("h3", {}, "Policy"), code(upload.policy, "Policy"));
  if (upload?.callback) {
    parts.push(el("h3", {}, "Callback parameters"), code(upload.callback, "Callback parameters"));
  }
  for (const callback of request.callbacks) {
    parts.push(
      el("h3", {}, "Callback"),
      table([["URL", callback.url], ["Status", callback.status ?? "no response"], ...(callback.failure ? [["Failure", callback.failure]] : [])]),
      code(callback.body, "Body of the callback"),
      el("h3", {}, "Answer"),
      callback.response === ""
        ? el("p", { class: "empty" }, "No answer was read.")
        : code(callback.response, "Answer to the callback"),
    );
  }
  return parts;
}

byId("refused").addEventListener("change", () => {
  const only = byId("refused").checked;
  for (const item of byId("requests").children) {
    item.hidden = only && !("refused" in item.dataset);
  }
  byId("no-requests").hidden = byId("requests").querySelector("li:not([hidden])") !== null;
});
