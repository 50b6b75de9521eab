import assert from "node:assert/strict";
import { test } from "node:test";

import { Crc64, combined, crc64Of } from "../crc64.js";

/** Bit by bit, to compare with. */
function slow(bytes) {
  let crc = 0xffffffffffffffffn;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit += 1)
      crc = crc & 1n ? (crc >> 1n) ^ 0xc96c5795d7870f42n : crc >> 1n;
  }
  return crc ^ 0xffffffffffffffffn;
}

const noise = (length) => Uint8Array.from({ length }, (_, at) => (at * 2654435761) >>> 13);

test("the checksum of 123456789 is the published one", () => {
  const crc = new Crc64().update(new TextEncoder().encode("123456789"));
  assert.equal(crc.value(), 11051210869376104954n);
  assert.equal(new Crc64().value(), 0n);
});

test("every length and every cut gives the checksum of the bit-by-bit computation", () => {
  for (const length of [1, 7, 8, 9, 15, 16, 17, 1000]) {
    const bytes = noise(length);
    for (let cut = 0; cut <= Math.min(length, 20); cut += 1) {
      const crc = new Crc64().update(bytes.subarray(0, cut)).update(bytes.subarray(cut));
      assert.equal(crc.value(), slow(bytes), `${length} bytes, cut at ${cut}`);
    }
  }
});

test("checksums of pieces combine to that of the whole", () => {
  const bytes = noise(100_003);
  for (const size of [1, 1000, 4096, 99_999, 100_003, 200_000]) {
    const pieces = [];
    for (let at = 0; at < bytes.length; at += size) {
      const piece = bytes.subarray(at, at + size);
      pieces.push({ crc: new Crc64().update(piece).value(), size: piece.length });
      if (pieces.length > 200) break;
    }
    const length = pieces.reduce((sum, piece) => sum + piece.size, 0);
    const whole = new Crc64().update(bytes.subarray(0, length)).value();
    assert.equal(combined(pieces), whole, `pieces of ${size}`);
  }
  assert.equal(combined([]), 0n);
});

test("ten thousand parts combine in less than a second", () => {
  const pieces = Array.from({ length: 10_000 }, (_, at) => ({ crc: BigInt(at), size: 8 << 20 }));
  const started = performance.now();
  combined(pieces);
  assert.ok(performance.now() - started < 1000);
});

test("a Blob is read in pieces, and can be aborted", async () => {
  const bytes = noise(300_000);
  assert.equal(await crc64Of(new Blob([bytes])), new Crc64().update(bytes).value());
  const aborter = new AbortController();
  aborter.abort();
  await assert.rejects(crc64Of(new Blob([bytes]), aborter.signal), { name: "AbortError" });
});
