/** Numbers of handlers: which (instruction, length, near or far) each entry of the dispatch table stands for. */

import { present } from "@blixard/std";
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

const keyOf = (handler: Handler): number =>
  handler.index * 4 + (handler.length === 2 ? 2 : 0) + (handler.near ? 1 : 0);
const NUMBERS = new Map(HANDLERS.map((handler, at) => [keyOf(handler), handlerNumber(at)]));

/** The dispatch number of an instruction; `near` only matters to relative branches and jumps. */
export function handlerOf(index: number, length: 2 | 4, near: boolean): number {
  const { exit } = present(INSTRUCTIONS[index], "instruction").block;
  const relative = exit.kind === "branch" || exit.kind === "jumpRelative";
  return present(NUMBERS.get(keyOf({ index, length, near: relative && near })), "handler");
}
