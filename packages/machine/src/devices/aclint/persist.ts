/** Saved form of the core-local timer and software interrupts. */

import { openSaved, type SavedHeader } from "../saved.ts";

export interface AclintState {
  /** By hart. */
  readonly compare: bigint[];
  readonly software: number[];
  /** mtime minus the ticks since power-on, modulo 2^64: what writes to mtime changed. */
  timeOffset: bigint;
}

export interface SavedAclint extends SavedHeader {
  readonly harts: readonly { readonly compare: bigint; readonly software: number }[];
  readonly timeOffset: bigint;
}

const KIND = "aclint";
const VERSION = 1;
/** The specification leaves mtimecmp undefined at reset; this value never fires. */
const NEVER = 0xffff_ffff_ffff_ffffn;

export function freshAclint(harts: number): AclintState {
  return {
    compare: Array.from({ length: harts }, () => NEVER),
    software: Array.from({ length: harts }, () => 0),
    timeOffset: 0n,
  };
}

export function saveAclint(state: AclintState): SavedAclint {
  return {
    device: KIND,
    version: VERSION,
    harts: state.compare.map((compare, hart) => ({
      compare,
      software: state.software[hart] ?? 0,
    })),
    timeOffset: state.timeOffset,
  };
}

/** Throws `Corrupt`. */
export function loadAclint(saved: unknown, harts: number): AclintState {
  const fields = openSaved(saved, KIND, VERSION);
  const fresh = freshAclint(harts);
  fields
    .list("harts", harts, (item) => ({
      compare: item.u64("compare"),
      software: item.uint("software", 1),
    }))
    .forEach((hart, index) => {
      fresh.compare[index] = hart.compare;
      fresh.software[index] = hart.software;
    });
  fresh.timeOffset = fields.u64("timeOffset");
  return fresh;
}
