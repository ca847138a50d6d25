/** What disks do wrong, and which files a fault may touch. */

import type { DiskOp, Prng } from "@blixard/std";
import { SECTOR_BYTES } from "../limits.ts";
import type { FaultKind } from "../plan.ts";

export type DiskFault = Extract<FaultKind, `disk${string}`>;

/**
 * Files by what they hold. A medium that fails takes one class of a machine at most: the log keeps
 * each acknowledged batch in its segment and in the watermark's mirror, and a state in two
 * snapshots or in the log. Losing both copies at once, consistently, is what no log can notice.
 */
export const FILE_CLASSES = ["segments", "watermark", "snapshots"] as const;
export type FileClass = (typeof FILE_CLASSES)[number];

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
export function isAnswered(effect: DiskEffect, op: DiskOp): boolean {
  switch (effect.kind) {
    case "diskSlow":
    case "diskHung":
    case "diskEnospc":
    case "diskLostDirectoryEntry":
      return false;
    case "diskEio":
      return effect.random.chance(effect.rate);
    case "diskLyingFsync":
      return op.kind === "sync" && isHit(effect, op.path);
    case "diskCorruptRead":
      return op.kind === "read" && isHit(effect, op.path);
    case "diskTorn":
    case "diskLost":
    case "diskMisdirected":
    case "diskCorruptWrite":
      return op.kind === "write" && op.data.length > 0 && isHit(effect, op.path);
    default:
      return effect.kind satisfies never;
  }
}

function isHit(effect: DiskEffect, path: string): boolean {
  if (effect.only !== undefined && fileClassOf(path) !== effect.only) return false;
  return effect.random.chance(effect.rate);
}

/** A copy with one bit changed. */
export function flipBit(bytes: Uint8Array, random: Prng): Uint8Array {
  const flipped = bytes.slice();
  const at = random.below(flipped.length);
  flipped[at] = (flipped[at] ?? 0) ^ (1 << random.below(8));
  return flipped;
}

type WriteOp = Extract<DiskOp, { readonly kind: "write" }>;

/** The same write at another sector of the file, as far as it has one. */
export function misdirected(op: WriteOp, sizeBytes: number, random: Prng): WriteOp {
  const room = Math.floor((sizeBytes - op.data.length) / SECTOR_BYTES);
  if (room <= 0) return { ...op, data: new Uint8Array(op.data.length) };
  return { ...op, offset: random.below(room + 1) * SECTOR_BYTES };
}
