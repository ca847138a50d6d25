/** What the emitters of one region share. */

import type { LocalPool } from "../../interp/context.ts";
import { assert } from "@blixard/std";
import type { Layout } from "../../memory/layout.ts";
import { BASES_SHIFT, STATE } from "../../memory/layout.ts";
import type { Code, Label } from "../../wasm/code.ts";
import type { ValueType } from "../../wasm/code.ts";
import type { RegionPage } from "../analyse/graph.ts";
import type { Forms } from "./forms.ts";

/**
 * Type of a region: (left, virtual address of its page) -> LEFT_BY. It has stored pc and the budget that is
 * left, and every register that it changed.
 */
export const REGION_TYPE = { parameters: ["i32", "i64"], results: ["i32"] } as const satisfies {
  parameters: readonly ValueType[];
  results: readonly ValueType[];
};

/** Why a region returned. From all but the first, the interpreter performs the next instruction itself. */
export const LEFT_BY = {
  /** Execution goes on where no region is known. */
  jump: 0,
  budget: 1,
  /** A TLB miss, a device, code that is written, a misaligned access. */
  memory: 2,
  /** The host's floating point does not decide result and flags. */
  float: 3,
  /** An instruction that regions do not hold. */
  instruction: 4,
  /** What the region takes for granted does not hold: floating point on, rounding to nearest, privilege. */
  refused: 5,
} as const;
export const LEFT_BY_COUNT = 6;

/** Bits of the adjustment of the budget; the reason stands above them. */
export const ADJUST_BITS = 16;

export interface RegionLocals {
  readonly left: number;
  readonly base: number;
  /** Delta of the instruction at which the region is left. */
  readonly at: number;
  /** What of the block's instructions was not begun, and the reason << ADJUST_BITS. */
  readonly adjust: number;
  /** Where to go on outside. */
  readonly target: number;
  readonly selector: number;
  /** NX of fflags. */
  readonly inexact: number;
  /** The region's number in the table. */
  readonly number: number;
}

export interface RegionContext {
  readonly code: Code;
  readonly layout: Layout;
  readonly pool: LocalPool;
  readonly locals: RegionLocals;
  /** Local of a register by its number (0..31 x, 32..63 f). */
  register(number: number): number;
  /** The i32 local of an integer register. */
  word(number: number): number;
  readonly functions: { readonly fma32: number; readonly fma64: number };
  readonly privilege: number;
  /** NX of fflags is set whenever the region runs. */
  readonly inexactSet: boolean;
  /** Relaxed multiply-adds round once. */
  readonly fused: boolean;
  readonly pages: readonly RegionPage[];
  readonly labels: { readonly side: Label; readonly jump: Label };
}

/** Leaves the region with the instruction at `delta` not begun; so are `undone` of its block. */
export function emitSideExit(
  c: RegionContext,
  forms: Forms,
  delta: number,
  undone: number,
  by: number,
): void {
  const { code, locals } = c;
  forms.settle();
  code.i32(delta).set(locals.at);
  code.i32(undone | (by << ADJUST_BITS)).set(locals.adjust);
  code.br(c.labels.side);
}

/**
 * In code that leaves because of the budget: says which region it was. Only where a region is entered: one that
 * is entered so often that budgets end there wants to be larger, one that loops is large enough.
 */
export function emitSample(c: RegionContext): void {
  c.code.i32(0).get(c.locals.number).memory("i32.store", STATE.region);
}

/**
 * Pushes the address of the operations of a page of the region. It is kept beside the region: in another
 * machine's memory, or another run, the same code has its operations elsewhere.
 */
export function pushPageBase(c: RegionContext, start: number): void {
  const position = c.pages.findIndex(({ delta }) => delta === start);
  assert(position >= 0, "a page of the region");
  c.code.get(c.locals.number).i32(BASES_SHIFT).op("i32.shl");
  c.code.memory("i32.load", c.layout.basesAt + 4 * position);
}

/** Pushes the virtual address of a place in the region. */
export function pushAddress(c: RegionContext, delta: number): void {
  c.code.get(c.locals.base);
  if (delta !== 0) c.code.i64(delta).op("i64.add");
}
