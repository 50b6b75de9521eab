// One upload: a token from the server, then a form to OSS.

import { isExpired, readError, refusedToken, refusedUpload } from "./words.js";

/** A failure in words; `retry` says whether another attempt makes sense. */
export class UploadError extends Error {
  constructor(message, { retry = true, detail = null, id = null, cancelled = false } = {}) {
    super(message);
    Object.assign(this, { retry, detail, id, cancelled });
  }
}

/** Asks for a token, for this file and no other. */
export async function askToken(file, path = "/oss/policy", signal = undefined) {
  const asked = `${path}?${new URLSearchParams({ filename: file.name, size: file.size, type: file.type })}`;
  let response;
  try {
    response = await fetch(asked, { signal });
  } catch {
    if (signal?.aborted) throw cancelled();
    throw new UploadError("The server cannot be reached.");
  }
  const token = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new UploadError(refusedToken(response.status, token), { retry: response.status >= 500 });
  }
  return { asked, token };
}

/** The form of a token, the file last. */
export function formOf(token, file) {
  const form = new FormData();
  for (const [name, value] of Object.entries(token.fields)) form.append(name, value);
  form.append("file", file);
  return form;
}

/** Posts a form, and resolves with whatever OSS answers. */
export function post(token, form, { onProgress = () => {}, signal } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.upload.onprogress = (event) => onProgress(event.loaded, event.total);
    request.onabort = () => reject(cancelled());
    request.onerror = () => reject(new UploadError("The connection to OSS broke off, or its CORS rules do not allow this page."));
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
 * The whole upload. `watch.onToken` and `watch.onProgress` are told how it goes; a token that has expired is replaced
 * by a new one, once.
 */
export async function upload(file, watch, { path, signal } = {}) {
  for (let attempt = 1; ; attempt += 1) {
    const { asked, token } = await askToken(file, attempt === 1 ? path : undefined, signal);
    watch.onToken?.({ asked, token, attempt });
    const answer = await post(token, formOf(token, file), { onProgress: watch.onProgress, signal });
    if (answer.status === 200) return { ...answer, attempt };
    const error = readError(answer.text);
    if (isExpired(error) && attempt === 1) {
      watch.onExpired?.({ ...answer, error });
      continue;
    }
    throw new UploadError(refusedUpload(answer.status, error), { detail: { status: answer.status, ...error }, id: answer.id });
  }
}

const cancelled = () => new UploadError("Cancelled.", { cancelled: true });
