/** Bounds of the compiler, and what they are chosen for. */

import { assert } from "@blixard/std";
import { ADJUST_BITS } from "./emit/context.ts";

export interface JitLimits {
  /** Executions of a place by the interpreter before a region is made there. */
  readonly threshold: number;
  readonly instructionsMax: number;
  readonly inlineDepthMax: number;
  readonly pagesMax: number;
  /** Regions that are put into one module. */
  readonly batch: number;
  /** Regions may begin at every instruction, and not only where a jump leads: for tests. */
  readonly everywhere: boolean;
  /** Regions that exist at once: beyond, all are given up. */
  readonly regionsMax: number;
}

export const JIT_LIMITS: JitLimits = {
  threshold: 500,
  instructionsMax: 300,
  inlineDepthMax: 4,
  pagesMax: 6,
  batch: 8,
  everywhere: false,
  regionsMax: 16_384,
};

/** Entry of the table that is called for no region. */
export const FIRST_SLOT = 1;
/** A place's count when its region is being made, or cannot be made. */
export const NOT_AGAIN = 0x4000_0000;

export function checkLimits(limits: JitLimits): void {
  assert(limits.threshold >= 1 && limits.threshold < NOT_AGAIN, "threshold");
  assert(limits.instructionsMax >= 1 && limits.instructionsMax < 2 ** ADJUST_BITS, "region's size");
  assert(limits.pagesMax >= 1 && limits.inlineDepthMax >= 0, "pages and depth");
  assert(limits.batch >= 1 && limits.regionsMax >= 1, "batch and cache");
}
