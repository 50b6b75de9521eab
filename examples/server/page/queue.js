// The queue of files: one row each, at most three concurrent uploads, and their total.

import { announce, byId, bytes, reachable } from "./dom.js";
import { showUnfinished } from "./parts.js";
import { ENDS, Row, Speed } from "./row.js";
import { t } from "./texts.js";

const AT_ONCE = 3;

/** Up to this many files, each outcome is announced. The others have one announcement. */
const MAX_ANNOUNCED = 3;

const rows = new Set();
const waiting = [];
let speed = null;
let drawing = false;
let finished = true;

export function setup() {
  byId("all").setAttribute("aria-label", t("progressOfAll"));
  reachable(byId("queue"));
  showUnfinished([]);
  byId("cancel-all").addEventListener("click", () => {
    for (const row of rows) if (!row.ended) row.cancel();
    draw();
    // The button is gone, so move the focus.
    byId("clear").focus();
  });
  byId("retry-all").addEventListener("click", () => {
    for (const row of rows) if (isRetriable(row)) row.again(false);
    draw();
    byId("cancel-all").focus();
  });
  byId("clear").addEventListener("click", () => {
    for (const row of rows) {
      if (!row.ended) continue;
      row.element.remove();
      rows.delete(row);
    }
    draw();
    if (byId("clear").hidden || byId("total").hidden) byId("files").focus();
  });
}

/**
 * Adds files to the queue, above earlier ones. `options.path` is another route for the first token.
 * Resolves each `done` with the first final state.
 */
export function add(files, config, options = {}) {
  let follow = true;
  const added = Array.from(files, (file) => {
    const why = objection(file, config);
    const row = new Row(file, { ...options, follow: follow && !why }, { changed, enqueue });
    row.done = new Promise((resolve) => { row.finish = resolve; });
    rows.add(row);
    if (why) row.refuse(why);
    else follow = false;
    return row;
  });
  byId("queue").prepend(...added.map((row) => row.element));
  byId("queue").scrollTop = 0;
  for (const row of added) if (!row.ended) enqueue(row);
  draw();
  return added;
}

/** Returns why a file cannot be uploaded, or null. The server checks the same limits again. */
function objection(file, config) {
  if (file.size === 0) return t("error.empty");
  if (file.size > config.maxSize) {
    return t("error.tooLarge", { size: bytes(file.size), limit: bytes(config.maxSize) });
  }
  // The server reads an empty type from the name, and takes image/jpg for image/jpeg.
  const type = file.type === "image/jpg" ? "image/jpeg" : file.type;
  if (type && !config.types.includes(type)) return t("error.type", { type });
  return null;
}

function enqueue(row) {
  finished = false;
  // A row that was cancelled while it waited is still in the list.
  if (!waiting.includes(row)) waiting.push(row);
  row.wait();
  next();
}

/** Starts rows while fewer than three are running. Paused ones leave their place to others. */
function next() {
  let running = 0;
  for (const row of rows) if (row.status === "running") running += 1;
  for (; running < AT_ONCE && waiting.length > 0; running += 1) {
    let row = waiting.shift();
    while (row?.ended) row = waiting.shift();
    row?.run().finally(next);
  }
}

const isRetriable = (row) => row.ended && row.status !== "done" && row.retriable;

function changed(row) {
  if (row.ended) {
    row.finish(row.status);
    if (rows.size <= MAX_ANNOUNCED) announce(`${row.file.name}: ${row.said}`);
  }
  if (row.status === "paused") next();
  // Sixty files change often: draw the total once per frame.
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(draw);
}

/** Shows the total of all rows that take part. */
function draw() {
  drawing = false;
  const all = [...rows];
  const count = Object.fromEntries(["waiting", "running", "paused", ...ENDS].map((status) =>
    [status, all.filter((row) => row.status === status).length]));
  const active = count.waiting + count.running + count.paused > 0;
  const parts = all.filter((row) => !row.ended || row.status === "done");
  const size = parts.reduce((sum, row) => sum + row.file.size, 0);
  const loaded = parts.reduce((sum, row) => sum + row.loaded, 0);
  byId("total").hidden = all.length === 0;
  byId("all").hidden = !active;
  byId("all").value = size > 0 ? (loaded / size) * 100 : 0;
  const text = t("summary", { ...count, all: all.length });
  byId("summary").textContent = text;
  byId("cancel-all").hidden = !active;
  byId("retry-all").hidden = active || !all.some(isRetriable);
  byId("clear").hidden = all.every((row) => !row.ended);
  speed = active ? speed ?? new Speed(loaded) : null;
  const rate = speed?.of(loaded);
  byId("remaining").textContent = rate && loaded < size
    ? t("left", { seconds: (size - loaded) / rate })
    : "";
  if (!active && !finished && all.length > MAX_ANNOUNCED) announce(text);
  finished = !active;
  showUnfinished(all.filter((row) => !row.ended).map((row) => row.file));
}
