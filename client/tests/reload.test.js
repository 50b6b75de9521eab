import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { Worker } from "node:worker_threads";

import { Fake, PART, fileOf } from "./fake.js";

let fake;
let folder;
let path;

beforeEach(async () => {
  fake = await new Fake().start();
  folder = mkdtempSync(join(tmpdir(), "client-"));
  path = join(folder, "storage.json");
  writeFileSync(path, "[]");
});

afterEach(() => {
  fake.stop();
  rmSync(folder, { recursive: true });
});

const open = (size, options) =>
  new Worker(new URL("page.js", import.meta.url), {
    workerData: { endpoint: fake.endpoint, path, size, options },
  });

/** Opens a page and closes it at the request that `when` returns true for. */
async function closedAt(when, size, options) {
  const page = open(size, options);
  const closed = new Promise((resolve) => {
    fake.fault = async (seen) => {
      if (!when(seen)) return undefined;
      await page.terminate();
      resolve();
      return "cut";
    };
  });
  await closed;
  fake.fault = () => undefined;
}

async function finished(size, options) {
  const page = open(size, options);
  const [message] = await once(page, "message");
  await page.terminate();
  return message;
}

test("an upload continues after two reloads, and stored parts are not sent again", async () => {
  const size = 50 * PART + 1;
  fake.listPage = 8;
  const atPart =
    (count) =>
    ({ kind }) =>
      kind === "part" && fake.of("part").length === count;
  await closedAt(atPart(15), size);
  const [upload] = fake.uploads.values();
  const first = upload.parts.size;
  assert.ok(first >= 8, String(first));
  await closedAt(atPart(35), size);
  assert.ok(upload.parts.size > first);
  const { outcome, progress } = await finished(size);
  assert.deepEqual(fake.objects.get(outcome.key), fileOf(size).bytes);
  assert.equal(outcome.crc64Verified, true);
  assert.deepEqual([fake.objects.size, fake.callbacks, fake.uploads.size], [1, 1, 0]);
  assert.deepEqual([progress.loaded, progress.partsStored], [size, 51]);
  // Only what was on its way when a page was closed is sent again.
  for (const [number, count] of fake.completed.puts) assert.equal(count, 1, `part ${number}`);
  assert.ok(fake.of("part").length <= 51 + 2 * 4, String(fake.of("part").length));
  assert.deepEqual([fake.of("create").length, fake.of("initiate").length], [1, 1]);
  assert.equal(readFileSync(path, "utf8"), "[]");
});

test("parts of another file with the same name, size and time are sent again", async () => {
  const size = 20 * PART;
  await closedAt(({ kind }) => kind === "part" && fake.of("part").length === 12, size, { seed: 1 });
  const stored = [...fake.uploads.values()][0].parts.size;
  assert.ok(stored >= 8);
  const { outcome } = await finished(size, { seed: 2 });
  assert.deepEqual(fake.objects.get(outcome.key), fileOf(size, { seed: 2 }).bytes);
  assert.equal(outcome.crc64Verified, true);
  assert.equal([...fake.completed.puts.values()].filter((count) => count === 2).length, stored);
});

test("if OSS lists no checksums, the remembered ETags decide", async () => {
  const size = 20 * PART;
  fake.hideCrcs = true;
  await closedAt(({ kind }) => kind === "part" && fake.of("part").length === 12, size);
  const [upload] = fake.uploads.values();
  const [[, record]] = JSON.parse(readFileSync(path, "utf8"));
  const remembered = Object.keys(JSON.parse(record).etags).map(Number);
  // Someone else replaces a part.
  const [number] = remembered;
  upload.parts.set(number, { body: Buffer.alloc(PART), etag: '"OTHER"', crc: 0n });
  const { outcome } = await finished(size);
  assert.deepEqual(fake.objects.get(outcome.key), fileOf(size).bytes);
  // The page was closed before it heard of the others.
  const twice = [...upload.puts.keys()].filter((part) => upload.puts.get(part) > 1);
  assert.deepEqual(
    twice.filter((part) => remembered.includes(part)),
    [number],
  );
});

test("a page that is closed while OSS completes the upload does not send the file again", async () => {
  const size = 10 * PART;
  const page = open(size);
  const closed = new Promise((resolve) => {
    fake.callback = () => {
      page.terminate().then(resolve);
      return { status: 200, json: { ok: true } };
    };
  });
  await closed;
  const sent = fake.of("part").length;
  const { code } = await finished(size);
  assert.equal(code, "Unconfirmed");
  assert.deepEqual([fake.of("part").length, fake.callbacks], [sent, 1]);
  // The next attempt is a new upload.
  const { outcome } = await finished(size);
  assert.equal(outcome.key, "up/2.bin");
});

test("records of other versions and of other services are ignored", async () => {
  const size = 5 * PART;
  const name = `oss-upload::film.mp4|${size}|video/mp4|1700000000000`;
  for (const record of [
    "no JSON",
    "null",
    '{"version":2}',
    '{"version":1,"handle":"h"}',
    JSON.stringify({
      version: 1,
      endpoint: "https://other.example/",
      handle: "h",
      uploadId: "u",
      size,
      partSize: PART,
      partCount: 5,
      etags: {},
    }),
  ]) {
    writeFileSync(path, JSON.stringify([[name, record]]));
    const { outcome } = await finished(size);
    assert.deepEqual(fake.objects.get(outcome.key), fileOf(size).bytes);
  }
});

test("a handle that the service no longer accepts is replaced", async () => {
  const size = 20 * PART;
  await closedAt(({ kind }) => kind === "part" && fake.of("part").length === 12, size);
  fake.handles.clear();
  const { outcome } = await finished(size);
  assert.equal(outcome.key, "up/2.bin");
  assert.deepEqual(fake.objects.get(outcome.key), fileOf(size).bytes);
});
