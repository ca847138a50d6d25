/** F and D. Every instruction first demands that floating point is on, then a rounding mode that exists. */

import type { Builder } from "../../ir/builder.ts";
import type { BinaryFn, FloatFn, FloatType, RegisterField, Value } from "../../ir/types.ts";
import { CAUSE } from "./causes.ts";
import type { Extension, Instruction } from "./encoding.ts";
import { byF3, row } from "./encoding.ts";

interface Width {
  readonly suffix: "s" | "d";
  readonly type: FloatType;
  /** Bits 26..25 of the encoding. */
  readonly fmt: number;
  readonly extension: Extension;
  readonly size: 4 | 8;
  readonly f3: number;
}
const SINGLE: Width = { suffix: "s", type: "f32", fmt: 0, extension: "f", size: 4, f3: 2 };
const DOUBLE: Width = { suffix: "d", type: "f64", fmt: 1, extension: "d", size: 8, f3: 3 };

function guardOn(b: Builder): void {
  b.guard(b.state("fpOn"), CAUSE.illegal, "bits");
}

/** Mode of this instruction: its own, or the dynamic one; traps when the result is none of the five. */
function rounding(b: Builder): Value {
  const own = b.convert("wrap", b.field("aux"));
  const mode = b.select(b.compare("eq", own, b.i32(7)), b.state("frm"), own);
  b.guard(b.compare("lt_u", mode, b.i32(5)), CAUSE.illegal, "bits");
  return mode;
}

const read = (b: Builder, type: FloatType, field: RegisterField): Value =>
  b.convert(type === "f32" ? "unbox_f32" : "bits_f64", b.f(field));

function write(b: Builder, type: FloatType, value: Value): void {
  b.setF(b.convert(type === "f32" ? "box_f32" : "f64_bits", value));
  b.setState("fpDirty", b.i32(1));
}

/** OP-FP with the rounding mode in funct3 or, with `f3`, a fixed funct3; `rs2` fixed makes it unary. */
function op(
  name: string,
  w: Width,
  f5: number,
  fixed: { readonly f3?: number; readonly rs2?: number },
  build: (b: Builder) => void,
): Instruction {
  let mask = 0xfe00007f;
  let match = 0x53 | (f5 << 27) | (w.fmt << 25);
  if (fixed.f3 !== undefined) {
    mask |= 0x7000;
    match |= fixed.f3 << 12;
  }
  if (fixed.rs2 !== undefined) {
    mask |= 0x01f00000;
    match |= fixed.rs2 << 20;
  }
  return row(name, w.extension, "R", mask, match, (b) => {
    guardOn(b);
    build(b);
  });
}

function arithmetic(w: Width, name: string, f5: number, fn: FloatFn): Instruction {
  return op(`${name}.${w.suffix}`, w, f5, {}, (b) => {
    const mode = rounding(b);
    write(b, w.type, b.float(fn, w.type, mode, read(b, w.type, "rs1"), read(b, w.type, "rs2")));
  });
}

/** Fused multiply-add; the sign of the product and of the addend are flipped first, which is exact. */
function fused(
  w: Width,
  name: string,
  opcode: number,
  minusA: boolean,
  minusC: boolean,
): Instruction {
  return row(`${name}.${w.suffix}`, w.extension, "R", 0x0600007f, opcode | (w.fmt << 25), (b) => {
    guardOn(b);
    const mode = rounding(b);
    const operand = (field: RegisterField, negate: boolean): Value => {
      const value = read(b, w.type, field);
      if (!negate) return value;
      return w.type === "f32"
        ? b.convert("bits_f32", b.binary("xor", b.convert("f32_bits", value), b.i32(-(2 ** 31))))
        : b.convert("bits_f64", b.binary("xor", b.convert("f64_bits", value), b.i64(2n ** 63n)));
    };
    const [a, m, c] = [operand("rs1", minusA), operand("rs2", false), operand("rs3", minusC)];
    write(b, w.type, b.float("fma", w.type, mode, a, m, c));
  });
}

/** The magnitude of rs1 with a sign made of both signs. */
function signInjection(
  w: Width,
  name: string,
  f3: number,
  combine: BinaryFn | "copy" | "not",
): Instruction {
  return op(`${name}.${w.suffix}`, w, 4, { f3 }, (b) => {
    const single = w.type === "f32";
    const bits = (field: RegisterField): Value =>
      b.convert(single ? "f32_bits" : "f64_bits", read(b, w.type, field));
    const sign = (): Value => (single ? b.i32(-(2 ** 31)) : b.i64(2n ** 63n));
    const [a, c] = [bits("rs1"), bits("rs2")];
    const ones = (): Value => (single ? b.i32(-1) : b.i64(-1));
    let result: Value;
    if (combine === "xor") {
      result = b.binary("xor", a, b.binary("and", c, sign()));
    } else {
      const magnitude = b.binary("and", a, b.binary("xor", sign(), ones()));
      const source = combine === "not" ? b.binary("xor", c, ones()) : c;
      result = b.binary("or", magnitude, b.binary("and", source, sign()));
    }
    write(b, w.type, b.convert(single ? "bits_f32" : "bits_f64", result));
  });
}

function compare(w: Width, name: string, f3: number, fn: "eq" | "lt" | "le"): Instruction {
  return op(`${name}.${w.suffix}`, w, 0x14, { f3 }, (b) => {
    const result = b.float(fn, w.type, undefined, read(b, w.type, "rs1"), read(b, w.type, "rs2"));
    b.setX(b.convert("extend_u", result));
    b.setState("fpDirty", b.i32(1));
  });
}

function extreme(w: Width, name: "fmin" | "fmax", f3: number): Instruction {
  const fn = name === "fmin" ? "min" : "max";
  return op(`${name}.${w.suffix}`, w, 5, { f3 }, (b) =>
    write(
      b,
      w.type,
      b.float(fn, w.type, undefined, read(b, w.type, "rs1"), read(b, w.type, "rs2")),
    ),
  );
}

const INTEGERS = [
  ["w", "to_i32", "from_i32"],
  ["wu", "to_u32", "from_u32"],
  ["l", "to_i64", "from_i64"],
  ["lu", "to_u64", "from_u64"],
] as const;

function conversions(w: Width): Instruction[] {
  return INTEGERS.flatMap(([letter, to, from], rs2) => [
    op(`fcvt.${letter}.${w.suffix}`, w, 0x18, { rs2 }, (b) => {
      const mode = rounding(b);
      b.setX(b.float(to, w.type, mode, read(b, w.type, "rs1")));
      b.setState("fpDirty", b.i32(1));
    }),
    op(`fcvt.${w.suffix}.${letter}`, w, 0x1a, { rs2 }, (b) => {
      const mode = rounding(b);
      write(b, w.type, b.float(from, w.type, mode, b.x("rs1")));
    }),
  ]);
}

/** Raw moves and memory: bits pass unchanged; a single is boxed on its way in, never checked on its way out. */
function moves(w: Width): Instruction[] {
  const single = w.size === 4;
  const [x, mem] = single ? ["w", "w"] : ["d", "d"];
  const boxed = (b: Builder, bits: Value): Value =>
    single ? b.binary("or", bits, b.i64(0xffffffff00000000n)) : bits;
  return [
    byF3(`fl${mem}`, w.extension, "I", 0x07, w.f3, (b) => {
      guardOn(b);
      const bits = b.load(w.size, false, b.binary("add", b.x("rs1"), b.field("imm")));
      b.setF(boxed(b, bits));
      b.setState("fpDirty", b.i32(1));
    }),
    byF3(`fs${mem}`, w.extension, "S", 0x27, w.f3, (b) => {
      guardOn(b);
      b.store(w.size, b.binary("add", b.x("rs1"), b.field("imm")), b.f("rs2"));
    }),
    op(`fmv.x.${x}`, w, 0x1c, { f3: 0, rs2: 0 }, (b) =>
      b.setX(single ? b.unary("extend32_s", b.f("rs1")) : b.f("rs1")),
    ),
    op(`fmv.${x}.x`, w, 0x1e, { f3: 0, rs2: 0 }, (b) => {
      b.setF(boxed(b, b.x("rs1")));
      b.setState("fpDirty", b.i32(1));
    }),
  ];
}

function rows(w: Width): Instruction[] {
  const other = w === SINGLE ? DOUBLE : SINGLE;
  return [
    ...moves(w),
    fused(w, "fmadd", 0x43, false, false),
    fused(w, "fmsub", 0x47, false, true),
    fused(w, "fnmsub", 0x4b, true, false),
    fused(w, "fnmadd", 0x4f, true, true),
    arithmetic(w, "fadd", 0, "add"),
    arithmetic(w, "fsub", 1, "sub"),
    arithmetic(w, "fmul", 2, "mul"),
    arithmetic(w, "fdiv", 3, "div"),
    op(`fsqrt.${w.suffix}`, w, 0x0b, { rs2: 0 }, (b) => {
      const mode = rounding(b);
      write(b, w.type, b.float("sqrt", w.type, mode, read(b, w.type, "rs1")));
    }),
    signInjection(w, "fsgnj", 0, "copy"),
    signInjection(w, "fsgnjn", 1, "not"),
    signInjection(w, "fsgnjx", 2, "xor"),
    extreme(w, "fmin", 0),
    extreme(w, "fmax", 1),
    compare(w, "feq", 2, "eq"),
    compare(w, "flt", 1, "lt"),
    compare(w, "fle", 0, "le"),
    op(`fclass.${w.suffix}`, w, 0x1c, { f3: 1, rs2: 0 }, (b) =>
      b.setX(b.float("class", w.type, undefined, read(b, w.type, "rs1"))),
    ),
    op(`fcvt.${w.suffix}.${other.suffix}`, w, 8, { rs2: other.fmt }, (b) => {
      const mode = rounding(b);
      write(b, w.type, b.float("convert", w.type, mode, read(b, other.type, "rs1")));
    }),
    ...conversions(w),
  ];
}

export const FLOAT: readonly Instruction[] = [...rows(SINGLE), ...rows(DOUBLE)];
