import assert from "node:assert/strict";
import { test } from "node:test";
import { decode, INSTRUCTIONS } from "./decode.ts";

const KNOWN: readonly (readonly [number, string, Record<string, number>])[] = [
  [0x00b50533, "add", { rd: 10, rs1: 10, rs2: 11 }],
  [0xfe010113, "addi", { rd: 2, rs1: 2, imm: -32 }],
  [0x00813823, "sd", { rs1: 2, rs2: 8, imm: 16 }],
  [0xfec42783, "lw", { rd: 15, rs1: 8, imm: -20 }],
  [0xfe0718e3, "bne", { rs1: 14, rs2: 0, imm: -16 }],
  [0x12345537, "lui", { rd: 10, imm: 0x12345000 }],
  [0x0000006f, "jal", { rd: 0, imm: 0 }],
  [0xff9ff0ef, "jal", { rd: 1, imm: -8 }],
  [0x00008067, "jalr", { rd: 0, rs1: 1, imm: 0 }],
  [0x4025d513, "srai", { rd: 10, rs1: 11, imm: 2 }],
  [0x02b50533, "mul", {}],
  [0x02b5553b, "divuw", {}],
  [0x100527af, "lr.w", { rd: 15, rs1: 10 }],
  [0x18e5272f, "sc.w", { rd: 14, rs1: 10, rs2: 14 }],
  [0x00b5302f, "amoadd.d", { rd: 0 }],
  [0x180517f3, "csrrw", { rd: 15, rs1: 10, imm: 0x180 }],
  [0x10016073, "csrrsi", { rd: 0, imm: 0x100, aux: 2 }],
  [0x12050073, "sfence.vma", { rs1: 10, rs2: 0 }],
  [0x10500073, "wfi", {}],
  [0x10200073, "sret", {}],
  [0x0ff0000f, "fence", {}],
  [0x0000100f, "fence.i", {}],
  [0x0045200f, "cbo.zero", { rs1: 10 }],
  [0x60051513, "clz", { rd: 10, rs1: 10 }],
  [0x20b52533, "sh1add", {}],
  [0x6b855513, "rev8", {}],
  [0x28755513, "orc.b", {}],
  [0x48b51533, "bclr", {}],
  [0x02b57553, "fadd.d", { aux: 7 }],
  [0x00b50553, "fadd.s", { aux: 0 }],
  [0xc2051553, "fcvt.w.d", { aux: 1 }],
  [0x42050553, "fcvt.d.s", {}],
  [0xe2050553, "fmv.x.d", {}],
  [0x6ab576c3, "fmadd.d", { rs3: 13 }],
  // Compressed forms, as the assembler writes them.
  [0x1141, "addi", { rd: 2, rs1: 2, imm: -16 }],
  [0x7179, "addi", { rd: 2, rs1: 2, imm: -48 }],
  [0xe406, "sd", { rs1: 2, rs2: 1, imm: 8 }],
  [0x60a2, "ld", { rd: 1, rs1: 2, imm: 8 }],
  [0x8082, "jalr", { rd: 0, rs1: 1, imm: 0 }],
  [0x4501, "addi", { rd: 10, rs1: 0, imm: 0 }],
  [0x0001, "addi", { rd: 0, rs1: 0, imm: 0 }],
  [0x852e, "add", { rd: 10, rs1: 0, rs2: 11 }],
  [0x952e, "add", { rd: 10, rs1: 10, rs2: 11 }],
  [0xa001, "jal", { rd: 0, imm: 0 }],
  [0xbfd5, "jal", { rd: 0, imm: -12 }],
  [0xc101, "beq", { rs1: 10, rs2: 0, imm: 0 }],
  [0xfd75, "bne", { rs1: 10, rs2: 0, imm: -4 }],
  [0x0808, "addi", { rd: 10, rs1: 2, imm: 16 }],
  [0x2501, "addiw", { rd: 10, rs1: 10, imm: 0 }],
  [0x6505, "lui", { rd: 10, imm: 0x1000 }],
  [0x050e, "slli", { rd: 10, imm: 3 }],
  [0x8d0d, "sub", { rd: 10, rs2: 11 }],
  [0x9002, "ebreak", {}],
  [0x2108, "fld", { rd: 10, rs1: 10 }],
];

test("known encodings decode to their instruction and operands", () => {
  for (const [bits, name, fields] of KNOWN) {
    const decoded = decode(bits);
    assert.equal(decoded?.instruction.name, name, bits.toString(16));
    const found: Readonly<Record<string, number>> = { ...decoded?.fields };
    for (const [field, value] of Object.entries(fields)) {
      const actual = found[field];
      assert.equal(actual, value, `${name}.${field} of ${bits.toString(16)}`);
    }
    assert.equal(decoded?.length, (bits & 3) === 3 ? 4 : 2);
  }
});

test("reserved and unknown encodings are illegal", () => {
  const illegal = [
    0x0000,
    0x0004,
    0x8000,
    0x9c41,
    0x2001,
    0x6101,
    0x8002,
    0x4002,
    0x6002,
    0xffffffff,
    0x0000007f,
    // slliw with a shift of 32; mret; uret; ld of a size that does not exist; fmt of half precision.
    0x0205151b,
    0x30200073,
    0x00200073,
    0x00057503 | 0x4000,
    0x04b57553,
    0x12050173,
  ];
  for (const bits of illegal) assert.equal(decode(bits), undefined, bits.toString(16));
});

test("every row matches its own encoding, with operands all ones too", () => {
  for (const [index, row] of INSTRUCTIONS.entries()) {
    assert.equal(decode(row.match)?.index, index, row.name);
    assert.equal(decode(row.match | ~row.mask)?.index, index, row.name);
  }
});
