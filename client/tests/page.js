// A page that uploads a file until it is closed: a worker thread with its own modules and a storage
// in a file, which outlives it.

import { readFileSync, writeFileSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";

import { Upload } from "../upload.js";
import { MemoryStorage, fileOf } from "./fake.js";

/** Like `localStorage`: written before `setItem` returns. */
class FileStorage extends MemoryStorage {
  constructor(path) {
    super();
    this.path = path;
    for (const [name, value] of JSON.parse(readFileSync(path, "utf8"))) super.setItem(name, value);
  }

  setItem(name, value) {
    super.setItem(name, value);
    this.#write();
  }

  removeItem(name) {
    super.removeItem(name);
    this.#write();
  }

  #write() {
    const names = Array.from({ length: this.length }, (_, at) => this.key(at));
    writeFileSync(this.path, JSON.stringify(names.map((name) => [name, this.getItem(name)])));
  }
}

const { endpoint, path, size, options } = workerData;
const upload = new Upload(fileOf(size, options).file, {
  endpoint,
  storage: new FileStorage(path),
  backoff: { first: 1, longest: 4 },
});
try {
  parentPort.postMessage({ outcome: await upload.start(), progress: upload.progress });
} catch ({ code, message }) {
  parentPort.postMessage({ code, message });
}
