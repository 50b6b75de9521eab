// Buckets, their objects, the object that is chosen, and uploads in parts.

import { ask, code, path, table } from "./dom.js";
import { byId, bytes, el } from "./element.js";

let bucket = null;
let chosen = null;
/** The name behind which the next page of the list begins. */
let last = "";
/** How many pages of the list are shown. */
let pages = 1;
/** Counts the lists that were asked for, so that a late answer does not replace a newer one. */
let asked = 0;

/** Asks for everything again. */
export async function refresh() {
  await Promise.all([showBuckets(), showUploads()]);
}

async function showBuckets() {
  const { buckets } = await ask("buckets");
  if (!buckets.some(({ name }) => name === bucket)) {
    bucket = buckets.length > 0 ? buckets[0].name : null;
    pages = 1;
    choose(null);
  }
  byId("buckets").replaceChildren(...buckets.map(({ name, acl, objects, more }) => el(
    "button",
    { type: "button", "aria-pressed": name === bucket ? "true" : "false", onclick: () => open(name) },
    el("span", { class: "name" }, name),
    el("span", { class: "quiet" }, ` ${acl} · ${objects}${more ? "+" : ""}`),
  )));
  await showObjects();
}

async function open(name) {
  bucket = name;
  pages = 1;
  choose(null);
  await showBuckets();
}

async function showObjects() {
  asked += 1;
  const own = asked;
  const rows = [];
  let more = false;
  last = "";
  if (bucket !== null) {
    const prefix = byId("prefix").value;
    for (let page = 0; page < pages; page += 1) {
      const listed = await ask("objects", { bucket, prefix, after: last });
      if (own !== asked) return;
      rows.push(...listed.objects.map(row));
      more = listed.more;
      last = listed.objects.at(-1)?.key ?? last;
      if (!more) break;
    }
  }
  const focused = document.activeElement?.dataset?.key;
  byId("objects").replaceChildren(...rows);
  // A new list must not take the place of the reader.
  if (focused !== undefined) {
    rows.map((item) => item.firstChild).find((one) => one.dataset.key === focused)?.focus();
  }
  byId("more").hidden = !more;
  byId("no-objects").hidden = rows.length > 0;
}

function row({ key, size, contentType }) {
  return el("li", {}, el(
    "button",
    {
      type: "button",
      class: "object",
      "data-key": key,
      "aria-current": key === chosen ? "true" : false,
      onclick: () => choose(key),
    },
    el("span", { class: "name" }, key),
    el("span", { class: "quiet" }, bytes(size)),
    el("span", { class: "quiet" }, contentType),
  ));
}

async function choose(key) {
  chosen = key;
  for (const button of document.querySelectorAll(".object")) {
    if (button.dataset.key === key) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  if (key === null) {
    const hint = "Choose an object to see its content and metadata.";
    byId("object").replaceChildren(el("p", { class: "empty" }, hint));
    return;
  }
  const of = { bucket, key };
  let content;
  try {
    content = show(of, await ask("object", of));
  } catch (error) {
    content = [el("p", { class: "empty" }, error.message)];
  }
  if (chosen !== key || bucket !== of.bucket) return;
  byId("object").replaceChildren(...content);
  // On a narrow screen the object is below the list.
  if (matchMedia("(max-width: 860px)").matches) {
    byId("object-section").scrollIntoView();
    byId("object-title").focus();
  }
}

function show(of, object) {
  const { preview } = object;
  const shown = {
    image: () => el("img", { class: "preview", alt: "The image", src: path("image", of) }),
    text: () => code(preview.text + (preview.cut ? "\n…" : ""), "Content"),
    none: () => el("p", { class: "empty" }, "No preview: neither a text nor an image."),
  }[preview.kind]();
  return [shown, table([
    ["Name", object.key],
    ["Size", `${object.size} B`],
    ["Content-Type", object.contentType],
    ["ETag", object.etag],
    ["CRC-64", object.crc64],
    ["Stored", object.lastModified],
    ["Storage class", object.storageClass],
    ["ACL", object.acl],
    ...object.headers.filter(([name]) => name !== "x-oss-storage-class"),
  ])];
}

async function showUploads() {
  const { uploads, more } = await ask("uploads");
  byId("upload-count").textContent = `${uploads.length}${more ? "+" : ""}`;
  byId("no-uploads").hidden = uploads.length > 0;
  const open = openOnes("uploads");
  byId("uploads").replaceChildren(...uploads.map((upload) => el("li", {}, el(
    "details",
    { "data-id": upload.uploadId, open: open.has(upload.uploadId) },
    el("summary", { class: "upload" },
      el("span", { class: "quiet" }, `${upload.partCount} ${upload.partCount === 1 ? "part" : "parts"}`),
      el("span", {}),
      el("span", { class: "quiet" }, bytes(upload.size)),
      el("span", { class: "name path" }, `${upload.bucket}/${upload.key}`)),
    el("div", { class: "detail" }, table([
      ["Upload ID", upload.uploadId],
      ["Content-Type", upload.contentType],
      ...upload.parts.map((part) => [
        `Part ${part.partNumber}`, `${part.size} B, ${part.etag}, ${part.lastModified}`,
      ]),
    ])),
  ))));
}

/** The IDs of the open details of a list. */
const openOnes = (list) => new Set(
  [...document.querySelectorAll(`#${list} details[open]`)].map((one) => one.dataset.id));

let typing;
byId("prefix").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    pages = 1;
    showObjects();
  }, 150);
});

byId("more").addEventListener("click", () => {
  pages += 1;
  showObjects();
});
