// What is kept in `localStorage`, so that an upload continues after a reload.

const PREFIX = "oss-upload:";

/** Returns `localStorage`, or null if it does not exist or the browser denies it. */
export function defaultStorage() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}

/**
 * Identifies a file by what a page can read without its content: name, size, type and time of
 * change. The content is compared by checksums when an upload continues.
 */
export function fingerprintOf(file, name) {
  return [name, file.size, file.type, file.lastModified ?? ""].join("|");
}

/** The records of one scope, such as a user's. A full or broken storage is as good as none. */
export class Records {
  constructor(storage, scope) {
    this.storage = storage;
    // Escaped, so that no scope is the beginning of another.
    this.prefix = `${PREFIX}${encodeURIComponent(scope)}:`;
  }

  load(fingerprint) {
    try {
      const record = JSON.parse(this.storage?.getItem(this.prefix + fingerprint) ?? "null");
      return isRecord(record) ? record : null;
    } catch {
      return null;
    }
  }

  save(fingerprint, record) {
    try {
      this.storage?.setItem(this.prefix + fingerprint, JSON.stringify(record));
    } catch {
      // Without its ETags, a record is small. OSS lists them.
      try {
        this.storage.setItem(this.prefix + fingerprint, JSON.stringify({ ...record, etags: {} }));
      } catch {
        // The upload goes on, but cannot continue after a reload.
      }
    }
  }

  remove(fingerprint) {
    try {
      this.storage?.removeItem(this.prefix + fingerprint);
    } catch {
      // The record expires with its handle.
    }
  }

  /** Returns the fingerprints of all records. */
  all() {
    try {
      const names = Array.from({ length: this.storage?.length ?? 0 }, (_, at) =>
        this.storage.key(at),
      );
      return names
        .filter((name) => name?.startsWith(this.prefix))
        .map((name) => name.slice(this.prefix.length));
    } catch {
      return [];
    }
  }
}

/** Whether a value is a record of this version. Pages of another version share the storage. */
export const isRecord = (value) =>
  value?.version === 1 &&
  typeof value.handle === "string" &&
  typeof value.uploadId === "string" &&
  value.partSize > 0 &&
  value.partCount > 0 &&
  typeof value.etags === "object" &&
  value.etags !== null;

const claimed = new Set();

/**
 * Claims a record, so that two tabs do not continue the same upload. Returns a function that
 * releases it, or null if another upload has it.
 */
export async function claim(name) {
  if (claimed.has(name)) return null;
  claimed.add(name);
  const release = () => claimed.delete(name);
  // Other tabs are seen in secure contexts only.
  const locks = globalThis.navigator?.locks;
  if (!locks) return release;
  return new Promise((resolve) => {
    locks
      .request(PREFIX + name, { ifAvailable: true }, (lock) => {
        if (!lock) {
          release();
          resolve(null);
          return undefined;
        }
        return new Promise((unlock) => {
          resolve(() => {
            release();
            unlock();
          });
        });
      })
      .catch(() => resolve(release));
  });
}
/** Lists the uploads of earlier pages that can continue when their files are chosen again. */
export function unfinishedUploads({ storage = defaultStorage(), scope = "" } = {}) {
  const records = new Records(storage, scope);
  return records.all().flatMap((fingerprint) => {
    const record = records.load(fingerprint);
    if (!record) return [];
    const { name, size, type, lastModified, key, partCount, startedAt, expires } = record;
    const partsStored = Object.keys(record.etags).length;
    return [
      {
        fingerprint,
        name,
        size,
        type,
        lastModified,
        key,
        partsStored,
        partCount,
        startedAt,
        expires,
      },
    ];
  });
}

/** Forgets uploads of earlier pages: one, or all of the scope. Call it when a user signs out. */
export function forgetUploads({ storage = defaultStorage(), scope = "", fingerprint } = {}) {
  const records = new Records(storage, scope);
  for (const name of fingerprint === undefined ? records.all() : [fingerprint])
    records.remove(name);
}
