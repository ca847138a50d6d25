/**
 * First page of a disk overlay, version 1; the whole file, with integers little-endian:
 *
 *        0  "BLXOVL", u16 version, u64 size of the disk, u64 size of the base, 32 bytes fingerprint of the
 *           base, zeros, and at 4092 the CRC-32C of what is before it
 *     4096  a bit for each sector of 512 bytes, lowest bit first: whether the sector is in this file;
 *           whole pages of 4096
 *   behind  the sectors, each at its own place; the file is sparse
 *
 * A bit is written only once its sector is durable, and never taken back, so that any mixture of old and new
 * bits is a good one: a power cut in the middle of writing them loses nothing that was flushed.
 */

import { BlixardError, crc32c, failure, toHex, utf8 } from "@blixard/std";
import { LIMITS } from "../limits.ts";

export const SECTOR_BYTES = 512;
export const PAGE_BYTES = 4096;
/** Sectors that a page of bits tells of. */
export const PAGE_SECTORS = PAGE_BYTES * 8;
export const FINGERPRINT_BYTES = 32;

const MAGIC = utf8("BLXOVL");
const VERSION = 1;
const AT = { version: 6, size: 8, baseSize: 16, fingerprint: 24, crc: PAGE_BYTES - 4 } as const;

export interface OverlayHeader {
  /** Whole sectors, not less than the base. */
  readonly sizeBytes: number;
  readonly baseBytes: number;
  /** Of the base's first and last part: tells whether it still is the one that this lies over. */
  readonly fingerprint: Uint8Array;
}

/** Where the sectors begin. */
export function dataStart({ sizeBytes }: Pick<OverlayHeader, "sizeBytes">): number {
  return PAGE_BYTES * (1 + Math.ceil(sizeBytes / SECTOR_BYTES / PAGE_SECTORS));
}

export function encodeHeader(header: OverlayHeader): Uint8Array {
  const page = new Uint8Array(PAGE_BYTES);
  const view = new DataView(page.buffer);
  page.set(MAGIC);
  view.setUint16(AT.version, VERSION, true);
  view.setBigUint64(AT.size, BigInt(header.sizeBytes), true);
  view.setBigUint64(AT.baseSize, BigInt(header.baseBytes), true);
  page.set(header.fingerprint, AT.fingerprint);
  view.setUint32(AT.crc, crc32c(page.subarray(0, AT.crc)), true);
  return page;
}

/** `page` has PAGE_BYTES; `fileBytes` is the whole file's size. Errors: Corrupt, Unsupported. */
export function decodeHeader(page: Uint8Array, fileBytes: number, path: string): OverlayHeader {
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  if (!MAGIC.every((byte, at) => page[at] === byte)) throw corrupt(path, "it has not its magic");
  const version = view.getUint16(AT.version, true);
  if (version !== VERSION) {
    const what = `disk overlay version ${version}`;
    const message = `Cannot use ${path}: ${what}; this release knows version ${VERSION}`;
    throw new BlixardError(failure("Unsupported", { what }, message));
  }
  if (view.getUint32(AT.crc, true) !== crc32c(page.subarray(0, AT.crc))) {
    throw corrupt(path, "the checksum of its header is wrong");
  }
  const size = view.getBigUint64(AT.size, true);
  const base = view.getBigUint64(AT.baseSize, true);
  if (size === 0n || size > BigInt(LIMITS.overlayDiskBytesMax) || size % BigInt(SECTOR_BYTES)) {
    throw corrupt(path, `its disk has ${size} bytes`);
  }
  if (base > size) throw corrupt(path, `its base, ${base} bytes, is larger than its disk`);
  const header: OverlayHeader = {
    sizeBytes: Number(size),
    baseBytes: Number(base),
    fingerprint: page.slice(AT.fingerprint, AT.fingerprint + FINGERPRINT_BYTES),
  };
  const wanted = dataStart(header) + header.sizeBytes;
  if (fileBytes !== wanted) throw corrupt(path, `it has ${fileBytes} bytes, not ${wanted}`);
  return header;
}

export function corrupt(path: string, reason: string): BlixardError {
  const message = `${path} is no good disk overlay: ${reason}`;
  const hint = "to begin a new overlay, name a file that does not exist";
  return new BlixardError(failure("Corrupt", { what: "disk overlay", where: path }, message, hint));
}

export function sameBase(header: OverlayHeader, base: BaseIdentity): boolean {
  const same = toHex(header.fingerprint) === toHex(base.fingerprint);
  return same && header.baseBytes === base.baseBytes;
}

export type BaseIdentity = Pick<OverlayHeader, "baseBytes" | "fingerprint">;
