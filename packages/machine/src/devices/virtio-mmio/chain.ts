/** Descriptor chains as devices see them, and the copying between them and bytes. */

import type { GuestMemory } from "../../types.ts";

/** A piece of RAM that the queue has checked to lie inside it. */
export interface Segment {
  readonly address: number;
  readonly length: number;
}

/** A request of the driver: what the device may read, then what it may write. */
export interface Chain {
  /** Index of the first descriptor; it names the request in the used ring. */
  readonly head: number;
  readonly readable: readonly Segment[];
  readonly writable: readonly Segment[];
  readonly readableBytes: number;
  readonly writableBytes: number;
}

/** The part of `segments` from byte `from`, `length` bytes long; shorter when they end earlier. */
export function slice(segments: readonly Segment[], from: number, length: number): Segment[] {
  const out: Segment[] = [];
  let skip = from;
  let left = length;
  for (const segment of segments) {
    if (left === 0) break;
    if (skip >= segment.length) {
      skip -= segment.length;
      continue;
    }
    const taken = Math.min(segment.length - skip, left);
    out.push({ address: segment.address + skip, length: taken });
    left -= taken;
    skip = 0;
  }
  return out;
}

export function totalBytes(segments: readonly Segment[]): number {
  let total = 0;
  for (const segment of segments) total += segment.length;
  return total;
}

/** Copies all of `segments` out of RAM; undefined when a segment lies outside it. */
export function gather(
  memory: GuestMemory,
  segments: readonly Segment[],
): Uint8Array<ArrayBuffer> | undefined {
  const out = new Uint8Array(totalBytes(segments));
  let at = 0;
  for (const segment of segments) {
    if (!memory.read(segment.address, out.subarray(at, at + segment.length))) return undefined;
    at += segment.length;
  }
  return out;
}

/** Copies `data` into `segments`, which may be longer; false when a segment lies outside RAM. */
export function scatter(
  memory: GuestMemory,
  segments: readonly Segment[],
  data: Uint8Array,
): boolean {
  let at = 0;
  for (const segment of segments) {
    if (at >= data.length) break;
    const part = data.subarray(at, at + segment.length);
    if (!memory.write(segment.address, part)) return false;
    at += part.length;
  }
  return true;
}
