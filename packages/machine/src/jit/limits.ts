/** Bounds of the compiler, and what they are chosen for. */

import { assert } from "@blixard/std";
import { REGION_NUMBERS, REGION_PAGES_MAX } from "../memory/layout.ts";
import { ADJUST_BITS } from "./emit/context.ts";

/** How large a region may become. */
export interface RegionSize {
  readonly instructionsMax: number;
  readonly inlineDepthMax: number;
  readonly pagesMax: number;
}

export interface JitLimits {
  /** Executions of a place by the interpreter before a region is made there. */
  readonly threshold: number;
  /** Of a region that has just become hot. */
  readonly first: RegionSize;
  /** Of the same, made anew, when budgets kept ending in it. */
  readonly again: RegionSize;
  /** Budgets that ended in a region before it is made anew. */
  readonly samples: number;
  /** Regions that are put into one module, and instructions after which fewer have to do. */
  readonly batch: number;
  readonly batchInstructions: number;
  /** Regions may begin at every instruction, and not only where a jump leads: for tests. */
  readonly everywhere: boolean;
  /** Regions that exist at once, and bytes of WebAssembly that were made for them: beyond, all are given up. */
  readonly regionsMax: number;
  readonly bytesMax: number;
}

export const JIT_LIMITS: JitLimits = {
  threshold: 8000,
  first: { instructionsMax: 100, inlineDepthMax: 2, pagesMax: 3 },
  again: { instructionsMax: 300, inlineDepthMax: 4, pagesMax: 6 },
  samples: 3,
  batch: 64,
  batchInstructions: 1_000_000,
  everywhere: false,
  regionsMax: 8192,
  bytesMax: 16 << 20,
};

/** Regions that are kept for other machines, and bytes of all of them. */
export const STORED_REGIONS_MAX = 4096;
export const STORED_BYTES_MAX = 4 << 20;
/**
 * A place at which a stored region may begin is looked at when it is executed first. Pages that the region needs
 * may not be known yet: then again after so many executions, each time more, so often.
 */
export const HINT_EXECUTIONS = 16;
export const HINT_TRIES = 4;

/** Entry of the table that is called for no region. */
export const FIRST_SLOT = 1;
/** A place's count when its region is being made, or cannot be made. */
export const NOT_AGAIN = 0x4000_0000;

export function checkLimits(limits: JitLimits): void {
  assert(limits.threshold >= 1 && limits.threshold < NOT_AGAIN, "threshold");
  for (const { instructionsMax, inlineDepthMax, pagesMax } of [limits.first, limits.again]) {
    assert(instructionsMax >= 1 && instructionsMax < 2 ** ADJUST_BITS, "region's size");
    assert(pagesMax >= 1 && pagesMax <= REGION_PAGES_MAX, "a region's pages");
    assert(inlineDepthMax >= 0, "depth");
  }
  assert(limits.samples >= 1 && limits.batch >= 1, "samples and batch");
  assert(limits.regionsMax >= 1 && limits.bytesMax >= 1, "cache");
  const numbers = FIRST_SLOT + STORED_REGIONS_MAX + limits.regionsMax;
  assert(numbers <= REGION_NUMBERS, "numbers of regions");
}
