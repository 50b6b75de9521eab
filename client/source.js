// The file, its parts, and their checksums.

import { crc64Of } from "./crc64.js";
import { UploadError } from "./errors.js";

export class Source {
  #file;
  #crcs = new Map();

  constructor(file) {
    this.#file = file;
  }

  /** Returns the size of a part. The last one is the rest of the file. */
  sizeOf({ partSize, partCount }, number) {
    const before = partSize * Math.max(0, partCount - 1);
    return number < partCount ? partSize : this.#file.size - before;
  }

  slice(session, number) {
    const from = (number - 1) * session.partSize;
    return this.#file.slice(from, from + this.sizeOf(session, number));
  }

  /** Returns the CRC-64 of a part. It is computed once. */
  async crcOf(session, number, signal) {
    // Another session may have parts of another size.
    const name = `${session.partSize} ${number}`;
    const known = this.#crcs.get(name);
    if (known !== undefined) return known;
    try {
      const crc = await crc64Of(this.slice(session, number), signal);
      this.#crcs.set(name, crc);
      return crc;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      const message = "the file can no longer be read; it was changed, moved or deleted";
      throw new UploadError("FileUnreadable", message, { cause: error });
    }
  }
}
