// One request, with the progress of its body if the platform reports it.

/** The connection failed, or no byte moved for too long. */
export class ConnectionError extends Error {}

/**
 * Sends a signed request and resolves with any response: `{ status, text, header(name) }`. Rejects
 * with a `ConnectionError`, or with the reason of the signal.
 */
export function send(request, body, options) {
  // `fetch` reports no progress of an upload. Without XMLHttpRequest, as in Node, it has to do.
  return globalThis.XMLHttpRequest
    ? sendByXhr(request, body, options)
    : sendByFetch(request, body, options);
}

function sendByXhr({ method, url, headers }, body, { signal, onProgress, stallTimeout }) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const xhr = new XMLHttpRequest();
    let watch;
    const abort = () => xhr.abort();
    const alive = () => {
      clearTimeout(watch);
      watch = setTimeout(() => {
        reject(new ConnectionError(`no byte moved for ${stallTimeout / 1000} s`));
        xhr.abort();
      }, stallTimeout);
    };
    xhr.upload.onprogress = (event) => {
      alive();
      onProgress?.(event.loaded);
    };
    xhr.onprogress = alive;
    xhr.onabort = () => reject(signal.reason ?? new ConnectionError("the request was aborted"));
    // A page cannot distinguish a broken connection from a response that CORS hides.
    xhr.onerror = () =>
      reject(
        new ConnectionError(
          "the connection failed, or the CORS rules of the bucket do not allow this page",
        ),
      );
    xhr.onload = () => {
      const all = parsed(xhr.getAllResponseHeaders());
      resolve({
        status: xhr.status,
        text: xhr.responseText,
        header: (name) => all.get(name) ?? null,
      });
    };
    xhr.onloadend = () => {
      clearTimeout(watch);
      signal.removeEventListener("abort", abort);
    };
    xhr.open(method, url);
    for (const [name, value] of Object.entries(headers ?? {})) xhr.setRequestHeader(name, value);
    signal.addEventListener("abort", abort, { once: true });
    alive();
    xhr.send(body);
  });
}

/** Reading a header that CORS hides would log an error, so read the list. */
function parsed(text) {
  const lines = text
    .split("\r\n")
    .filter(Boolean)
    .map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    });
  return new Map(lines);
}

/** The same with `fetch`. Only requests without a body have a time limit. */
export async function sendByFetch({ method, url, headers }, body, options) {
  const { signal, onProgress, stallTimeout, credentials = "omit", limited = !body } = options;
  const timeout = new AbortController();
  const abort = () => timeout.abort(signal.reason);
  signal.throwIfAborted();
  signal.addEventListener("abort", abort, { once: true });
  const late = () =>
    timeout.abort(new ConnectionError(`no response within ${stallTimeout / 1000} s`));
  const watch = limited ? setTimeout(late, stallTimeout) : undefined;
  try {
    const response = await fetch(url, {
      method,
      headers,
      body,
      credentials,
      signal: timeout.signal,
    });
    const text = await response.text();
    if (body?.size) onProgress?.(body.size);
    return { status: response.status, text, header: (name) => response.headers.get(name) };
  } catch (error) {
    if (timeout.signal.aborted) throw timeout.signal.reason;
    throw new ConnectionError("the connection failed", { cause: error });
  } finally {
    clearTimeout(watch);
    signal.removeEventListener("abort", abort);
  }
}
