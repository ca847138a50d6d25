/** What disks do wrong, and which files a fault may touch. */

import type { DiskOp, Prng } from "@blixard/std";
import { SECTOR_BYTES } from "../limits.ts";
import type { FaultKind } from "../plan.ts";

export type DiskFault = Extract<FaultKind, `disk${string}`>;

/**
 * Places by what they hold. A medium that fails takes one class of a machine at most: the log keeps
 * each acknowledged batch in its segment and in the mirror of a slot (behind the segment, or in the
 * watermark file), and a state in two snapshots or in the log. Losing both copies at once,
 * consistently, is what no log can notice.
 */
export const FILE_CLASSES = ["segments", "watermark", "snapshots"] as const;
export type FileClass = (typeof FILE_CLASSES)[number];

const SLOTS = 3;

/** What a segment has behind its log area; as raft-node's slotBytesFor makes it. */
export function slotsBytes(segmentBytes: number): number {
  const quarter = Math.floor(segmentBytes / 4 / 4096) * 4096;
  return SLOTS * Math.min(128 * 1024, Math.max(4096, quarter));
}

/** Where the places of one class begin and end in a file; undefined when it has none. */
export interface Region {
  readonly from: number;
  readonly to: number;
  /** It ends with the file: what makes that longer belongs to it. */
  readonly isOpen: boolean;
}

/** `fileBytes` is the file's length, `segmentBytes` what the node was told to make segments of. */
export function regionOf(
  only: FileClass | undefined,
  path: string,
  fileBytes: number,
  segmentBytes: number,
): Region | undefined {
  const whole = { from: 0, to: fileBytes, isOpen: true };
  if (only === undefined) return whole;
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (name.includes("snap-")) return only === "snapshots" ? whole : undefined;
  if (name === "watermark") return only === "watermark" ? whole : undefined;
  if (!name.startsWith("seg-") || only === "snapshots") return undefined;
  const end = Math.max(0, fileBytes - slotsBytes(segmentBytes));
  if (only === "segments") return { from: 0, to: end, isOpen: false };
  return { from: end, to: fileBytes, isOpen: true };
}

/** Which class of files a lost name belongs to: slots go with their segment. */
export function fileClassOf(path: string): FileClass | undefined {
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (name.startsWith("seg-")) return "segments";
  if (name === "watermark") return "watermark";
  return name.includes("snap-") ? "snapshots" : undefined;
}

export interface DiskEffect {
  readonly kind: DiskFault;
  /** Chance for each operation. */
  readonly rate: number;
  /** diskSlow: how many times as slow; elsewhere unused. */
  readonly amount: number;
  readonly untilUs: number;
  /** Absent: every file. */
  readonly only?: FileClass;
  readonly random: Prng;
  readonly fire: () => void;
  /** diskTorn: the power goes in the middle of the write. */
  readonly onTorn?: () => void;
}

/** Whether the effect changes how this operation ends; draws its chance. */
export function isAnswered(effect: DiskEffect, op: DiskOp, region: Region | undefined): boolean {
  switch (effect.kind) {
    case "diskSlow":
    case "diskHung":
    case "diskEnospc":
    case "diskLostDirectoryEntry":
      return false;
    case "diskEio":
      return effect.random.chance(effect.rate);
    case "diskLyingFsync":
      return op.kind === "sync" && region !== undefined && effect.random.chance(effect.rate);
    case "diskCorruptRead":
      if (op.kind !== "read" || region === undefined) return false;
      if (op.offset >= region.to || op.offset + op.length <= region.from) return false;
      return effect.random.chance(effect.rate);
    case "diskTorn":
    case "diskLost":
    case "diskMisdirected":
    case "diskCorruptWrite":
      if (op.kind !== "write" || op.data.length === 0 || region === undefined) return false;
      if (!isWithin(op.offset, region)) return false;
      return effect.random.chance(effect.rate);
    default:
      return effect.kind satisfies never;
  }
}

export function isWithin(offset: number, { from, to, isOpen }: Region): boolean {
  return offset >= from && (offset < to || isOpen);
}

/** A copy with one bit of [from, to) changed. */
export function flipBit(
  bytes: Uint8Array,
  random: Prng,
  from = 0,
  to = bytes.length,
): Uint8Array<ArrayBuffer> {
  const flipped = bytes.slice();
  const at = random.between(Math.max(0, from), Math.min(bytes.length, to) - 1);
  flipped[at] = (flipped[at] ?? 0) ^ (1 << random.below(8));
  return flipped;
}

type WriteOp = Extract<DiskOp, { readonly kind: "write" }>;

/** The same write at another sector of the region, as far as it has one. */
export function misdirected(op: WriteOp, { from, to }: Region, random: Prng): WriteOp {
  const room = Math.floor((to - from - op.data.length) / SECTOR_BYTES);
  if (room <= 0) return { ...op, data: new Uint8Array(op.data.length) };
  return { ...op, offset: from + random.below(room + 1) * SECTOR_BYTES };
}
