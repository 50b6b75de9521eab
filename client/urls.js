// The signed URLs of parts. One request to the service signs many.

import { UploadError } from "./errors.js";
import { isStale } from "./service.js";

/** The service signs at most this many parts at once. */
const MAX_PARTS_PER_ASK = 100;

/** How often one part may be asked for, if the answers lack it. */
const MAX_ASKS = 5;

export class PartUrls {
  #signed = new Map();
  #wanted = new Set();
  #asking = null;
  #least;
  #batch;
  #sign;

  /** `sign` takes part numbers and resolves with their signed requests. */
  constructor(concurrency, sign) {
    this.#least = concurrency;
    this.#batch = concurrency * 2;
    this.#sign = sign;
  }

  /** Returns the signed request of a part. Signs those in `pending`, which come next, with it. */
  async of(number, pending) {
    this.#wanted.add(number);
    try {
      for (let asks = 0; asks < MAX_ASKS; asks += 1) {
        const signed = this.#signed.get(number);
        if (signed && !isStale(signed)) return signed;
        this.#asking ??= this.#ask(pending).finally(() => {
          this.#asking = null;
        });
        await this.#asking;
      }
    } finally {
      this.#wanted.delete(number);
    }
    throw new UploadError("Refused", `the service did not sign part ${number}`);
  }

  async #ask(pending) {
    // Others that begin at the same time want a part, too.
    await null;
    for (const [number, signed] of this.#signed) if (isStale(signed)) this.#signed.delete(number);
    const missing = [...this.#wanted, ...pending].filter((number) => !this.#signed.has(number));
    const numbers = missing.slice(0, this.#batch).sort((a, b) => a - b);
    const parts = await this.#sign(numbers);
    for (const { partNumber, request } of parts) this.#signed.set(partNumber, request);
    this.#batch = Math.min(MAX_PARTS_PER_ASK, this.#batch * 2);
  }

  /** The part is stored, and its URL no longer needed. */
  used(number) {
    this.#signed.delete(number);
  }

  /** OSS rejected a URL. Those that were signed before it have expired, too. */
  rejected({ receivedAt }) {
    for (const [other, signed] of this.#signed) {
      if (signed.receivedAt <= receivedAt) this.#signed.delete(other);
    }
    // Fewer URLs at once expire less often.
    this.#batch = this.#least;
  }

  clear() {
    this.#signed.clear();
  }
}
