// Uploads in parts, for files that are large for one form. The module is that of `client`, unchanged.

import { Upload, UploadError as Failure, forgetUploads, unfinishedUploads } from "/client/upload.js";
import { byId, button, bytes, el } from "./dom.js";
import { t } from "./texts.js";
import { UploadError } from "./transfer.js";

/** Larger files go in parts. */
export const PARTS_ABOVE = 20 * 1024 * 1024;

export const goesInParts = (file) => file.size > PARTS_ABOVE;

/** Creates an upload that the page's own server signs. */
export const createUpload = (file, watch) => new Upload(file, {
  endpoint: "/oss/presign",
  lookup: received,
  ...watch,
});

/** Runs an upload. Resolves and rejects as one form does. */
export async function finished(upload) {
  try {
    const { reply, requestId } = await upload.start();
    const text = typeof reply === "string" ? reply : JSON.stringify(reply);
    return { status: 200, text, id: requestId, attempt: 1 };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    throw explained(error);
  }
}

function explained({ code, detail, retriable }) {
  const reason = t.maybe(`error.${detail?.code}`) ?? t(`parts.${code}`, { status: detail?.status ?? "" });
  return new UploadError(reason, {
    retry: retriable || code !== "Refused",
    detail,
    id: detail?.requestId || null,
    cancelled: code === "Cancelled",
  });
}

/** Asks the server whether a callback reported this object. */
async function received({ key }) {
  const response = await fetch("/uploads").catch(() => null);
  const uploads = response?.ok ? await response.json() : [];
  const upload = uploads.find(({ object }) => object === key);
  return upload && { Status: "OK", number: upload.number, object: upload.object };
}

const nameOf = (file) => [file.name, file.size, file.type, file.lastModified].join("|");

/** Lists what an earlier page did not finish, except for these files, which are being uploaded. */
export function showUnfinished(active) {
  const now = new Set(active.map(nameOf));
  const uploads = unfinishedUploads().filter((upload) => !now.has(nameOf(upload)));
  byId("unfinished").hidden = uploads.length === 0;
  byId("unfinished-list").replaceChildren(...uploads.map((upload) => {
    const { name, size, partsStored, partCount } = upload;
    const forget = () => {
      forgetUploads(upload);
      showUnfinished(active);
      byId("files").focus();
    };
    return el("li", { class: "line" },
      el("div", { class: "body" },
        el("p", { class: "name", title: name }, name),
        el("p", { class: "quiet" }, `${bytes(size)} · ${t("partsOf", { partsStored, partCount })}`)),
      button(t("discard"), forget, t("discardFor", { name })));
  }));
}
