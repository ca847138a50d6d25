/**
 * The console log on disk: segments named after the absolute offset of their first byte. A segment is
 *
 *   header  "BLXCON" u16 version, u64 base offset                              16 bytes
 *   record  u32 payload length, u32 CRC-32C of the rest, u64 epoch,            24 bytes
 *           u64 microseconds of the host's CLOCK_MONOTONIC when it was read, payload
 *
 * All integers are little-endian. Time and text share a record so that no crash parts them. A record
 * cut short by a crash ends its segment; the writer removes it when it opens the log again.
 */

import { readdir } from "node:fs/promises";
import { isMissing } from "@blixard/host";
import { as, ByteReader, ByteWriter, crc32c, type Epoch } from "@blixard/std";
import { LIMITS } from "../limits.ts";

export const HEADER_BYTES = 16;
export const RECORD_HEADER_BYTES = 24;
const MAGIC = "BLXCON";
const VERSION = 1;
const NAME = /^console-([0-9a-f]{12})\.log$/;

export interface ConsoleRecord {
  readonly epoch: Epoch;
  /** Host's CLOCK_MONOTONIC when the supervisor read the payload; microsecond resolution. */
  readonly monotonicMs: number;
  /** Absolute offset of the payload's first byte. */
  readonly offset: number;
  readonly payload: Uint8Array;
}

export interface Segment {
  readonly name: string;
  readonly base: number;
}

export function segmentName(base: number): string {
  return `console-${base.toString(16).padStart(12, "0")}.log`;
}

export function encodeHeader(base: number): Uint8Array {
  const writer = new ByteWriter(HEADER_BYTES);
  for (const letter of MAGIC) writer.u8(letter.charCodeAt(0));
  return writer.u16(VERSION).u64(base).finish();
}

/** The base offset; undefined for anything that is no header of this version. */
export function decodeHeader(bytes: Uint8Array): number | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const reader = new ByteReader(bytes);
  for (const letter of MAGIC) if (reader.u8() !== letter.charCodeAt(0)) return undefined;
  return reader.u16() === VERSION ? reader.u64() : undefined;
}

export function encodeRecord(epoch: Epoch, monotonicMs: number, payload: Uint8Array): Uint8Array {
  const writer = new ByteWriter(RECORD_HEADER_BYTES + payload.length);
  writer.u32(payload.length).u32(0);
  writer
    .u64(epoch)
    .u64(Math.round(monotonicMs * 1000))
    .raw(payload);
  writer.patchU32(4, crc32c(writer.finish().subarray(8)));
  return writer.finish();
}

/** The record at `at`, of a segment's bytes; undefined where none is whole. */
export function decodeRecord(
  bytes: Uint8Array,
  at: number,
  offset: number,
): ConsoleRecord | undefined {
  if (bytes.length - at < RECORD_HEADER_BYTES) return undefined;
  const reader = new ByteReader(bytes.subarray(at));
  const length = reader.u32();
  const sum = reader.u32();
  if (length === 0 || length > LIMITS.consoleRecordBytes) return undefined;
  if (bytes.length - at < RECORD_HEADER_BYTES + length) return undefined;
  const rest = bytes.subarray(at + 8, at + RECORD_HEADER_BYTES + length);
  if (crc32c(rest) !== sum) return undefined;
  const epoch = as<Epoch>(reader.u64());
  return { epoch, monotonicMs: reader.u64() / 1000, offset, payload: reader.raw(length) };
}

/** Oldest first; an absent folder has none. */
export async function listSegments(folder: string): Promise<Segment[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (caught) {
    if (isMissing(caught)) return [];
    throw caught;
  }
  const found: Segment[] = [];
  for (const name of names) {
    const digits = NAME.exec(name)?.[1];
    if (digits !== undefined) found.push({ name, base: Number.parseInt(digits, 16) });
  }
  return found.toSorted((a, b) => a.base - b.base);
}
