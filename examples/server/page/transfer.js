// One upload: requests a token from the server, then posts a form to OSS.

import { t } from "./texts.js";

/** A failed upload. `retry` is false if another attempt cannot succeed. */
export class UploadError extends Error {
  constructor(message, { retry = true, detail = null, id = null, cancelled = false } = {}) {
    super(message);
    Object.assign(this, { retry, detail, id, cancelled });
  }
}

/** Requests a token for this file. */
export async function askToken(file, path = "/oss/policy", signal = undefined) {
  // Browsers leave the type of many files empty. The server then uses the extension of the name.
  const type = file.type || "";
  const query = new URLSearchParams({ filename: file.name, size: file.size, type });
  const asked = `${path}?${query}`;
  let response;
  try {
    response = await fetch(asked, { signal });
  } catch {
    if (signal?.aborted) throw cancelled();
    throw new UploadError(t("error.unreachable"));
  }
  const token = await response.json().catch(() => ({}));
  if (!response.ok) {
    const reason = t.maybe(`error.${token.code}`) ?? t("error.noToken", { status: response.status });
    throw new UploadError(reason, {
      retry: response.status >= 500,
      detail: { status: response.status, code: token.code ?? "", message: token.message ?? "" },
    });
  }
  return { asked, token };
}

/** Builds the form of a token. The file must be its last field. */
export function formOf(token, file) {
  const form = new FormData();
  for (const [name, value] of Object.entries(token.fields)) form.append(name, value);
  form.append("file", file);
  return form;
}

/** Posts a form. Resolves with any response of OSS, including errors. */
export function post(token, form, { onProgress = () => {}, signal } = {}) {
  // `fetch` does not report the progress of an upload.
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.upload.onprogress = (event) => onProgress(event.loaded, event.total);
    request.onabort = () => reject(cancelled());
    // A page cannot distinguish these two causes.
    request.onerror = () => reject(new UploadError(t("error.connection")));
    request.onload = () => resolve({
      status: request.status,
      text: request.responseText,
      id: request.getResponseHeader("x-oss-request-id"),
    });
    request.onloadend = () => signal?.removeEventListener("abort", abort);
    request.open(token.method, token.url);
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) return reject(cancelled());
    request.send(form);
  });
}

/**
 * Uploads a file. If the token has expired, requests a new one once. Calls `watch.onToken`,
 * `watch.onProgress` and `watch.onExpired` on the way.
 */
export async function upload(file, watch, { path, signal } = {}) {
  for (let attempt = 1; ; attempt += 1) {
    const { asked, token } = await askToken(file, attempt === 1 ? path : undefined, signal);
    watch.onToken?.({ asked, token, attempt });
    const answer = await post(token, formOf(token, file), { onProgress: watch.onProgress, signal });
    // Any other status is a failure, even 203: the file is stored, but its callback failed.
    if (answer.status === 200) return { ...answer, attempt };
    const error = readError(answer.text);
    if (isExpired(error) && attempt === 1) {
      watch.onExpired?.({ ...answer, error });
      continue;
    }
    throw new UploadError(describe(answer.status, error), {
      detail: { status: answer.status, ...error },
      id: answer.id,
    });
  }
}

const cancelled = () => new UploadError(t("cancelled"), { cancelled: true });

/** Reads code, message and EC from an error response of OSS, which is XML. */
export function readError(text) {
  const part = (name) => text.match(new RegExp(`<${name}>([^<]*)</${name}>`))?.[1] ?? "";
  const entities = { "&quot;": '"', "&apos;": "'", "&lt;": "<", "&gt;": ">", "&amp;": "&" };
  const plain = (xml) => xml.replace(/&(quot|apos|lt|gt|amp);/g, (entity) => entities[entity]);
  return { code: part("Code"), message: plain(part("Message")), ec: part("EC") };
}

const isExpired = (error) => error.code === "AccessDenied" && /expired/i.test(error.message);

function describe(status, error) {
  if (isExpired(error)) return t("error.expired");
  return t.maybe(`error.${error.code}`) ?? t("error.rejected", { status, code: error.code });
}
