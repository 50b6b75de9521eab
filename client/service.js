// Requests to the service that signs URLs.

import { connectionError, serviceError } from "./errors.js";
import { ConnectionError, sendByFetch } from "./http.js";

/** The lifetime of a URL if the clocks disagree so far that a new URL seems to have expired. */
const UNKNOWN_LIFETIME = 60_000;

export class Service {
  constructor({ endpoint, credentials = "same-origin", headers, stallTimeout }) {
    Object.assign(this, { endpoint: String(endpoint), credentials, headers, stallTimeout });
  }

  /** Asks once. Resolves with the parsed response, in which every signed request has a lifetime. */
  async ask(body, signal) {
    const { endpoint: url, credentials, headers, stallTimeout } = this;
    const more = typeof headers === "function" ? await headers() : headers;
    const request = {
      method: "POST",
      url,
      headers: { "content-type": "application/json", ...more },
    };
    const options = { signal, stallTimeout, credentials, limited: true };
    const answer = await sendByFetch(request, JSON.stringify(body), options).catch((error) => {
      throw error instanceof ConnectionError ? connectionError("service", error) : error;
    });
    const json = parsed(answer.text);
    if (answer.status !== 200 || json === null) throw serviceError(answer, json);
    // The clock of the service, if this page may read it. `Date` has no fraction of a second.
    const date = Date.parse(answer.header("date") ?? "");
    const now = Number.isNaN(date) ? Date.now() : date + 1000;
    if (json.request) json.request = received(json.request, now);
    json.parts?.forEach((part) => {
      part.request = received(part.request, now);
    });
    return json;
  }
}

function parsed(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

/** Notes when a request was signed, and for how long. */
function received(request, now) {
  const lifetime = request.expires * 1000 - now;
  return {
    ...request,
    receivedAt: Date.now(),
    lifetime: lifetime > 0 ? lifetime : UNKNOWN_LIFETIME,
  };
}

/** Whether too little of the lifetime is left to begin the request. */
export function isStale({ receivedAt, lifetime }) {
  const margin = Math.min(30_000, lifetime / 10);
  return Date.now() - receivedAt > lifetime - margin;
}
