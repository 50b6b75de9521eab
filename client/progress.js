// How far an upload is, and how fast.

/** Speed is averaged over about this time, in milliseconds. */
const WINDOW = 5000;

/** Listeners hear of progress at most this often, in milliseconds. */
const INTERVAL = 100;

export class Progress {
  #marks = [];
  #timer;
  #last = 0;
  #inFlight = new Map();

  constructor(total, listener) {
    this.total = total;
    this.listener = listener;
    this.stored = 0;
    this.partsStored = 0;
    this.partCount = 0;
    // Bytes that this page sent: what an earlier page stored says nothing about the speed.
    this.sent = 0;
  }

  get loaded() {
    let bytes = this.stored;
    for (const loaded of this.#inFlight.values()) bytes += loaded;
    return Math.min(bytes, this.total);
  }

  /** A request has sent this much of its part. */
  moved(part, loaded, size) {
    // The last bytes count when OSS has confirmed them.
    const counted = Math.min(loaded, size);
    this.sent += Math.max(0, counted - (this.#inFlight.get(part) ?? 0));
    this.#inFlight.set(part, counted);
    this.#changed();
  }

  /** A request failed. What it sent does not count. */
  lost(part) {
    if (this.#inFlight.delete(part)) this.#changed();
  }

  store(part, size) {
    this.#inFlight.delete(part);
    this.stored += size;
    this.partsStored += 1;
    this.#changed();
  }

  unstore(size) {
    this.stored -= size;
    this.partsStored -= 1;
    this.#changed();
  }

  restart(partCount) {
    this.#inFlight.clear();
    Object.assign(this, { stored: 0, partsStored: 0, partCount });
    this.#changed();
  }

  /** Forgets the speed, after a pause. */
  pause() {
    this.#inFlight.clear();
    this.#marks = [];
    this.#changed();
  }

  snapshot() {
    const now = Date.now();
    this.#marks.push([now, this.sent]);
    while (this.#marks.length > 2 && now - this.#marks[1][0] > WINDOW) this.#marks.shift();
    const [time, sent] = this.#marks[0];
    const speed = now > time ? ((this.sent - sent) / (now - time)) * 1000 : 0;
    const { loaded, total, partsStored, partCount } = this;
    const secondsLeft = speed > 0 ? (total - loaded) / speed : null;
    return { loaded, total, speed, secondsLeft, partsStored, partCount };
  }

  /** Tells the listener now. */
  flush() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#last = Date.now();
    this.listener?.(this.snapshot());
  }

  #changed() {
    if (this.#timer !== undefined) return;
    const wait = this.#last + INTERVAL - Date.now();
    if (wait <= 0) this.flush();
    else this.#timer = setTimeout(() => this.flush(), wait);
  }
}
