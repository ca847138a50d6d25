/** Which guest registers a region reads and writes: those it keeps in locals. */

import type { RegisterRef } from "../../ir/types.ts";
import type { Block, RegionInstruction } from "./graph.ts";

/** Bits: x0..x31 are 0..31, f0..f31 are 32..63. */
export type RegisterSet = bigint;

const FLOAT_FIRST = 32;

/** Number of a register in a set; undefined for a scalar of the hart and for x0. */
export function registerNumber(
  ref: RegisterRef,
  { fields }: RegionInstruction,
): number | undefined {
  if (ref.bank === "state") return undefined;
  const number = fields[ref.field];
  if (ref.bank === "f") return FLOAT_FIRST + number;
  return number === 0 ? undefined : number;
}

export function members(set: RegisterSet): readonly number[] {
  const found: number[] = [];
  for (let n = 0; n < 64; n++) if (((set >> BigInt(n)) & 1n) === 1n) found.push(n);
  return found;
}

export interface RegisterUse {
  /** Needed in locals from the start: read before they are written, or perhaps not written at an exit. */
  readonly loaded: RegisterSet;
  readonly written: RegisterSet;
}

interface BlockUse {
  read: RegisterSet;
  written: RegisterSet;
}

function useOf(block: Block): BlockUse {
  const use: BlockUse = { read: 0n, written: 0n };
  for (const instruction of block.instructions) {
    const { ops } = instruction.instruction.block;
    let written = 0n;
    for (const op of ops) {
      if (op.op !== "get" && op.op !== "set") continue;
      const number = registerNumber(op.reg, instruction);
      if (number === undefined) continue;
      const bit = 1n << BigInt(number);
      if (op.op === "set") written |= bit;
      else if ((use.written & bit) === 0n) use.read |= bit;
    }
    use.written |= written;
  }
  return use;
}

/** All exits store all registers that the region writes, so all of those are loaded at its entry. */
export function registerUse(blocks: readonly Block[]): RegisterUse {
  let read = 0n;
  let written = 0n;
  for (const block of blocks) {
    const use = useOf(block);
    read |= use.read;
    written |= use.written;
  }
  return { loaded: read | written, written };
}
