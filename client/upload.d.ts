/** Why an upload failed. */
export type UploadErrorCode =
  /** `cancel()` was called, or the signal was aborted. */
  | "Cancelled"
  /** The service refused; `detail.code` is its code. With status 401, sign in and start again. */
  | "Refused"
  /** The service or OSS stays overloaded or broken. */
  | "Unavailable"
  /** The connection failed more often than `retries`. */
  | "Network"
  /** New handles or new URLs are rejected as expired. The clock of a server is wrong. */
  | "Expired"
  /** OSS rejected a request; `detail.code` is its code. */
  | "Rejected"
  /** OSS dropped the upload again and again. */
  | "NoSuchUpload"
  /** What OSS received or stored differs from the file. */
  | "ChecksumMismatch"
  /** The file was changed, moved or deleted. Have the user choose it again. */
  | "FileUnreadable"
  /** OSS stored the object, but the application rejected or missed its callback (203). */
  | "CallbackFailed"
  /** An object with this key exists, and the grant does not allow overwriting it. */
  | "AlreadyExists"
  /** The response to the last request was lost. Ask the application whether it was called back. */
  | "Unconfirmed";

/** The answer that an error is about. */
export interface ErrorDetail {
  from: "service" | "oss";
  status: number;
  code: string;
  message: string;
  /** The error code of OSS, such as `0042-00000104`. */
  ec: string;
  requestId: string;
}

export class UploadError extends Error {
  readonly code: UploadErrorCode;
  /** Whether `start()` can succeed if it is called again. What OSS stored is not sent again. */
  readonly retriable: boolean;
  /** Whether OSS has the object although the upload failed. */
  readonly stored: boolean;
  readonly detail: ErrorDetail | null;
  private constructor();
}

export interface UploadProgress {
  /** Bytes that are stored or on their way. Decreases when a connection breaks. */
  loaded: number;
  /** The size of the file. */
  total: number;
  /** Bytes per second over the last seconds, for all parts together. */
  speed: number;
  /** `null` while the speed is unknown. */
  secondsLeft: number | null;
  partsStored: number;
  partCount: number;
}

export type UploadState =
  | "idle"
  | "preparing"
  | "uploading"
  /** Nothing moves. The next attempt is at `info.until`, or when the network is back. */
  | "waiting"
  | "paused"
  | "completing"
  | "done"
  | "failed"
  | "cancelled";

export interface StateInfo {
  /** Why the upload waits: the browser has no network, or a connection or a server failed. */
  reason?: "offline" | "network" | "service" | "oss";
  /**
   * When the next attempt is, in milliseconds as `Date.now()`. Not set if requests are still on
   * their way.
   */
  until?: number;
}

/** What continues an upload on another device. A secret: its holder can upload the file. */
export interface UploadSession {
  readonly version: 1;
  readonly endpoint: string;
  readonly handle: string;
  readonly key: string;
  readonly uploadId: string;
  readonly size: number;
  readonly partSize: number;
  readonly partCount: number;
  /** Unix seconds. */
  readonly expires: number;
  readonly name: string;
  readonly type: string;
  readonly lastModified: number;
  readonly startedAt: number;
  readonly etags: Readonly<Record<string, string>>;
  readonly completing: boolean;
}

/** What `localStorage` provides. */
export type UploadStorage = Pick<Storage, "length" | "key" | "getItem" | "setItem" | "removeItem">;

export interface UploadOptions {
  /** The URL of the presign service. */
  endpoint: string | URL;
  /** The name that the service is asked for. Defaults to `file.name`. */
  filename?: string;
  /** Parts at once, 1 to 6. Defaults to 4. */
  concurrency?: number;
  /** Consecutive failures of one request before the upload fails. Defaults to 10. */
  retries?: number;
  /** Delays between attempts in milliseconds. Defaults to 500 for the first, and at most 30,000. */
  backoff?: { first?: number; longest?: number };
  /** A connection that moves no byte for this many milliseconds is given up. Defaults to 60,000. */
  stallTimeout?: number;
  /** Headers for the service, or a function that returns them. OSS does not get them. */
  headers?:
    Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);
  /** Whether the service gets cookies. Defaults to `same-origin`. */
  credentials?: RequestCredentials;
  /** Separates the records of several users of one browser, such as the id of the user. */
  scope?: string;
  /** Where records are kept. Defaults to `localStorage`; `null` keeps none. */
  storage?: UploadStorage | null;
  /** Identifies the file. Defaults to its name, size, type and time of change. */
  fingerprint?: string;
  /** Continues an upload of another device. Ignored if it is of another service, size or version. */
  session?: UploadSession;
  /** Cancels the upload. */
  signal?: AbortSignal;
  /** Called at most ten times a second. */
  onProgress?: (progress: UploadProgress) => void;
  onState?: (state: UploadState, info: StateInfo) => void;
  /**
   * Asks the application whether it was called back for this object, if a response of OSS was
   * lost. Returns what the callback answered, or `null`.
   */
  lookup?: (upload: { key: string; handle: string }) => unknown;
}

export interface UploadOutcome {
  key: string;
  handle: string;
  size: number;
  /** What the callback answered: parsed JSON, or text. If `recovered`, what `lookup` returned. */
  reply: unknown;
  /** CRC-64 of the file, decimal. `null` if `recovered`. */
  crc64: string | null;
  /** Whether OSS returned the same checksum. `false` if the CORS rules hide it. */
  crc64Verified: boolean;
  etag: string | null;
  requestId: string | null;
  /** Whether the response was lost and `lookup` found the upload. */
  recovered: boolean;
}

/** One upload of one file. */
export class Upload {
  constructor(file: Blob, options: UploadOptions);
  readonly state: UploadState;
  readonly progress: UploadProgress;
  /** What continues this upload on another device. `null` before it has begun. */
  readonly session: UploadSession | null;
  /**
   * Uploads the file. After a failure that is `retriable`, continues; after others, begins anew.
   * Rejects with `UploadError`.
   */
  start(): Promise<UploadOutcome>;
  /** Stops sending. Has no effect while OSS completes the upload. */
  pause(): void;
  resume(): void;
  /**
   * Ends the upload and deletes its parts. Resolves with whether OSS has no part of it: `false` if
   * the request to delete them failed, or if OSS may already have completed the upload.
   */
  cancel(): Promise<boolean>;
}

/** An upload of an earlier page, which continues when its file is chosen again. */
export interface UnfinishedUpload {
  fingerprint: string;
  name: string;
  size: number;
  type: string;
  lastModified: number;
  key: string;
  partsStored: number;
  partCount: number;
  /** Milliseconds as `Date.now()`. */
  startedAt: number;
  /** Unix seconds. Later, the service authorises again. */
  expires: number;
}

export interface RecordOptions {
  scope?: string;
  storage?: UploadStorage | null;
}

/** Lists the uploads of earlier pages that can continue. */
export function unfinishedUploads(options?: RecordOptions): UnfinishedUpload[];

/** Forgets all uploads of a scope, or one. Call it when a user signs out. */
export function forgetUploads(options?: RecordOptions & { fingerprint?: string }): void;
