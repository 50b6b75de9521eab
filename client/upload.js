// Uploads of any size to OSS, in parts that pause, resume and survive a reload. A service signs
// each request; the file goes from this page straight to OSS.

import { Attempts, PAUSED, cancelled } from "./attempts.js";
import { combined } from "./crc64.js";
import {
  Transient,
  UploadError,
  connectionError,
  ossDetail,
  ossError,
  unconfirmed,
} from "./errors.js";
import { ConnectionError, send } from "./http.js";
import { Progress } from "./progress.js";
import {
  Records,
  claim,
  defaultStorage,
  fingerprintOf,
  forgetUploads,
  isRecord,
  unfinishedUploads,
} from "./records.js";
import { Service, isStale } from "./service.js";
import { Source } from "./source.js";
import { PartUrls } from "./urls.js";
import { completion, element, listedParts } from "./xml.js";

export { UploadError, forgetUploads, unfinishedUploads };

/** How long connections may take to move again when the network is back, in milliseconds. */
const REVIVAL = 5000;

/** How often one upload may begin anew, because OSS no longer has it or its handle expired. */
const MAX_STARTS = 3;

/** The upload has to list its parts again, or a new handle has another key. */
class StartOver extends Error {}

export class Upload {
  #file;
  #options;
  #service;
  #attempts;
  #records;
  #fingerprint;
  #release;
  #session;
  /** The signed `InitiateMultipartUpload` that `create` returns. */
  #initiation = null;
  /** Whether the record is this upload's, or another tab has it. */
  #owned = false;
  #progress;
  #phase = "idle";
  #shown = "idle";
  #running = null;
  /** Ends every request of the upload. */
  #life = new AbortController();
  /** Ends the requests that carry the file; `pause()` replaces it. */
  #burst = new AbortController();
  #renewing = null;
  #urls;
  #pending = [];
  #stored = new Map();
  #source;

  constructor(file, options) {
    this.#file = file;
    const filename = options.filename ?? file.name ?? "";
    const concurrency = Math.trunc(Math.min(6, Math.max(1, options.concurrency ?? 4)));
    const { stallTimeout = 60_000, scope = "", storage = defaultStorage() } = options;
    this.#options = { ...options, filename, concurrency, stallTimeout, scope };
    this.#service = new Service({ ...options, stallTimeout });
    this.#attempts = new Attempts(options, () => this.#show());
    this.#records = new Records(storage, scope);
    this.#fingerprint = options.fingerprint ?? fingerprintOf(file, filename);
    // A copy, because the upload changes it. That of an application may be frozen or a proxy, which
    // `structuredClone` refuses.
    const { session } = options;
    this.#session = isRecord(session) ? JSON.parse(JSON.stringify(session)) : null;
    this.#progress = new Progress(file.size, options.onProgress);
    this.#source = new Source(file);
    this.#urls = new PartUrls(concurrency, async (parts) => {
      const { uploadId } = this.#session;
      const signed = await this.#askWith("parts", { parts });
      // Meanwhile, the upload may have begun anew.
      return uploadId === this.#session.uploadId ? signed.parts : [];
    });
    const { signal } = options;
    if (signal?.aborted) this.#attempts.cancelled = true;
    signal?.addEventListener(
      "abort",
      () => {
        this.cancel();
      },
      { once: true },
    );
  }

  get state() {
    return this.#shown;
  }

  get progress() {
    return this.#progress.snapshot();
  }

  /** What another page or device needs to continue this upload, or null before it has begun. */
  get session() {
    return this.#session?.uploadId ? structuredClone(this.#session) : null;
  }

  /** Uploads the file, or continues after a failure. Resolves with the outcome. */
  start() {
    this.#running ??= this.#run().catch((error) => {
      this.#running = null;
      throw error;
    });
    return this.#running;
  }

  /** Stops sending. Parts on their way are sent again later. */
  pause() {
    if (this.#attempts.paused || this.#attempts.cancelled || this.#phase === "completing") return;
    this.#attempts.paused = true;
    this.#burst.abort(PAUSED);
    this.#burst = new AbortController();
    this.#progress.pause();
    this.#show();
  }

  resume() {
    if (!this.#attempts.paused) return;
    this.#attempts.paused = false;
    this.#show();
    this.#attempts.wake();
  }

  /**
   * Ends the upload and deletes its parts at OSS. Resolves with whether OSS has no part of it. If
   * `false`, the lifecycle rule of the bucket deletes the parts, or OSS had already completed the
   * upload.
   */
  async cancel() {
    if (this.#attempts.cancelled || this.#shown === "done") return false;
    this.#attempts.cancelled = true;
    this.#life.abort(cancelled());
    this.#burst.abort(cancelled());
    this.#attempts.wake();
    this.#forget();
    this.#setPhase("cancelled");
    const session = this.#session;
    if (!session?.uploadId) return false;
    try {
      const { handle, uploadId } = session;
      const { signal } = new AbortController();
      const { request } = await this.#service.ask({ action: "abort", handle, uploadId }, signal);
      const answer = await send(request, null, {
        signal,
        stallTimeout: this.#options.stallTimeout,
      });
      // After a request to complete it, an upload that OSS does not have may be an object.
      return answer.status === 204 || (answer.status === 404 && !session.completing);
    } catch {
      return false;
    }
  }

  async #run() {
    let revival;
    const online = () => {
      this.#attempts.online();
      clearTimeout(revival);
      revival = this.#reviveLater();
    };
    const offline = () => this.#attempts.offline();
    globalThis.addEventListener?.("online", online);
    globalThis.addEventListener?.("offline", offline);
    try {
      if (this.#attempts.cancelled) throw cancelled();
      this.#setPhase("preparing");
      await this.#open();
      const outcome =
        this.#session.partCount <= 1 ? await this.#sendWhole() : await this.#sendInParts();
      this.#forget();
      this.#setPhase("done");
      this.#progress.flush();
      return outcome;
    } catch (error) {
      const failure = this.#attempts.cancelled ? cancelled() : error;
      // A later `start()` continues, or another page when the file is chosen again.
      const kept = failure.retriable || failure.code === "FileUnreadable";
      if (failure instanceof UploadError && !kept) {
        this.#forget();
        this.#session = null;
      }
      this.#setPhase(this.#attempts.cancelled ? "cancelled" : "failed");
      throw failure;
    } finally {
      clearTimeout(revival);
      globalThis.removeEventListener?.("online", online);
      globalThis.removeEventListener?.("offline", offline);
      this.#release?.();
      this.#release = null;
    }
  }

  /** Connections of an earlier network are dead, but not every browser closes them. */
  #reviveLater() {
    const { sent } = this.#progress;
    const revive = () => {
      if (this.#progress.sent !== sent || this.#phase !== "uploading") return;
      this.#burst.abort(PAUSED);
      this.#burst = new AbortController();
    };
    return setTimeout(revive, Math.min(REVIVAL, this.#options.stallTimeout));
  }

  // The session: a handle of the service, and an upload id of OSS.

  async #open() {
    const { endpoint, scope } = this.#options;
    this.#release ??= await claim(`${scope}:${this.#fingerprint}`);
    // If another tab has this upload, this one is separate and leaves no record.
    this.#owned = this.#release !== null;
    this.#session ??= this.#owned ? this.#records.load(this.#fingerprint) : null;
    const session = this.#session;
    if (session?.endpoint !== String(endpoint) || session.size !== this.#file.size) {
      this.#session = await this.#create();
    }
  }

  async #create() {
    const { filename, endpoint } = this.#options;
    const { size, type } = this.#file;
    const created = await this.#ask({ action: "create", filename, size, type: type ?? "" });
    if (created.size !== undefined && created.size !== size) {
      throw new UploadError(
        "Refused",
        `the service granted ${created.size} bytes instead of ${size}`,
      );
    }
    const { handle, key, partSize, partCount, expires } = created;
    this.#initiation = created.request;
    return {
      version: 1,
      endpoint: String(endpoint),
      handle,
      key,
      size,
      partSize,
      partCount,
      expires,
      name: filename,
      type: type ?? "",
      lastModified: this.#file.lastModified ?? 0,
      startedAt: Date.now(),
      uploadId: "",
      etags: {},
      completing: false,
    };
  }

  #save() {
    if (!this.#owned || !this.#session.uploadId || this.#attempts.cancelled) return;
    this.#records.save(this.#fingerprint, this.#session);
  }

  #forget() {
    if (this.#owned) this.#records.remove(this.#fingerprint);
  }

  /**
   * Authorises again, because the handle has expired. The upload goes on if the new handle is for
   * the same object in the same parts.
   */
  #renew(expired) {
    if (this.#session.handle !== expired) return Promise.resolve();
    this.#renewing ??= this.#create()
      .then((fresh) => {
        const session = this.#session;
        this.#urls.clear();
        if (fresh.key === session.key && fresh.partSize === session.partSize) {
          Object.assign(session, { handle: fresh.handle, expires: fresh.expires });
          this.#save();
        } else {
          this.#session = fresh;
          // Without an upload id, OSS has nothing of the earlier session.
          if (session.uploadId) throw new StartOver("the new handle is for another object");
        }
      })
      .finally(() => {
        this.#renewing = null;
      });
    return this.#renewing;
  }

  // Requests to the service.

  #ask(body) {
    return this.#attempts.persist(() => this.#service.ask(body, this.#life.signal));
  }

  /** Asks about this upload. If its handle has expired, authorises again, once. */
  async #askWith(action, more = {}) {
    for (let renewals = 0; ; renewals += 1) {
      const { handle, uploadId } = this.#session;
      const body = action === "put" ? { action, handle } : { action, handle, uploadId, ...more };
      try {
        return await this.#ask(body);
      } catch (error) {
        // 410: the handle has expired. 400: the service has other keys than when it issued it.
        const { from, status } = error.detail ?? {};
        const expired = from === "service" && (status === 410 || status === 400);
        if (!expired || renewals > 0) throw error;
        await this.#renew(handle);
      }
    }
  }

  async #signedRequest(action, more) {
    return (await this.#askWith(action, more)).request;
  }

  // Requests to OSS.

  /** Sends a request without a body, and a new one if OSS does not accept its URL. */
  #call(sign) {
    return this.#attempts.persist(async () => {
      const answer = await this.#send(await sign(), null, this.#life.signal);
      if (answer.status === 200) return answer;
      throw ossError(answer);
    });
  }

  async #send(request, body, signal, onProgress) {
    const { stallTimeout } = this.#options;
    try {
      return await this.#attempts.track(send(request, body, { signal, onProgress, stallTimeout }));
    } catch (error) {
      throw error instanceof ConnectionError ? connectionError("network", error) : error;
    }
  }

  // Small files: one signed PUT.

  async #sendWhole() {
    this.#progress.restart(1);
    this.#setPhase("uploading");
    let lost = false;
    const { answer, crc } = await this.#attempts.persist(async () => {
      const request = await this.#signedRequest("put");
      const signal = this.#burst.signal;
      try {
        const { answer, crc } = await this.#sendFile(1, request, signal);
        // OSS may have stored the object for an earlier request whose response did not arrive. If
        // overwriting is allowed, it stores it again, and the application rejects the callback,
        // because it accepts one per grant.
        if (lost && (answer.status === 409 || answer.status === 203)) return { answer, crc };
        if (answer.status !== 200) throw ossError(answer);
        return { answer, crc };
      } catch (error) {
        lost ||= error === PAUSED || (error instanceof Transient && error.again === "later");
        this.#progress.lost(1);
        throw error;
      }
    });
    if (answer.status === 409) return this.#lookUp(unconfirmed(ossDetail(answer)));
    if (answer.status === 203) return this.#lookUp(ossError(answer));
    this.#progress.store(1, this.#file.size);
    return this.#outcome(answer, crc);
  }

  // Large files: parts.

  async #sendInParts() {
    for (let starts = 1; ; starts += 1) {
      try {
        if (this.#session.uploadId) await this.#list();
        else await this.#initiate();
        this.#setPhase("uploading");
        await this.#sendParts();
        return await this.#complete();
      } catch (error) {
        const gone = error.code === "NoSuchUpload";
        if (gone && this.#session.completing) {
          return await this.#lookUp(unconfirmed(error.detail));
        }
        if (!gone && !(error instanceof StartOver)) throw error;
        if (starts >= MAX_STARTS) throw gone ? error : new UploadError("Expired", error.message);
        // OSS dropped the upload, or somebody aborted it: its parts are gone.
        if (gone) this.#session = await this.#create();
      }
    }
  }

  async #initiate() {
    this.#reset();
    const answer = await this.#call(async () => {
      // Only `create` signs it, so a second one is for another object.
      if (!this.#initiation || isStale(this.#initiation)) {
        this.#session = await this.#create();
        this.#reset();
      }
      const request = this.#initiation;
      this.#initiation = null;
      return request;
    });
    const uploadId = element(answer.text, "UploadId");
    if (!uploadId) throw new UploadError("Rejected", "OSS returned no upload id");
    this.#session.uploadId = uploadId;
    this.#save();
  }

  #reset() {
    this.#stored.clear();
    this.#urls.clear();
    this.#pending = Array.from({ length: this.#session.partCount }, (_, at) => at + 1);
    this.#progress.restart(this.#session.partCount);
  }

  /** Asks OSS which parts it has. They are not sent again if they are parts of this file. */
  async #list() {
    const parts = await this.#listed();
    this.#reset();
    const { etags } = this.#session;
    for (const [number, part] of parts) {
      const known = part.crc !== null || etags[number] === part.etag;
      if (
        number > this.#session.partCount ||
        part.size !== this.#source.sizeOf(this.#session, number) ||
        !known
      )
        continue;
      this.#stored.set(number, { ...part, checked: false });
      this.#progress.store(number, part.size);
    }
    this.#pending = this.#pending.filter((number) => !this.#stored.has(number));
  }

  async #listed() {
    const parts = new Map();
    for (let marker; ;) {
      const more = marker === undefined ? {} : { marker };
      const { text } = await this.#call(() => this.#signedRequest("list", more));
      const page = listedParts(text);
      for (const [number, part] of page.parts) parts.set(number, part);
      // A marker that does not grow would never end.
      if (page.next === null || page.next <= (marker ?? 0)) return parts;
      marker = page.next;
    }
  }

  async #sendParts() {
    // Parts may fail the comparison after the others are sent.
    do {
      let failure = null;
      const guarded = (task) =>
        task.catch((error) => {
          failure ??= error;
          this.#burst.abort(PAUSED);
          this.#attempts.wake();
        });
      const stopped = () => failure !== null;
      const tasks = Array.from({ length: this.#options.concurrency }, () =>
        this.#sendNext(stopped),
      );
      await Promise.all([...tasks, this.#compare(stopped)].map(guarded));
      if (failure) {
        this.#burst = new AbortController();
        throw failure;
      }
    } while (this.#pending.length > 0);
  }

  async #sendNext(stopped) {
    while (!stopped()) {
      const number = this.#pending.shift();
      if (number === undefined) return;
      try {
        await this.#attempts.persist(() => (stopped() ? undefined : this.#sendPart(number)));
      } finally {
        if (!this.#stored.has(number)) this.#pending.unshift(number);
      }
    }
  }

  async #sendPart(number) {
    const { signal } = this.#burst;
    const request = await this.#urls.of(number, this.#pending);
    if (signal.aborted) throw PAUSED;
    const size = this.#source.sizeOf(this.#session, number);
    try {
      const { answer, crc } = await this.#sendFile(number, request, signal);
      if (answer.status === 403) this.#urls.rejected(request);
      if (answer.status !== 200) throw ossError(answer);
      const arrived = answer.header("x-oss-hash-crc64ecma");
      if (arrived !== null && arrived !== String(crc)) {
        const failure = new UploadError("ChecksumMismatch", `part ${number} arrived damaged`, {
          retriable: true,
          detail: ossDetail(answer),
        });
        throw new Transient("later", failure, { reason: "oss" });
      }
      const etag = answer.header("etag");
      this.#urls.used(number);
      this.#stored.set(number, { etag, size, crc, checked: true });
      if (etag) this.#session.etags[number] = etag;
      this.#progress.store(number, size);
      // A long record takes a while to write, and OSS lists what is missing from it.
      if (this.#session.partCount <= 1000 || number % 16 === 0) this.#save();
    } catch (error) {
      this.#progress.lost(number);
      throw error;
    }
  }

  /** Sends a part of the file, and computes its checksum meanwhile. */
  async #sendFile(number, request, signal) {
    const checksum = this.#source.crcOf(this.#session, number, signal);
    const moved = (loaded) => {
      if (loaded > 0) this.#attempts.moved();
      this.#progress.moved(number, loaded, this.#source.sizeOf(this.#session, number));
    };
    const sent = this.#send(request, this.#source.slice(this.#session, number), signal, moved);
    // A file that cannot be read looks like a failed connection, so its error comes first.
    const [crc, answer] = await Promise.allSettled([checksum, sent]);
    if (crc.status === "rejected") throw crc.reason;
    if (answer.status === "rejected") throw answer.reason;
    return { answer: answer.value, crc: crc.value };
  }

  /** Compares the parts that OSS has already with the file. */
  async #compare(stopped) {
    for (const [number, part] of [...this.#stored]) {
      if (part.checked) continue;
      await this.#attempts.gate();
      if (stopped()) return;
      const crc = await this.#source.crcOf(this.#session, number, this.#life.signal);
      if (part.crc === null || part.crc === crc) {
        this.#stored.set(number, { ...part, crc, checked: true });
      } else {
        // Another file with this name, size and time of change.
        this.#stored.delete(number);
        delete this.#session.etags[number];
        this.#progress.unstore(part.size);
        this.#pending.push(number);
      }
    }
  }

  async #complete() {
    this.#setPhase("completing");
    const numbers = Array.from({ length: this.#session.partCount }, (_, at) => at + 1);
    await this.#fillInEtags(numbers);
    const body = completion(numbers.map((number) => this.#stored.get(number).etag));
    const session = this.#session;
    const answer = await this.#attempts.persist(async () => {
      const request = await this.#signedRequest("complete");
      const before = session.completing;
      // From here on, OSS may complete the upload although the response is lost.
      session.completing = true;
      this.#save();
      const answer = await this.#send(request, body, this.#life.signal);
      if (answer.status === 200) return answer;
      const failure = ossError(answer);
      if (answer.status < 500) session.completing = before;
      if (failure.detail?.code === "InvalidPart") {
        session.etags = {};
        throw new StartOver("OSS has other parts than this page sent");
      }
      if (before && failure.code === "AlreadyExists") {
        throw new UploadError("NoSuchUpload", failure.message, { detail: failure.detail });
      }
      throw failure;
    });
    const pieces = numbers.map((number) => this.#stored.get(number));
    return this.#outcome(answer, combined(pieces));
  }

  /** OSS lists the ETags that CORS rules hide. */
  async #fillInEtags(numbers) {
    if (numbers.every((number) => this.#stored.get(number).etag)) return;
    const listed = await this.#listed();
    for (const number of numbers) {
      const part = this.#stored.get(number);
      const at = listed.get(number);
      if (!at || at.size !== part.size || (at.crc !== null && at.crc !== part.crc)) {
        throw new StartOver(`OSS does not list part ${number} as it was sent`);
      }
      part.etag = at.etag;
    }
  }

  /** Reads the final response: that of the callback, or that of OSS. */
  #outcome(answer, crc) {
    const { key, handle } = this.#session;
    const stored = answer.header("x-oss-hash-crc64ecma");
    if (stored !== null && stored !== String(crc)) {
      throw new UploadError("ChecksumMismatch", "the stored object differs from the file", {
        stored: true,
        detail: ossDetail(answer),
      });
    }
    let reply = answer.text;
    try {
      reply = JSON.parse(answer.text);
    } catch {
      // XML or nothing: there was no callback.
    }
    return {
      key,
      handle,
      reply,
      size: this.#file.size,
      crc64: String(crc),
      crc64Verified: stored !== null,
      etag: answer.header("etag"),
      requestId: answer.header("x-oss-request-id"),
      recovered: false,
    };
  }

  /** A response was lost. Only the application knows whether it was called back. */
  async #lookUp(failure) {
    const { key, handle } = this.#session;
    const reply = await this.#options.lookup?.({ key, handle });
    if (reply === undefined || reply === null) throw failure;
    return {
      key,
      handle,
      reply,
      size: this.#file.size,
      crc64: null,
      crc64Verified: false,
      etag: null,
      requestId: null,
      recovered: true,
    };
  }

  // What listeners hear.

  #setPhase(phase) {
    this.#phase = phase;
    this.#attempts.waiting = null;
    this.#show();
  }

  #show() {
    const ended = ["done", "failed", "cancelled"].includes(this.#phase);
    const held = this.#attempts.paused && !ended && this.#phase !== "completing";
    const waiting = ended || held ? null : this.#attempts.waiting;
    const state = held ? "paused" : waiting ? "waiting" : this.#phase;
    if (state === this.#shown && !waiting) return;
    this.#shown = state;
    this.#options.onState?.(state, waiting ?? {});
  }
}
