// Why an upload fails.

import { element } from "./xml.js";

/**
 * A failed upload. `code` says why, and is one of the names in `upload.d.ts`. `retriable` is true
 * if calling `start()` again can succeed. `stored` is true if OSS has the object although the upload
 * failed. `detail` is what the service or OSS answered.
 */
export class UploadError extends Error {
  constructor(code, message, { retriable = false, stored = false, detail = null, cause } = {}) {
    super(message, { cause });
    this.name = "UploadError";
    Object.assign(this, { code, retriable, stored, detail });
  }
}

/** A failure that the upload handles itself: `again` is when to repeat the request. */
export class Transient extends Error {
  constructor(again, failure, { reason, retryAfter = 0 } = {}) {
    super(failure.message, { cause: failure });
    Object.assign(this, { again, failure, reason, retryAfter });
  }
}

/** Returns what OSS answered, for `detail`. */
export function ossDetail({ status, text, header }) {
  return {
    from: "oss",
    status,
    code: element(text, "Code"),
    message: element(text, "Message"),
    ec: element(text, "EC") || header("x-oss-ec") || "",
    requestId: header("x-oss-request-id") ?? "",
  };
}

/** Turns an error response of OSS into an error to throw. */
export function ossError(answer) {
  const detail = ossDetail(answer);
  const { status, code } = detail;
  const named = code ? `${status} ${code}` : `${status}`;
  if (status === 203) {
    const message = "OSS stored the object, but its callback failed";
    return new UploadError("CallbackFailed", message, { stored: true, detail });
  }
  if (status === 404 && code === "NoSuchUpload") {
    return new UploadError("NoSuchUpload", "the upload no longer exists at OSS", { detail });
  }
  if (status === 409 && code === "FileAlreadyExists") {
    return new UploadError("AlreadyExists", "an object with this name exists", { detail });
  }
  if (status === 403) {
    const expired = /expired/i.test(`${code} ${detail.message}`) || code === "RequestTimeTooSkewed";
    const failure = expired
      ? new UploadError("Expired", `OSS rejects new URLs as expired (${named})`, {
          detail,
          retriable: true,
        })
      : new UploadError("Rejected", `OSS rejected the request (${named})`, { detail });
    // A new URL also has new credentials, so it is worth one more request.
    return new Transient("now", failure);
  }
  const busy = status >= 500 || status === 429 || status === 408 || code === "RequestTimeout";
  if (busy) {
    const message = `OSS is not available (${named})`;
    const failure = new UploadError("Unavailable", message, { detail, retriable: true });
    return new Transient("later", failure, { reason: "oss", retryAfter: retryAfter(answer) });
  }
  return new UploadError("Rejected", `OSS rejected the request (${named})`, { detail });
}

/** Turns an error response of the service into an error to throw. */
export function serviceError(answer, body) {
  const { status } = answer;
  const detail = {
    from: "service",
    status,
    code: body?.code ?? "",
    message: body?.message ?? "",
    ec: "",
    requestId: "",
  };
  const message = detail.message || `the service answered ${status}`;
  if (status === 410) return new UploadError("Expired", message, { detail });
  if (status >= 500 || status === 429 || status === 408) {
    const failure = new UploadError("Unavailable", message, { detail, retriable: true });
    return new Transient("later", failure, { reason: "service", retryAfter: retryAfter(answer) });
  }
  // A 2xx that is no JSON is usually the page of a proxy or of a login. After 401, users sign in.
  return new UploadError("Refused", message, { detail, retriable: status === 401 });
}

/** A response that was lost, although OSS may have done what the request asked for. */
export const unconfirmed = (detail) =>
  new UploadError(
    "Unconfirmed",
    "a response of OSS was lost; ask the server whether it was called back",
    { detail },
  );

/** A connection that failed, or that moved no byte for too long. */
export function connectionError(reason, cause) {
  const failure = new UploadError("Network", cause.message, { retriable: true, cause });
  return new Transient("later", failure, { reason });
}

/** Reads `Retry-After` in seconds, at most an hour, and returns milliseconds. */
function retryAfter({ header }) {
  const seconds = Number(header("retry-after") ?? 0);
  return seconds > 0 ? Math.min(seconds, 3600) * 1000 : 0;
}
