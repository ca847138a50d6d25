/** Guest programs for the compiler's tests: a tiny assembler, and a machine that runs them from the start of RAM. */

import { assert } from "@blixard/std";
import { RAM_BASE } from "../../limits.ts";
import { Machine, type MachineOptions } from "../../machine.ts";
import { JIT_LIMITS, type JitLimits } from "../limits.ts";

const r = (f7: number, rs2: number, rs1: number, f3: number, rd: number, opcode: number): number =>
  (f7 << 25) | (rs2 << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | opcode;
const i = (imm: number, rs1: number, f3: number, rd: number, opcode: number): number =>
  ((imm & 0xfff) << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | opcode;
const s = (imm: number, rs2: number, rs1: number, f3: number, opcode: number): number =>
  r((imm >> 5) & 127, rs2, rs1, f3, imm & 31, opcode);
const b = (f3: number, rs1: number, rs2: number, imm: number): number =>
  (((imm >> 12) & 1) << 31) |
  (((imm >> 5) & 63) << 25) |
  (rs2 << 20) |
  (rs1 << 15) |
  (f3 << 12) |
  (((imm >> 1) & 15) << 8) |
  (((imm >> 11) & 1) << 7) |
  0x63;

/** Encodings; immediates of branches and jumps are distances in bytes. */
export const asm = {
  addi: (rd: number, rs1: number, imm: number): number => i(imm, rs1, 0, rd, 0x13),
  andi: (rd: number, rs1: number, imm: number): number => i(imm, rs1, 7, rd, 0x13),
  slli: (rd: number, rs1: number, n: number): number => i(n, rs1, 1, rd, 0x13),
  addw: (rd: number, rs1: number, rs2: number): number => r(0, rs2, rs1, 0, rd, 0x3b),
  sllw: (rd: number, rs1: number, rs2: number): number => r(0, rs2, rs1, 1, rd, 0x3b),
  xor: (rd: number, rs1: number, rs2: number): number => r(0, rs2, rs1, 4, rd, 0x33),
  add: (rd: number, rs1: number, rs2: number): number => r(0, rs2, rs1, 0, rd, 0x33),
  mulhsu: (rd: number, rs1: number, rs2: number): number => r(1, rs2, rs1, 2, rd, 0x33),
  lui: (rd: number, upper: number): number => (upper << 12) | (rd << 7) | 0x37,
  auipc: (rd: number, upper: number): number => (upper << 12) | (rd << 7) | 0x17,
  lw: (rd: number, rs1: number, imm: number): number => i(imm, rs1, 2, rd, 0x03),
  ld: (rd: number, rs1: number, imm: number): number => i(imm, rs1, 3, rd, 0x03),
  sw: (rs2: number, rs1: number, imm: number): number => s(imm, rs2, rs1, 2, 0x23),
  sd: (rs2: number, rs1: number, imm: number): number => s(imm, rs2, rs1, 3, 0x23),
  beq: (rs1: number, rs2: number, imm: number): number => b(0, rs1, rs2, imm),
  bne: (rs1: number, rs2: number, imm: number): number => b(1, rs1, rs2, imm),
  jal: (rd: number, imm: number): number =>
    (((imm >> 20) & 1) << 31) |
    (((imm >> 1) & 1023) << 21) |
    (((imm >> 11) & 1) << 20) |
    (((imm >> 12) & 255) << 12) |
    (rd << 7) |
    0x6f,
  jalr: (rd: number, rs1: number, imm = 0): number => i(imm, rs1, 0, rd, 0x67),
  csrrw: (rd: number, csr: number, rs1: number): number => i(csr, rs1, 1, rd, 0x73),
  csrrs: (rd: number, csr: number, rs1: number): number => i(csr, rs1, 2, rd, 0x73),
  csrrsi: (rd: number, csr: number, bits: number): number => i(csr, bits, 6, rd, 0x73),
  csrrci: (rd: number, csr: number, bits: number): number => i(csr, bits, 7, rd, 0x73),
  fld: (rd: number, rs1: number, imm: number): number => i(imm, rs1, 3, rd, 0x07),
  fsd: (rs2: number, rs1: number, imm: number): number => s(imm, rs2, rs1, 3, 0x27),
  fdivD: (rd: number, rs1: number, rs2: number): number => r(0x0d, rs2, rs1, 0, rd, 0x53),
  fmaddD: (rd: number, rs1: number, rs2: number, rs3: number): number =>
    r((rs3 << 2) | 1, rs2, rs1, 0, rd, 0x43),
  fcvtDL: (rd: number, rs1: number): number => r(0x69, 2, rs1, 0, rd, 0x53),
  amoaddD: (rd: number, rs1: number, rs2: number): number => r(0, rs2, rs1, 3, rd, 0x2f),
  ecall: 0x73,
} as const;

/** Regions as soon as a place is executed a second time, and each in a module of its own. */
export const EAGER: JitLimits = { ...JIT_LIMITS, threshold: 2, batch: 1 };

export interface Program {
  /** Instructions by address. */
  readonly at: ReadonlyMap<number, readonly number[]>;
  readonly pc?: number;
}

export function machineOf(program: Program, jit: MachineOptions["jit"]): Machine {
  const machine = new Machine({
    ramBytes: 2 << 20,
    harts: 1,
    timeMode: { kind: "virtual" },
    ...(jit !== undefined && { jit }),
  });
  for (const [address, words] of program.at) {
    const bytes = new Uint8Array(Uint32Array.from(words, (word) => word >>> 0).buffer);
    assert(machine.memory.write(address, bytes), "the program lies in RAM");
  }
  machine.setBoot({ pc: BigInt(program.pc ?? RAM_BASE), a0: 0n, a1: 0n });
  return machine;
}
