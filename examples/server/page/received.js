// The uploads that verified callbacks reported, newest first.

import { badge, byId, bytes, clock, el, isPicture, reachable, spoken, table } from "./dom.js";
import { t } from "./texts.js";

const MAX_SHOWN = 200;

/** Larger pictures are not loaded for a thumbnail. */
const MAX_THUMBNAIL = 4 * 1024 * 1024;

let objectsUrl = null;

export function setup(config) {
  objectsUrl = config.objectsUrl;
  reachable(byId("received"));
}

export function replace(uploads) {
  byId("received").replaceChildren(...uploads.map(entry));
  count();
}

export function add(upload) {
  const list = byId("received");
  const added = entry(upload);
  added.classList.add("new");
  list.prepend(added);
  while (list.children.length > MAX_SHOWN) list.lastElementChild.remove();
  count();
}

function count() {
  const { length } = byId("received").children;
  byId("count").textContent = String(length);
  byId("nothing").hidden = length > 0;
}

function entry(upload) {
  const name = upload.filename ?? upload.object ?? "?";
  const url = address(upload);
  const title = url
    ? el("a", { class: "name", title: name, href: url, target: "_blank", rel: "noopener noreferrer" },
      name)
    : el("span", { class: "name", title: name }, name);
  const facts = [bytes(upload.size ?? 0), upload.mimeType ?? t("noType")].join(" · ");
  return el("li", { "data-object": upload.object },
    thumbnail(upload, url),
    el("div", { class: "body" },
      title,
      el("p", { class: "quiet" }, `${facts} · `,
        el("time", { datetime: upload.receivedAt }, clock(upload.receivedAt)),
        upload.recovered && el("span", { class: "chip recovered" }, t("recovered")))),
    el("details", {},
      el("summary", {}, spoken(t("object", { name }))),
      table([
        ["object", `${upload.bucket}/${upload.object}`],
        ["ETag", upload.etag ?? "–"],
      ])));
}

/** Returns the URL of an object, or null if the bucket is private. */
function address({ object }) {
  if (!objectsUrl || !object) return null;
  return `${objectsUrl}/${object.split("/").map(encodeURIComponent).join("/")}`;
}

function thumbnail({ object, mimeType, size }, url) {
  // The end of the object's name is that of the file's, which may be cut off.
  const name = object ?? "";
  if (!url || !isPicture(mimeType) || size > MAX_THUMBNAIL) return badge(name);
  const image = el("img", {
    class: "thumb", alt: "", src: url, loading: "lazy", decoding: "async",
    onerror: () => image.replaceWith(badge(name)),
  });
  return image;
}
