// CRC-64/XZ, the checksum of `x-oss-hash-crc64ecma`.

const POLYNOMIAL = 0xc96c5795d7870f42n;
const TOP = 1n << 63n;

/** Table `k` holds the checksum of each byte followed by `k` zero bytes, in two halves. */
const LOW = new Int32Array(8 * 256);
const HIGH = new Int32Array(8 * 256);

for (let byte = 0; byte < 256; byte += 1) {
  let crc = BigInt(byte);
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1n ? (crc >> 1n) ^ POLYNOMIAL : crc >> 1n;
  LOW[byte] = Number(BigInt.asIntN(32, crc));
  HIGH[byte] = Number(BigInt.asIntN(32, crc >> 32n));
}
for (let at = 256; at < LOW.length; at += 1) {
  const low = LOW[at - 256];
  const high = HIGH[at - 256];
  LOW[at] = ((low >>> 8) | (high << 24)) ^ LOW[low & 255];
  HIGH[at] = (high >>> 8) ^ HIGH[low & 255];
}

/** Computes the checksum of bytes that arrive in pieces. */
export class Crc64 {
  #low = -1;
  #high = -1;

  /** Adds a `Uint8Array`. */
  update(bytes) {
    let low = this.#low;
    let high = this.#high;
    let at = 0;
    // Eight bytes per step: BigInt would be a hundred times slower.
    for (const end = bytes.length - 7; at < end; at += 8) {
      const a =
        low ^ (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24));
      const b =
        high ^
        (bytes[at + 4] | (bytes[at + 5] << 8) | (bytes[at + 6] << 16) | (bytes[at + 7] << 24));
      const i = 1792 + (a & 255);
      const j = 1536 + ((a >>> 8) & 255);
      const k = 1280 + ((a >>> 16) & 255);
      const l = 1024 + (a >>> 24);
      const m = 768 + (b & 255);
      const n = 512 + ((b >>> 8) & 255);
      const o = 256 + ((b >>> 16) & 255);
      const p = b >>> 24;
      low = LOW[i] ^ LOW[j] ^ LOW[k] ^ LOW[l] ^ LOW[m] ^ LOW[n] ^ LOW[o] ^ LOW[p];
      high = HIGH[i] ^ HIGH[j] ^ HIGH[k] ^ HIGH[l] ^ HIGH[m] ^ HIGH[n] ^ HIGH[o] ^ HIGH[p];
    }
    for (; at < bytes.length; at += 1) {
      const index = (low ^ bytes[at]) & 255;
      low = ((low >>> 8) | (high << 24)) ^ LOW[index];
      high = (high >>> 8) ^ HIGH[index];
    }
    this.#low = low;
    this.#high = high;
    return this;
  }

  /** Returns the checksum of the bytes so far, as an unsigned BigInt. */
  value() {
    const half = (bits) => BigInt(~bits >>> 0);
    return (half(this.#high) << 32n) | half(this.#low);
  }
}

/** Computes the checksum of a Blob. Rejects if the Blob can no longer be read. */
export async function crc64Of(blob, signal) {
  const crc = new Crc64();
  const reader = blob.stream().getReader();
  try {
    for (;;) {
      signal?.throwIfAborted();
      const { done, value } = await reader.read();
      if (done) return crc.value();
      crc.update(value);
    }
  } finally {
    // Closes the file. What a failed read leaves behind is of no interest.
    reader.cancel().catch(() => {});
  }
}

/** Multiplies two polynomials modulo that of the checksum, in reflected bit order. */
function multiply(a, b) {
  let product = 0n;
  let factor = b;
  for (let bit = TOP; bit > 0n; bit >>= 1n) {
    if (a & bit) product ^= factor;
    factor = factor & 1n ? (factor >> 1n) ^ POLYNOMIAL : factor >> 1n;
  }
  return product;
}

/** Returns x to the power of `8 * length`, which shifts a checksum by `length` bytes. */
function shiftOf(length) {
  let result = TOP;
  let square = TOP >> 8n;
  for (let rest = BigInt(length); rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = multiply(result, square);
    square = multiply(square, square);
  }
  return result;
}

/**
 * Returns the checksum of consecutive pieces from those of each: `[{ crc, size }, …]`. All pieces
 * but the last usually have one size, so its shift is computed once.
 */
export function combined(pieces) {
  const shifts = new Map();
  let total = 0n;
  for (const { crc, size } of pieces) {
    if (!shifts.has(size)) shifts.set(size, shiftOf(size));
    total = multiply(shifts.get(size), total) ^ crc;
  }
  return total;
}
