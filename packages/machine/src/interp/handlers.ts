/** Numbers of handlers: which (instruction, length, near or far) each entry of the dispatch table stands for. */

import { assert } from "@blixard/std";
import { INSTRUCTIONS } from "../isa/riscv64/decode.ts";
import type { Variant } from "./emit.ts";

/** Handlers that are no instruction. An operation that is all zeros is `undecoded`. */
export const SPECIAL = { undecoded: 0, pageEnd: 1, illegal: 2, straddle: 3 } as const;
const FIRST = 4;

export interface Handler extends Variant {
  /** Position in INSTRUCTIONS. */
  readonly index: number;
}

/** What compressed encodings expand to; the others need no handler for a length of two. */
const COMPRESSED = new Set(
  (
    "addi fld lw ld fsd sw sd addiw lui srli srai andi sub xor or and subw addw jal beq bne slli jalr " +
    "ebreak add"
  ).split(" "),
);

function build(): readonly Handler[] {
  const handlers: Handler[] = [];
  for (const [index, { name, block }] of INSTRUCTIONS.entries()) {
    const relative = block.exit.kind === "branch" || block.exit.kind === "jumpRelative";
    const lengths: readonly (2 | 4)[] = COMPRESSED.has(name) ? [4, 2] : [4];
    for (const length of lengths) {
      handlers.push({ index, length, near: relative });
      if (relative) handlers.push({ index, length, near: false });
    }
  }
  return handlers;
}

/** In dispatch order, after the special ones. */
export const HANDLERS: readonly Handler[] = build();
export const handlerNumber = (position: number): number => position + FIRST;
export const HANDLER_COUNT = HANDLERS.length + FIRST;

const keyOf = (index: number, length: 2 | 4, near: boolean): number =>
  index * 4 + (length === 2 ? 2 : 0) + (near ? 1 : 0);
/** 0: there is none. */
const NUMBERS = new Uint16Array(4 * INSTRUCTIONS.length);
for (const [at, { index, length, near }] of HANDLERS.entries()) {
  NUMBERS[keyOf(index, length, near)] = handlerNumber(at);
}

/** The dispatch number of an instruction; `near` only matters to relative branches and jumps. */
export function handlerOf(index: number, length: 2 | 4, near: boolean): number {
  // Only relative ones have a near handler.
  const number = near ? (NUMBERS[keyOf(index, length, true)] ?? 0) : 0;
  const found = number === 0 ? (NUMBERS[keyOf(index, length, false)] ?? 0) : number;
  assert(found !== 0, "an instruction's handler");
  return found;
}
