/**
 * Compiled regions as bytes, for other machines of the same shape. All numbers of the header are little endian:
 *
 *   0  magic "BLXREGN\n"    8  version (32 bits)      12  generator, 8 bytes (generator.ts)
 *  20  bytes of RAM        24  fused (0 or 1)         28  regions        32  bytes of payload
 *  36  CRC-32C of all the rest                        40  payload: regions, numbers in LEB128
 *
 * What a region is made from is stored with it, and compared byte for byte before it is used: no guest can bring
 * about code that another one's instructions do not mean.
 */

import { crc32c, err, fromHex, ok, present, type Result, toHex } from "@blixard/std";
import { PAGE_BYTES } from "../../limits.ts";
import { REGION_PAGES_MAX } from "../../memory/layout.ts";
import { ByteWriter } from "../../wasm/bytes.ts";
import { type BranchHint, type FunctionBody, PADDED_BYTES } from "../../wasm/code.ts";
import { numberAt } from "../emit/region.ts";
import { STORED_BYTES_MAX, STORED_REGIONS_MAX } from "../limits.ts";

/** Guest bytes of a region: position of their page among the region's, and where they are in it. */
export interface StoredExtent {
  readonly page: number;
  readonly from: number;
  readonly to: number;
}

export interface StoredRegion {
  /** Fingerprint of the page in which it begins, when execution first came to that: says where to look. */
  readonly page: number;
  /** Where in that page, in bytes. */
  readonly offset: number;
  readonly privilege: number;
  readonly inexactSet: boolean;
  /** As large as it is to be. */
  readonly again: boolean;
  readonly instructions: number;
  /** Virtual distances of its pages from the first. */
  readonly deltas: readonly number[];
  readonly extents: readonly StoredExtent[];
  /** The bytes of all extents. */
  readonly code: Uint8Array;
  readonly body: FunctionBody;
}

/** What stored regions depend on, but for the guest. */
export interface RegionsKey {
  readonly generator: string;
  readonly ramBytes: number;
  readonly fused: boolean;
}

const MAGIC = "BLXREGN\n";
const VERSION = 1;
const SUM_AT = 36;
const HEADER_BYTES = 40;
const I32_CONST = 0x41;

const sumOf = (bytes: Uint8Array): number =>
  crc32c(bytes.subarray(HEADER_BYTES), crc32c(bytes.subarray(0, SUM_AT)));

function writeRegion(into: ByteWriter, region: StoredRegion): void {
  const { body, deltas, extents, code } = region;
  into.unsigned(region.page);
  into.unsigned(region.offset);
  into.u8(region.privilege | (region.inexactSet ? 2 : 0) | (region.again ? 4 : 0));
  into.unsigned(region.instructions);
  into.unsigned(deltas.length);
  for (const delta of deltas) into.signed32(delta / PAGE_BYTES);
  into.unsigned(extents.length);
  for (const { page, from, to } of extents) {
    for (const number of [page, from, to]) into.unsigned(number);
  }
  into.append(code);
  into.unsigned(body.bytes.length);
  into.append(body.bytes);
  into.unsigned(body.hints.length);
  for (const { offset, likely } of body.hints) into.unsigned(offset * 2 + (likely ? 1 : 0));
}

/** At most STORED_REGIONS_MAX, and as many of the first ones as there is room for. */
export function encodeRegions(key: RegionsKey, regions: readonly StoredRegion[]): Uint8Array {
  const payload = new ByteWriter();
  let count = 0;
  for (const region of regions.slice(0, STORED_REGIONS_MAX)) {
    const one = new ByteWriter();
    writeRegion(one, region);
    if (HEADER_BYTES + payload.length + one.length > STORED_BYTES_MAX) break;
    payload.append(one.view());
    count++;
  }
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode(MAGIC));
  view.setUint32(8, VERSION, true);
  bytes.set(present(fromHex(key.generator), "a generator in hexadecimal"), 12);
  view.setUint32(20, key.ramBytes, true);
  view.setUint32(24, key.fused ? 1 : 0, true);
  view.setUint32(28, count, true);
  view.setUint32(32, payload.length, true);
  bytes.set(payload.view(), HEADER_BYTES);
  view.setUint32(SUM_AT, sumOf(bytes), true);
  return bytes;
}

/** Thrown and caught here. */
class Malformed extends Error {}

class Reader {
  readonly #bytes: Uint8Array;
  at = HEADER_BYTES;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }
  expect(holds: boolean, what: string): void {
    if (!holds) throw new Malformed(what);
  }
  u8(): number {
    const byte = this.#bytes[this.at++];
    if (byte === undefined) throw new Malformed("it ends early");
    return byte;
  }
  /** At most five bytes, below 2^32. */
  unsigned(limit: number): number {
    let value = 0;
    for (let n = 0; n < 5; n++) {
      const byte = this.u8();
      value += (byte & 127) * 128 ** n;
      if (byte >= 128) continue;
      this.expect(value <= limit, "a number is too large");
      return value;
    }
    throw new Malformed("a number does not end");
  }
  signed(): number {
    let value = 0;
    for (let n = 0; n < 5; n++) {
      const byte = this.u8();
      value |= (byte & 127) << (7 * n);
      if (byte < 128) return n === 4 ? value : (value << (25 - 7 * n)) >> (25 - 7 * n);
    }
    throw new Malformed("a number does not end");
  }
  take(length: number): Uint8Array {
    this.expect(this.at + length <= this.#bytes.length, "it ends early");
    this.at += length;
    return this.#bytes.subarray(this.at - length, this.at);
  }
  list<T>(limit: number, read: () => T): T[] {
    return Array.from({ length: this.unsigned(limit) }, read);
  }
}

const EXTENTS_MAX = 4096;
const BODY_BYTES_MAX = 1 << 20;

function readRegion(from: Reader): StoredRegion {
  const page = from.unsigned(2 ** 32 - 1);
  const offset = from.unsigned(PAGE_BYTES - 2);
  from.expect(offset % 2 === 0, "an odd offset");
  const flags = from.u8();
  from.expect(flags < 8, "unknown flags");
  const instructions = from.unsigned(EXTENTS_MAX);
  const deltas = from.list(REGION_PAGES_MAX, () => from.signed() * PAGE_BYTES);
  from.expect(deltas[0] === 0 && new Set(deltas).size === deltas.length, "its pages");
  const extents = from.list(EXTENTS_MAX, () => {
    const position = from.unsigned(deltas.length - 1);
    const start = from.unsigned(PAGE_BYTES - 2);
    const to = from.unsigned(PAGE_BYTES);
    from.expect(start < to, "an empty extent");
    return { page: position, from: start, to };
  });
  from.expect(extents.length > 0, "no extents");
  const code = from.take(extents.reduce((sum, extent) => sum + extent.to - extent.from, 0));
  const bytes = from.take(from.unsigned(BODY_BYTES_MAX));
  const number = numberAt(bytes);
  from.expect(number + PADDED_BYTES < bytes.length, "a body without a number");
  from.expect(bytes[number - 1] === I32_CONST, "a body without a number");
  const hints = from.list(bytes.length, (): BranchHint => {
    const packed = from.unsigned(2 * bytes.length);
    return { offset: packed >>> 1, likely: packed % 2 === 1 };
  });
  return {
    page,
    offset,
    privilege: flags & 1,
    inexactSet: (flags & 2) !== 0,
    again: (flags & 4) !== 0,
    instructions,
    deltas,
    extents,
    code,
    body: { bytes, hints },
  };
}

/** Regions as views of `bytes`; an error says why they are of no use. */
export function decodeRegions(key: RegionsKey, bytes: Uint8Array): Result<StoredRegion[], string> {
  if (bytes.length < HEADER_BYTES || bytes.length > STORED_BYTES_MAX) return err("its length");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const magic = new TextEncoder().encode(MAGIC);
  if (magic.some((byte, at) => bytes[at] !== byte)) return err("it holds no regions");
  if (view.getUint32(8, true) !== VERSION) return err("another version");
  if (toHex(bytes.subarray(12, 20)) !== key.generator) return err("another generator");
  if (view.getUint32(20, true) !== key.ramBytes) return err("another size of RAM");
  if (view.getUint32(24, true) !== (key.fused ? 1 : 0)) return err("another processor");
  if (view.getUint32(32, true) !== bytes.length - HEADER_BYTES) return err("its length");
  if (view.getUint32(SUM_AT, true) !== sumOf(bytes)) return err("damaged");
  const count = view.getUint32(28, true);
  if (count > STORED_REGIONS_MAX) return err("too many regions");
  const reader = new Reader(bytes);
  try {
    const regions = Array.from({ length: count }, () => readRegion(reader));
    return reader.at === bytes.length ? ok(regions) : err("bytes behind its regions");
  } catch (caught) {
    if (caught instanceof Malformed) return err(caught.message);
    throw caught;
  }
}
