/** Zba, Zbb, Zbs. */

import type { Builder } from "../../ir/builder.ts";
import type { BinaryFn, CompareFn, UnaryFn, Value } from "../../ir/types.ts";
import type { Extension, Instruction } from "./encoding.ts";
import { byF7, byRs2, row, shiftRow } from "./encoding.ts";
import { word } from "./base.ts";

const lowWord = (b: Builder, value: Value): Value =>
  b.convert("extend_u", b.convert("wrap", value));

function binary(
  name: string,
  extension: Extension,
  f3: number,
  f7: number,
  compute: (b: Builder, a: Value, c: Value) => Value,
): Instruction {
  return byF7(name, extension, 0x33, f3, f7, (b) => b.setX(compute(b, b.x("rs1"), b.x("rs2"))));
}

const SHIFT_ADDS = [1, 2, 3].flatMap((amount): Instruction[] => [
  binary(`sh${amount}add`, "zba", amount * 2, 0x10, (b, a, c) =>
    b.binary("add", b.binary("shl", a, b.i64(amount)), c),
  ),
  byF7(`sh${amount}add.uw`, "zba", 0x3b, amount * 2, 0x10, (b) =>
    b.setX(b.binary("add", b.binary("shl", lowWord(b, b.x("rs1")), b.i64(amount)), b.x("rs2"))),
  ),
]);

function count(name: string, rs2: number, fn: UnaryFn): Instruction[] {
  return [
    byRs2(name, "zbb", 0x13, 1, 0x30, rs2, (b) => b.setX(b.unary(fn, b.x("rs1")))),
    byRs2(`${name}w`, "zbb", 0x1b, 1, 0x30, rs2, (b) =>
      b.setX(b.convert("extend_u", b.unary(fn, b.convert("wrap", b.x("rs1"))))),
    ),
  ];
}

const inverted = (name: string, f3: number, fn: BinaryFn): Instruction =>
  binary(name, "zbb", f3, 0x20, (b, a, c) => b.binary(fn, a, b.binary("xor", c, b.i64(-1))));

const chosen = (name: string, f3: number, fn: CompareFn): Instruction =>
  binary(name, "zbb", f3, 0x05, (b, a, c) => b.select(b.compare(fn, a, c), a, c));

const oneBit = (b: Builder, position: Value): Value => b.binary("shl", b.i64(1), position);

type BitBuild = (b: Builder, value: Value, position: Value) => Value;
function bitRows(name: string, f3: number, f7: number, compute: BitBuild): Instruction[] {
  return [
    binary(name, "zbs", f3, f7, compute),
    shiftRow(`${name}i`, "zbs", 64, f3, f7, (b) => b.setX(compute(b, b.x("rs1"), b.field("imm")))),
  ];
}

export const BITMANIP: readonly Instruction[] = [
  ...SHIFT_ADDS,
  byF7("add.uw", "zba", 0x3b, 0, 0x04, (b) =>
    b.setX(b.binary("add", lowWord(b, b.x("rs1")), b.x("rs2"))),
  ),
  row("slli.uw", "zba", "shift", 0xfc00707f, 0x0800101b, (b) =>
    b.setX(b.binary("shl", lowWord(b, b.x("rs1")), b.field("imm"))),
  ),
  inverted("andn", 7, "and"),
  inverted("orn", 6, "or"),
  inverted("xnor", 4, "xor"),
  ...count("clz", 0, "clz"),
  ...count("ctz", 1, "ctz"),
  ...count("cpop", 2, "popcnt"),
  chosen("min", 4, "lt_s"),
  chosen("minu", 5, "lt_u"),
  chosen("max", 6, "ge_s"),
  chosen("maxu", 7, "ge_u"),
  byRs2("sext.b", "zbb", 0x13, 1, 0x30, 4, (b) => b.setX(b.unary("extend8_s", b.x("rs1")))),
  byRs2("sext.h", "zbb", 0x13, 1, 0x30, 5, (b) => b.setX(b.unary("extend16_s", b.x("rs1")))),
  byRs2("zext.h", "zbb", 0x3b, 4, 0x04, 0, (b) =>
    b.setX(b.binary("and", b.x("rs1"), b.i64(0xffff))),
  ),
  binary("rol", "zbb", 1, 0x30, (b, a, c) => b.binary("rotl", a, c)),
  binary("ror", "zbb", 5, 0x30, (b, a, c) => b.binary("rotr", a, c)),
  byF7("rolw", "zbb", 0x3b, 1, 0x30, (b) =>
    b.setX(word(b, (a, c) => b.binary("rotl", a, c), b.x("rs1"), b.x("rs2"))),
  ),
  byF7("rorw", "zbb", 0x3b, 5, 0x30, (b) =>
    b.setX(word(b, (a, c) => b.binary("rotr", a, c), b.x("rs1"), b.x("rs2"))),
  ),
  shiftRow("rori", "zbb", 64, 5, 0x30, (b) => b.setX(b.binary("rotr", b.x("rs1"), b.field("imm")))),
  shiftRow("roriw", "zbb", 32, 5, 0x30, (b) =>
    b.setX(word(b, (a, c) => b.binary("rotr", a, c), b.x("rs1"), b.field("imm"))),
  ),
  row("orc.b", "zbb", "I", 0xfff0707f, 0x28705013, (b) => b.setX(b.call("orcb", b.x("rs1")))),
  row("rev8", "zbb", "I", 0xfff0707f, 0x6b805013, (b) => b.setX(b.call("rev8", b.x("rs1")))),
  ...bitRows("bclr", 1, 0x24, (b, value, position) =>
    b.binary("and", value, b.binary("xor", oneBit(b, position), b.i64(-1))),
  ),
  ...bitRows("bext", 5, 0x24, (b, value, position) =>
    b.binary("and", b.binary("shr_u", value, position), b.i64(1)),
  ),
  ...bitRows("binv", 1, 0x34, (b, value, position) => b.binary("xor", value, oneBit(b, position))),
  ...bitRows("bset", 1, 0x14, (b, value, position) => b.binary("or", value, oneBit(b, position))),
];
