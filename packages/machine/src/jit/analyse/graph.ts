/**
 * What a region is before it becomes WebAssembly: blocks of decoded instructions and how they follow each
 * other. Places are given as deltas, in bytes from the virtual start of the page in which the region begins,
 * so that a region holds for every address at which its pages are mapped.
 */

import { unreachable } from "@blixard/std";
import type { Decoded } from "../../isa/riscv64/decode.ts";
import { PAGE_BYTES } from "../../limits.ts";

export interface RegionInstruction extends Decoded {
  readonly delta: number;
}

/** Its second half lies in the next page. */
export const straddles = ({ delta, length }: RegionInstruction): boolean =>
  pageDelta(delta) !== pageDelta(delta + length - 1);

export type Target =
  /** With a selector the block is a dispatch block. */
  | { readonly kind: "block"; readonly block: Block; readonly selector?: number }
  /** Out of the region, to this delta. */
  | { readonly kind: "exit"; readonly delta: number };

export type End =
  | { readonly kind: "goto"; readonly to: Target }
  /** The block's last instruction decides. */
  | { readonly kind: "branch"; readonly yes: Target; readonly no: Target }
  /** The last instruction goes to an address in a register, likely to that of `expected`. */
  | { readonly kind: "indirect"; readonly expected: Target | undefined }
  /** The instruction at `delta`, which is no part of the block, is the interpreter's. */
  | { readonly kind: "stop"; readonly delta: number }
  /** Made for irreducible loops: goes to the target whose number is in the selector. */
  | { readonly kind: "dispatch"; readonly targets: readonly Target[] };

export interface Block {
  /** Delta of the first instruction. */
  readonly start: number;
  instructions: RegionInstruction[];
  end: End;
  /** Position in reverse postorder. */
  order: number;
  /** A cycle comes back here: the budget is looked at. */
  check: boolean;
  /** Most instructions from here to the next look at the budget. */
  longest: number;
}

/** One page that a region lies in. */
export interface RegionPage {
  /** Virtual distance from the page in which the region begins. */
  readonly delta: number;
  /** Guest page number. */
  readonly page: number;
  /** Address of its predecoded operations. */
  readonly base: number;
}

export const pageDelta = (delta: number): number => Math.floor(delta / PAGE_BYTES) * PAGE_BYTES;

export function makeBlock(start: number): Block {
  const end: End = { kind: "stop", delta: start };
  return { start, instructions: [], end, order: -1, check: false, longest: 0 };
}

/** Blocks that may follow, in the order in which they are laid out. */
export function successors(block: Block): readonly Block[] {
  const { end } = block;
  const inside = (...targets: readonly (Target | undefined)[]): Block[] =>
    targets.flatMap((target) => (target?.kind === "block" ? [target.block] : []));
  switch (end.kind) {
    case "goto":
      return inside(end.to);
    case "branch":
      return inside(end.yes, end.no);
    case "indirect":
      return inside(end.expected);
    case "stop":
      return [];
    case "dispatch":
      return inside(...end.targets);
    default:
      return unreachable(end);
  }
}

/** Sends every edge of `block` that `redirect` answers for elsewhere. */
export function redirect(block: Block, to: (from: Block) => Target | undefined): void {
  const { end } = block;
  const map = (target: Target): Target =>
    target.kind === "block" ? (to(target.block) ?? target) : target;
  switch (end.kind) {
    case "goto":
      block.end = { kind: "goto", to: map(end.to) };
      return;
    case "branch":
      block.end = { kind: "branch", yes: map(end.yes), no: map(end.no) };
      return;
    case "indirect":
      if (end.expected !== undefined) block.end = { kind: "indirect", expected: map(end.expected) };
      return;
    case "dispatch":
      block.end = { kind: "dispatch", targets: end.targets.map(map) };
      return;
    case "stop":
  }
}
