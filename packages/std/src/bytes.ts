/** Byte-level helpers for codecs: a growing writer, a bounds-checked reader, CRC-32C, 64-bit hashing. */

import { err, ok, type Result } from "./result.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Throws TypeError on malformed UTF-8. */
export function utf8Text(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export function toHex(bytes: Uint8Array): string {
  let out = "";
  for (const byte of bytes) out += byte.toString(16).padStart(2, "0");
  return out;
}

/** Undefined when the text is not an even number of hex digits. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(text)) return undefined;
  const out = new Uint8Array(text.length / 2);
  for (let i = 0; i < out.length; i++) out[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return out;
}

const CRC32C_POLYNOMIAL = 0x82f63b78;

/** Eight tables for eight bytes at a time (Intel's slicing-by-8, Kounavis and Berry 2005). */
const CRC32C_TABLES = (() => {
  const tables = new DataView(new ArrayBuffer(8 * 256 * 4));
  for (let n = 0; n < 256; n++) {
    let c = n;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ CRC32C_POLYNOMIAL : c >>> 1;
    tables.setInt32(n * 4, c, true);
  }
  for (let n = 256; n < 8 * 256; n++) {
    const before = tables.getInt32((n - 256) * 4, true);
    tables.setInt32(n * 4, (before >>> 8) ^ tables.getInt32((before & 255) * 4, true), true);
  }
  return tables;
})();

/** CRC-32C (Castagnoli, RFC 3720). `seed` is a previous result, or any value mixed into the sum. */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  const t = CRC32C_TABLES;
  // A view reads words and, unlike an index, is never undefined.
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = bytes.length;
  let c = ~seed;
  let i = 0;
  for (; i + 8 <= length; i += 8) {
    const low = c ^ view.getInt32(i, true);
    const high = view.getInt32(i + 4, true);
    c =
      t.getInt32((1792 + (low & 255)) << 2, true) ^
      t.getInt32((1536 + ((low >>> 8) & 255)) << 2, true) ^
      t.getInt32((1280 + ((low >>> 16) & 255)) << 2, true) ^
      t.getInt32((1024 + (low >>> 24)) << 2, true) ^
      t.getInt32((768 + (high & 255)) << 2, true) ^
      t.getInt32((512 + ((high >>> 8) & 255)) << 2, true) ^
      t.getInt32((256 + ((high >>> 16) & 255)) << 2, true) ^
      t.getInt32((high >>> 24) << 2, true);
  }
  for (; i < length; i++) {
    c = t.getInt32(((c ^ view.getUint8(i)) & 255) << 2, true) ^ (c >>> 8);
  }
  return ~c >>> 0;
}

/** FNV-1a-based 64-bit hash in two multiply-mixed lanes; for state comparison, not for security. */
export function hash64(bytes: Uint8Array): bigint {
  let h1 = 0x811c9dc5;
  let h2 = 0x9e3779b9;
  for (let i = 0; i < bytes.length; i++) {
    const b = bytes[i] ?? 0;
    h1 = Math.imul(h1 ^ b, 0x01000193);
    h2 = Math.imul(h2 ^ b, 0x85ebca6b);
    h2 ^= h2 >>> 13;
  }
  h1 ^= h1 >>> 16;
  h1 = Math.imul(h1, 0x7feb352d);
  h1 ^= h1 >>> 15;
  h2 = Math.imul(h2 ^ bytes.length, 0xc2b2ae35);
  h2 ^= h2 >>> 16;
  return (BigInt(h1 >>> 0) << 32n) | BigInt(h2 >>> 0);
}

/**
 * Small buffers are cut from slabs, as Node's Buffer does it: an ArrayBuffer of its own for every
 * message costs more than writing the message. What was cut is never reused.
 */
interface Slab {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView;
  used: number;
}

const SLAB_BYTES = 8192;
/** Characters up to which text is written without the platform's encoder, if it is ASCII. */
const SHORT_TEXT = 32;

function newSlab(size: number): Slab {
  const buffer = new ArrayBuffer(size);
  return { bytes: new Uint8Array(buffer), view: new DataView(buffer), used: 0 };
}

let currentSlab = newSlab(SLAB_BYTES);

/** A slab with room for `size` bytes after `used`. */
function slabFor(size: number): Slab {
  if (size > SLAB_BYTES / 4) return newSlab(size);
  if (currentSlab.used + size > SLAB_BYTES) currentSlab = newSlab(SLAB_BYTES);
  return currentSlab;
}

/** Appends little-endian fields to a buffer that doubles when full. */
export class ByteWriter {
  #slab: Slab;
  /** Where its part of the slab begins and ends, and where the next field goes. */
  #start: number;
  #end: number;
  #at: number;

  constructor(capacity = 256) {
    const slab = slabFor(capacity);
    this.#slab = slab;
    this.#start = slab.used;
    this.#at = slab.used;
    slab.used += capacity;
    this.#end = slab.used;
  }

  get length(): number {
    return this.#at - this.#start;
  }

  /** Call it before touching #slab: it may replace it. */
  #room(count: number): number {
    const at = this.#at;
    if (at + count > this.#end) return this.#grow(count);
    this.#at = at + count;
    return at;
  }

  #grow(count: number): number {
    const { length } = this;
    const size = Math.max(length + count, 2 * (this.#end - this.#start));
    const slab = slabFor(size);
    slab.bytes.set(this.#slab.bytes.subarray(this.#start, this.#at), slab.used);
    this.#slab = slab;
    this.#start = slab.used;
    slab.used += size;
    this.#end = slab.used;
    this.#at = this.#start + length + count;
    return this.#start + length;
  }

  u8(value: number): this {
    const at = this.#room(1);
    this.#slab.view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    const at = this.#room(2);
    this.#slab.view.setUint16(at, value, true);
    return this;
  }

  u32(value: number): this {
    const at = this.#room(4);
    this.#slab.view.setUint32(at, value, true);
    return this;
  }

  /** A safe non-negative integer in eight bytes. */
  u64(value: number): this {
    const at = this.#room(8);
    const { view } = this.#slab;
    view.setUint32(at, value % 4294967296, true);
    view.setUint32(at + 4, Math.floor(value / 4294967296), true);
    return this;
  }

  raw(bytes: Uint8Array): this {
    const at = this.#room(bytes.length);
    this.#slab.bytes.set(bytes, at);
    return this;
  }

  /** Bytes behind a u32 length. */
  bytes(bytes: Uint8Array): this {
    return this.u32(bytes.length).raw(bytes);
  }

  /** UTF-8 behind a u32 length. */
  text(text: string): this {
    const { length } = text;
    // Most are short and plain, and calling the encoder costs more than such a loop.
    if (length > SHORT_TEXT) return this.bytes(utf8(text));
    const at = this.#room(4 + length);
    const { bytes, view } = this.#slab;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code > 127) {
        this.#at = at;
        return this.bytes(utf8(text));
      }
      bytes[at + 4 + i] = code;
    }
    view.setUint32(at, length, true);
    return this;
  }

  /** Overwrites four bytes written earlier, as for a checksum known only at the end. */
  patchU32(at: number, value: number): this {
    this.#slab.view.setUint32(this.#start + at, value, true);
    return this;
  }

  /** A view of what was written; valid until the next write. */
  finish(): Uint8Array {
    // What was not needed goes back, if nothing was cut behind it.
    if (this.#slab.used === this.#end) {
      this.#slab.used = this.#at;
      this.#end = this.#at;
    }
    return this.#slab.bytes.subarray(this.#start, this.#at);
  }
}

export class ShortReadError extends Error {
  override readonly name = "ShortReadError";
}

/** Reads what ByteWriter wrote; every read is bounds-checked and throws ShortReadError past the end. */
export class ByteReader {
  readonly #buffer: Uint8Array;
  #at = 0;

  constructor(buffer: Uint8Array) {
    this.#buffer = buffer;
  }

  get offset(): number {
    return this.#at;
  }

  get remaining(): number {
    return this.#buffer.length - this.#at;
  }

  #take(count: number): number {
    const at = this.#at;
    if (count > this.#buffer.length - at) {
      throw new ShortReadError(
        `needed ${count} bytes at ${at}, buffer holds ${this.#buffer.length}`,
      );
    }
    this.#at = at + count;
    return at;
  }

  u8(): number {
    return this.#buffer[this.#take(1)] ?? 0;
  }

  u16(): number {
    const at = this.#take(2);
    const b = this.#buffer;
    return (b[at] ?? 0) | ((b[at + 1] ?? 0) << 8);
  }

  // Byte by byte: a DataView for each message costs more than it saves.
  #word(at: number): number {
    const b = this.#buffer;
    const low = (b[at] ?? 0) | ((b[at + 1] ?? 0) << 8);
    return (low | ((b[at + 2] ?? 0) << 16) | ((b[at + 3] ?? 0) << 24)) >>> 0;
  }

  u32(): number {
    return this.#word(this.#take(4));
  }

  u64(): number {
    const at = this.#take(8);
    const value = this.#word(at) + this.#word(at + 4) * 4294967296;
    if (!Number.isSafeInteger(value)) throw new ShortReadError("integer beyond 2^53");
    return value;
  }

  /** A view, not a copy. */
  raw(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#buffer.subarray(at, at + length);
  }

  bytes(): Uint8Array {
    return this.raw(this.u32());
  }

  text(): string {
    return utf8Text(this.bytes());
  }
}

/** Runs a decoder over bytes from outside; anything it throws becomes a reason. */
export function decodeWith<T>(
  bytes: Uint8Array,
  decode: (reader: ByteReader) => T,
): Result<T, string> {
  const reader = new ByteReader(bytes);
  try {
    const value = decode(reader);
    if (reader.remaining > 0) return err(`${reader.remaining} bytes left over`);
    return ok(value);
  } catch (caught) {
    return err(caught instanceof Error ? caught.message : String(caught));
  }
}
