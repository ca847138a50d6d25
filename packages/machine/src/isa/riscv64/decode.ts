/** The decode table of riscv64 and the lookup in it. */

import { assert, present } from "@blixard/std";
import { ATOMIC, BASE, MULTIPLY, SYSTEM } from "./base.ts";
import { BITMANIP } from "./bitmanip.ts";
import { expandCompressed } from "./compressed.ts";
import type { Fields, Instruction } from "./encoding.ts";
import { fieldsOf } from "./encoding.ts";
import { FLOAT } from "./float.ts";

/** Every instruction this processor knows. An encoding that matches no row is illegal. */
export const INSTRUCTIONS: readonly Instruction[] = [
  ...BASE,
  ...MULTIPLY,
  ...ATOMIC,
  ...SYSTEM,
  ...BITMANIP,
  ...FLOAT,
];

export interface Decoded {
  /** Position in INSTRUCTIONS. */
  readonly index: number;
  readonly instruction: Instruction;
  readonly fields: Fields;
  readonly length: 2 | 4;
}

/** Major opcode (bits 6..2) and funct3, as far as both are fixed, to the rows that can match. */
const BUCKETS: readonly (readonly number[])[] = Array.from({ length: 256 }, (_, key) => {
  const bits = ((key >> 3) << 2) | 3 | ((key & 7) << 12);
  return INSTRUCTIONS.flatMap((row, index) =>
    ((bits ^ row.match) & row.mask & 0x707f) === 0 ? [index] : [],
  );
});

for (const [position, row] of INSTRUCTIONS.entries()) {
  assert((row.match & ~row.mask) === 0, `${row.name}: match outside its mask`);
  for (const other of INSTRUCTIONS.slice(0, position)) {
    const overlap = ((row.match ^ other.match) & row.mask & other.mask) === 0;
    assert(!overlap, `${row.name} and ${other.name} overlap`);
  }
}

/** Length in bytes of the instruction that starts with these 16 bits. */
export const lengthOf = (low: number): 2 | 4 => ((low & 3) === 3 ? 4 : 2);

/** Position in INSTRUCTIONS of a 32-bit encoding; -1 if illegal. */
export function lookup(bits: number): number {
  if ((bits & 3) !== 3) return -1;
  const bucket = BUCKETS[((bits >>> 2) & 31) * 8 + ((bits >>> 12) & 7)] ?? [];
  for (const index of bucket) {
    const row = INSTRUCTIONS[index];
    if (row !== undefined && (bits & row.mask) === row.match) return index;
  }
  return -1;
}

/** Decodes 16 bits (compressed) or 32; undefined is an illegal instruction. */
export function decode(bits: number): Decoded | undefined {
  const length = lengthOf(bits);
  const wide = length === 2 ? expandCompressed(bits & 0xffff) : bits;
  if (wide === undefined) return undefined;
  const index = lookup(wide);
  if (index < 0) return undefined;
  const instruction = present(INSTRUCTIONS[index], "instruction");
  return { index, instruction, fields: fieldsOf(instruction.format, wide), length };
}
