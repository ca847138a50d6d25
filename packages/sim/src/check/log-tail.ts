/**
 * What a segment of the log looks like once its node has recovered, after FORMAT.md of raft-node and
 * read here independently of it: records back to back, and zeroes behind the last. What recovery did
 * not accept is gone; else it could come back behind whatever is written in front of it.
 */

import { crc32c } from "@blixard/std";
import { slotsBytes } from "../io/disk-faults.ts";
import { violated } from "../world/world.ts";

const HEADER_BYTES = 36;
const RECORD_HEADER_BYTES = 12;

interface Files {
  paths(): readonly string[];
  contents(path: string): Uint8Array | undefined;
}

/** Where the records of a segment end: at the first thing that is none. */
function endOfRecords(area: Uint8Array, segment: number): number {
  const view = new DataView(area.buffer, area.byteOffset, area.byteLength);
  let at = HEADER_BYTES;
  while (at + RECORD_HEADER_BYTES <= area.length) {
    const end = at + RECORD_HEADER_BYTES + view.getUint32(at, true);
    if (end === at + RECORD_HEADER_BYTES || end > area.length) break;
    const place = Math.imul(segment, 0x9e3779b1) ^ Math.imul(at, 0x85ebca6b) ^ 0x5bd1e995;
    const head = crc32c(area.subarray(at, at + 8), place >>> 0);
    const sum = crc32c(area.subarray(at + RECORD_HEADER_BYTES, end), head);
    if (sum !== view.getUint32(at + 8, true)) break;
    at = end;
  }
  return at;
}

/** The first byte from `from` on that is not zero; the length where there is none. */
function endOfZeroes(bytes: Uint8Array, from: number): number {
  let at = from;
  while (at < bytes.length && bytes[at] === 0) at++;
  return at;
}

/** To be called when the node of an honest disk has recovered. */
export function holdUnwritten(machine: number, disk: Files, segmentBytes: number): void {
  for (const path of disk.paths()) {
    const name = /\/seg-([0-9a-f]{16})$/.exec(path)?.[1];
    const bytes = name === undefined ? undefined : disk.contents(path);
    if (name === undefined || bytes === undefined) continue;
    const area = bytes.subarray(0, Math.max(0, bytes.length - slotsBytes(segmentBytes)));
    const isOpened = endOfZeroes(area.subarray(0, 4), 0) < 4;
    const end = isOpened ? endOfRecords(area, Number.parseInt(name, 16)) : 0;
    const stray = endOfZeroes(area, end);
    if (stray === area.length) continue;
    const where = `${path} holds something at ${stray}, and its records end at ${end}`;
    violated("what was cut is gone", `n${machine}: ${where}`);
  }
}
