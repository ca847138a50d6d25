/** RV64I, M, A, Zicsr and the system instructions. */

import type { Builder } from "../../ir/builder.ts";
import type { AtomicFn, BinaryFn, CompareFn, Value } from "../../ir/types.ts";
import { CACHE_BLOCK_BYTES } from "./cbo.ts";
import { CAUSE } from "./causes.ts";
import type { Instruction } from "./encoding.ts";
import { byF3, byF7, row, shiftRow } from "./encoding.ts";

/** The low halves as i32, computed on, and sign-extended: what every "w" instruction does. */
export function word(
  b: Builder,
  compute: (a: Value, c: Value) => Value,
  a: Value,
  c: Value,
): Value {
  return b.convert("extend_s", compute(b.convert("wrap", a), b.convert("wrap", c)));
}

const address = (b: Builder): Value => b.binary("add", b.x("rs1"), b.field("imm"));

function load(name: string, f3: number, size: 1 | 2 | 4 | 8, signed: boolean): Instruction {
  return byF3(name, "i", "I", 0x03, f3, (b) => b.setX(b.load(size, signed, address(b))));
}
function store(name: string, f3: number, size: 1 | 2 | 4 | 8): Instruction {
  return byF3(name, "i", "S", 0x23, f3, (b) => b.store(size, address(b), b.x("rs2")));
}
function branch(name: string, f3: number, fn: CompareFn): Instruction {
  return byF3(name, "i", "B", 0x63, f3, (b) => b.branch(b.compare(fn, b.x("rs1"), b.x("rs2"))));
}
function immediate(name: string, f3: number, fn: BinaryFn): Instruction {
  return byF3(name, "i", "I", 0x13, f3, (b) => b.setX(b.binary(fn, b.x("rs1"), b.field("imm"))));
}
function register(name: string, f3: number, f7: number, fn: BinaryFn): Instruction {
  return byF7(name, "i", 0x33, f3, f7, (b) => b.setX(b.binary(fn, b.x("rs1"), b.x("rs2"))));
}
function registerWord(name: string, f3: number, f7: number, fn: BinaryFn): Instruction {
  return byF7(name, "i", 0x3b, f3, f7, (b) =>
    b.setX(word(b, (a, c) => b.binary(fn, a, c), b.x("rs1"), b.x("rs2"))),
  );
}
function shift(name: string, f3: number, f7: number, fn: BinaryFn): Instruction {
  return shiftRow(name, "i", 64, f3, f7, (b) => b.setX(b.binary(fn, b.x("rs1"), b.field("imm"))));
}
function shiftWord(name: string, f3: number, f7: number, fn: BinaryFn): Instruction {
  return shiftRow(name, "i", 32, f3, f7, (b) =>
    b.setX(word(b, (a, c) => b.binary(fn, a, c), b.x("rs1"), b.field("imm"))),
  );
}
const flag = (b: Builder, value: Value): Value => b.convert("extend_u", value);

export const BASE: readonly Instruction[] = [
  row("lui", "i", "U", 0x7f, 0x37, (b) => b.setX(b.field("imm"))),
  row("auipc", "i", "U", 0x7f, 0x17, (b) => b.setX(b.binary("add", b.state("pc"), b.field("imm")))),
  row("jal", "i", "J", 0x7f, 0x6f, (b) => {
    b.setX(b.state("nextPc"));
    b.jumpRelative();
  }),
  byF3("jalr", "i", "I", 0x67, 0, (b) => {
    const target = b.binary("and", address(b), b.i64(-2));
    b.setX(b.state("nextPc"));
    b.jump(target);
  }),
  branch("beq", 0, "eq"),
  branch("bne", 1, "ne"),
  branch("blt", 4, "lt_s"),
  branch("bge", 5, "ge_s"),
  branch("bltu", 6, "lt_u"),
  branch("bgeu", 7, "ge_u"),
  load("lb", 0, 1, true),
  load("lh", 1, 2, true),
  load("lw", 2, 4, true),
  load("ld", 3, 8, true),
  load("lbu", 4, 1, false),
  load("lhu", 5, 2, false),
  load("lwu", 6, 4, false),
  store("sb", 0, 1),
  store("sh", 1, 2),
  store("sw", 2, 4),
  store("sd", 3, 8),
  immediate("addi", 0, "add"),
  immediate("xori", 4, "xor"),
  immediate("ori", 6, "or"),
  immediate("andi", 7, "and"),
  byF3("slti", "i", "I", 0x13, 2, (b) =>
    b.setX(flag(b, b.compare("lt_s", b.x("rs1"), b.field("imm")))),
  ),
  byF3("sltiu", "i", "I", 0x13, 3, (b) =>
    b.setX(flag(b, b.compare("lt_u", b.x("rs1"), b.field("imm")))),
  ),
  shift("slli", 1, 0x00, "shl"),
  shift("srli", 5, 0x00, "shr_u"),
  shift("srai", 5, 0x20, "shr_s"),
  register("add", 0, 0x00, "add"),
  register("sub", 0, 0x20, "sub"),
  register("sll", 1, 0x00, "shl"),
  byF7("slt", "i", 0x33, 2, 0, (b) => b.setX(flag(b, b.compare("lt_s", b.x("rs1"), b.x("rs2"))))),
  byF7("sltu", "i", 0x33, 3, 0, (b) => b.setX(flag(b, b.compare("lt_u", b.x("rs1"), b.x("rs2"))))),
  register("xor", 4, 0x00, "xor"),
  register("srl", 5, 0x00, "shr_u"),
  register("sra", 5, 0x20, "shr_s"),
  register("or", 6, 0x00, "or"),
  register("and", 7, 0x00, "and"),
  byF3("addiw", "i", "I", 0x1b, 0, (b) =>
    b.setX(word(b, (a, c) => b.binary("add", a, c), b.x("rs1"), b.field("imm"))),
  ),
  shiftWord("slliw", 1, 0x00, "shl"),
  shiftWord("srliw", 5, 0x00, "shr_u"),
  shiftWord("sraiw", 5, 0x20, "shr_s"),
  registerWord("addw", 0, 0x00, "add"),
  registerWord("subw", 0, 0x20, "sub"),
  registerWord("sllw", 1, 0x00, "shl"),
  registerWord("srlw", 5, 0x00, "shr_u"),
  registerWord("sraw", 5, 0x20, "shr_s"),
  // Every combination of predecessor and successor sets, and the hints among them: memory is ordered.
  byF3("fence", "i", "I", 0x0f, 0, () => {}),
  byF3("fence.i", "i", "I", 0x0f, 1, (b) => {
    b.call("fenceI");
    b.leave();
  }),
];

/** Quotient or remainder with RISC-V's results for a zero divisor and for overflow. */
function division(
  b: Builder,
  fn: "div_s" | "div_u" | "rem_s" | "rem_u",
  a: Value,
  c: Value,
): Value {
  const wide = b.typeOf(a) === "i64";
  const constant = (value: number): Value => (wide ? b.i64(value) : b.i32(value));
  const byZero = b.unary("eqz", c);
  const signed = fn === "div_s" || fn === "rem_s";
  let divisor = b.select(byZero, constant(1), c);
  if (signed) {
    const lowest = wide ? b.i64(-(2n ** 63n)) : b.i32(-(2 ** 31));
    const both = b.binary("and", b.compare("eq", a, lowest), b.compare("eq", c, constant(-1)));
    // Dividing the lowest number by 1 gives the quotient and remainder that overflow is defined to give.
    divisor = b.select(both, constant(1), divisor);
  }
  const result = b.binary(fn, a, divisor);
  const zeroCase = fn === "div_s" || fn === "div_u" ? constant(-1) : a;
  return b.select(byZero, zeroCase, result);
}

const DIVISIONS = [
  ["div", 4, "div_s"],
  ["divu", 5, "div_u"],
  ["rem", 6, "rem_s"],
  ["remu", 7, "rem_u"],
] as const;

const upper = (name: "mulh" | "mulhsu" | "mulhu", f3: number): Instruction =>
  byF7(name, "m", 0x33, f3, 1, (b) => b.setX(b.call(name, b.x("rs1"), b.x("rs2"))));

export const MULTIPLY: readonly Instruction[] = [
  byF7("mul", "m", 0x33, 0, 1, (b) => b.setX(b.binary("mul", b.x("rs1"), b.x("rs2")))),
  upper("mulh", 1),
  upper("mulhsu", 2),
  upper("mulhu", 3),
  byF7("mulw", "m", 0x3b, 0, 1, (b) =>
    b.setX(word(b, (a, c) => b.binary("mul", a, c), b.x("rs1"), b.x("rs2"))),
  ),
  ...DIVISIONS.flatMap(([name, f3, fn]) => [
    byF7(name, "m", 0x33, f3, 1, (b) => b.setX(division(b, fn, b.x("rs1"), b.x("rs2")))),
    byF7(`${name}w`, "m", 0x3b, f3, 1, (b) =>
      b.setX(word(b, (a, c) => division(b, fn, a, c), b.x("rs1"), b.x("rs2"))),
    ),
  ]),
];

const ATOMICS: readonly (readonly [string, number, AtomicFn])[] = [
  ["amoadd", 0x00, "add"],
  ["amoswap", 0x01, "swap"],
  ["amoxor", 0x04, "xor"],
  ["amoor", 0x08, "or"],
  ["amoand", 0x0c, "and"],
  ["amomin", 0x10, "min"],
  ["amomax", 0x14, "max"],
  ["amominu", 0x18, "minu"],
  ["amomaxu", 0x1c, "maxu"],
];

/** The acquire and release bits (25, 26) are not looked at: one hart sees its own memory in order. */
function atomicRows(suffix: string, size: 4 | 8): Instruction[] {
  const f3 = (size === 8 ? 3 : 2) << 12;
  const amo = (name: string, f5: number, mask: number, build: (b: Builder) => void): Instruction =>
    row(`${name}.${suffix}`, "a", "R", mask, 0x2f | f3 | (f5 << 27), build);
  return [
    amo("lr", 0x02, 0xf9f0707f, (b) => b.setX(b.loadReserved(size, b.x("rs1")))),
    amo("sc", 0x03, 0xf800707f, (b) => b.setX(b.storeConditional(size, b.x("rs1"), b.x("rs2")))),
    ...ATOMICS.map(([name, f5, fn]) =>
      amo(name, f5, 0xf800707f, (b) => b.setX(b.atomic(fn, size, b.x("rs1"), b.x("rs2")))),
    ),
  ];
}
export const ATOMIC: readonly Instruction[] = [...atomicRows("w", 4), ...atomicRows("d", 8)];

function csr(name: string, f3: number, operation: number): Instruction {
  const fromImmediate = f3 >= 4;
  return byF3(name, "zicsr", fromImmediate ? "csri" : "csr", 0x73, f3, (b) => {
    const operand = fromImmediate ? b.field("aux") : b.x("rs1");
    const source = fromImmediate ? b.field("aux") : b.index("rs1");
    b.setX(b.call("csr", b.field("imm"), b.i64(operation), operand, source));
    b.leave();
  });
}
function cbo(name: string, imm: number, build: (b: Builder) => void): Instruction {
  return row(name, "zicbo", "I", 0xfff07fff, 0x200f | (imm << 20), build);
}

export const SYSTEM: readonly Instruction[] = [
  csr("csrrw", 1, 1),
  csr("csrrs", 2, 2),
  csr("csrrc", 3, 3),
  csr("csrrwi", 5, 1),
  csr("csrrsi", 6, 2),
  csr("csrrci", 7, 3),
  row("ecall", "system", "I", -1, 0x00000073, (b) => {
    b.call("ecall");
    b.leave();
  }),
  row("ebreak", "system", "I", -1, 0x00100073, (b) => b.guard(b.i32(0), CAUSE.breakpoint, "pc")),
  row("sret", "system", "I", -1, 0x10200073, (b) => b.jump(b.call("sret"), true)),
  row("wfi", "system", "I", -1, 0x10500073, (b) => {
    b.call("wfi");
    b.leave();
  }),
  row("sfence.vma", "system", "R", 0xfe007fff, 0x12000073, (b) => {
    b.call("sfence", b.x("rs1"), b.x("rs2"), b.index("rs1"), b.index("rs2"));
    b.leave();
  }),
  ...["cbo.inval", "cbo.clean", "cbo.flush"].map((name, kind) =>
    cbo(name, kind, (b) => {
      b.call("cboManage", b.x("rs1"), b.i64(kind));
    }),
  ),
  // Nothing is zeroed unless all of it is: the stores go to one page, so only the first can fault.
  cbo("cbo.zero", 4, (b) => {
    b.guard(b.state("zeroOn"), CAUSE.illegal, "bits");
    const block = b.binary("and", b.x("rs1"), b.i64(-CACHE_BLOCK_BYTES));
    const zero = b.i64(0);
    for (let at = 0; at < CACHE_BLOCK_BYTES; at += 8) {
      b.store(8, b.binary("add", block, b.i64(at)), zero);
    }
  }),
];
