// Repeats requests with growing delays, and holds them while the upload is paused.

import { Transient, UploadError } from "./errors.js";

/** How often one request may be repeated at once, with a new URL. */
const MAX_RENEWALS = 3;

/** Progress that is reported this soon after `offline`, in milliseconds, was made before it. */
const AFTERGLOW = 1000;

/** The longest time of `setTimeout`. */
const FOREVER = 2 ** 31 - 1;

/** Why a request ended that `pause()` aborted. */
export const PAUSED = Symbol("paused");

export const cancelled = () => new UploadError("Cancelled", "the upload was cancelled");

export class Attempts {
  paused = false;
  cancelled = false;
  /** Why nothing is on its way, and until when, or null. */
  waiting = null;
  #wakers = new Set();
  #inFlight = 0;
  #offlineAt = 0;

  /** `changed` is called when `waiting` changes. */
  constructor({ retries = 10, backoff = {} }, changed) {
    this.retries = retries;
    this.first = backoff.first ?? 500;
    this.longest = backoff.longest ?? 30_000;
    this.changed = changed;
  }

  /** Runs an attempt until it succeeds or fails for good. */
  async persist(attempt) {
    let failures = 0;
    let renewals = 0;
    for (;;) {
      await this.gate();
      try {
        const result = await attempt();
        this.moved();
        return result;
      } catch (error) {
        if (this.cancelled) throw cancelled();
        if (error === PAUSED) continue;
        if (!(error instanceof Transient)) throw error;
        if (error.again === "now") {
          renewals += 1;
          if (renewals > MAX_RENEWALS) throw error.failure;
          continue;
        }
        const offline = globalThis.navigator?.onLine === false;
        // Without a network, no attempt is used up.
        if (!offline) failures += 1;
        if (failures > this.retries) throw error.failure;
        await this.#backOff(Math.max(1, failures), error, offline);
      }
    }
  }

  /** Notes that a request is on its way. */
  async track(request) {
    this.#inFlight += 1;
    try {
      const result = await request;
      this.moved();
      return result;
    } finally {
      this.#inFlight -= 1;
    }
  }

  /** The browser lost its network. Requests that are on their way may still succeed. */
  offline() {
    this.#offlineAt = Date.now();
    this.waiting = { reason: "offline" };
    this.changed();
  }

  /** The browser has a network again. */
  online() {
    this.#offlineAt = 0;
    if (this.waiting && this.waiting.until === undefined) {
      this.waiting = null;
      this.changed();
    }
    this.wake();
  }

  /** Something moved: the wait is over. */
  moved() {
    if (!this.waiting || Date.now() - this.#offlineAt < AFTERGLOW) return;
    this.waiting = null;
    this.changed();
  }

  /** Ends all delays. */
  wake() {
    for (const waker of [...this.#wakers]) waker();
  }

  /** Waits while the upload is paused. */
  async gate() {
    while (this.paused && !this.cancelled) await this.#sleep(FOREVER);
    if (this.cancelled) throw cancelled();
  }

  async #backOff(failures, { reason, retryAfter }, offline) {
    const delay = Math.min(this.longest, this.first * 2 ** (failures - 1));
    // Half of the delay is random, so that many clients do not come back at once.
    const wait = Math.max(offline ? this.longest : delay * (0.5 + Math.random() / 2), retryAfter);
    // Before listeners hear of it: one may cancel or pause.
    const slept = this.#sleep(wait);
    // Without a network, requests that are on their way hang for a while.
    if (this.#inFlight === 0 || offline) {
      this.waiting = { reason: offline ? "offline" : reason, until: Date.now() + wait };
      this.changed();
    }
    await slept;
  }

  #sleep(time) {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#wakers.delete(done);
        resolve();
      };
      const timer = setTimeout(done, time);
      this.#wakers.add(done);
    });
  }
}
