/**
 * The reference evaluator: executes one block on plain numbers, as the definition of each operation reads.
 * Written to be checked by eye; nothing here is shared with the interpreter but the blocks.
 */

import { present, unreachable } from "@blixard/std";
import type { AtomicFn, BinaryFn, CompareFn, IrBlock, IrOp } from "../ir/types.ts";
import type { ConvertFn, HelperName, StateName, UnaryFn } from "../ir/types.ts";
import type { RegisterRef } from "../ir/types.ts";
import type { FloatFn, FloatType } from "../ir/types.ts";
import type { Fields } from "../isa/riscv64/encoding.ts";

/** What a block acts on. Values are unsigned bit patterns. Memory and guard may throw GuestTrap. */
export interface Surroundings {
  readonly fields: Fields;
  getX(index: number): bigint;
  setX(index: number, value: bigint): void;
  getF(index: number): bigint;
  setF(index: number, value: bigint): void;
  getState(name: StateName): bigint;
  setState(name: StateName, value: bigint): void;
  load(size: number, address: bigint): bigint;
  store(size: number, address: bigint, value: bigint): void;
  /** Applies `change` to the old value, sign-extended to i64; returns the old value. */
  atomic(size: number, address: bigint, change: (old: bigint) => bigint): bigint;
  loadReserved(size: number, address: bigint): bigint;
  storeConditional(size: number, address: bigint, value: bigint): bigint;
  float(fn: FloatFn, format: FloatType, rounding: number, args: readonly bigint[]): bigint;
  trap(cause: number, value: "bits" | "pc" | "zero"): never;
  /** Helpers that need the machine; the pure ones are evaluated here. */
  call(helper: HelperName, args: readonly bigint[]): bigint;
}

export interface Outcome {
  /** Undefined: the next instruction. */
  readonly target: bigint | undefined;
  readonly leave: boolean;
}

const unsigned = (bits: number, value: bigint): bigint => BigInt.asUintN(bits, value);
const signed = (bits: number, value: bigint): bigint => BigInt.asIntN(bits, value);

function leadingZeros(bits: number, value: bigint): bigint {
  return BigInt(bits - (value === 0n ? 0 : value.toString(2).length));
}
function onesIn(value: bigint): bigint {
  return BigInt(value.toString(2).replaceAll("0", "").length);
}

function unary(fn: UnaryFn, bits: number, a: bigint): bigint {
  switch (fn) {
    case "clz":
      return leadingZeros(bits, a);
    case "ctz":
      return a === 0n ? BigInt(bits) : BigInt(bits - 1) - leadingZeros(bits, a & -a);
    case "popcnt":
      return onesIn(a);
    case "eqz":
      return a === 0n ? 1n : 0n;
    case "extend8_s":
      return unsigned(bits, signed(8, a));
    case "extend16_s":
      return unsigned(bits, signed(16, a));
    case "extend32_s":
      return unsigned(bits, signed(32, a));
    default:
      return unreachable(fn);
  }
}

function binary(fn: BinaryFn, bits: number, a: bigint, b: bigint): bigint {
  const amount = b % BigInt(bits);
  const [sa, sb] = [signed(bits, a), signed(bits, b)];
  const wrapped = (value: bigint): bigint => unsigned(bits, value);
  switch (fn) {
    case "add":
      return wrapped(a + b);
    case "sub":
      return wrapped(a - b);
    case "mul":
      return wrapped(a * b);
    case "div_s":
      return wrapped(sa / sb);
    case "div_u":
      return a / b;
    case "rem_s":
      return wrapped(sa % sb);
    case "rem_u":
      return a % b;
    case "and":
      return a & b;
    case "or":
      return a | b;
    case "xor":
      return a ^ b;
    case "shl":
      return wrapped(a << amount);
    case "shr_s":
      return wrapped(sa >> amount);
    case "shr_u":
      return a >> amount;
    case "rotl":
      return wrapped((a << amount) | (a >> (BigInt(bits) - amount)));
    case "rotr":
      return wrapped((a >> amount) | (a << (BigInt(bits) - amount)));
    default:
      return unreachable(fn);
  }
}

function compare(fn: CompareFn, bits: number, a: bigint, b: bigint): boolean {
  switch (fn) {
    case "eq":
      return a === b;
    case "ne":
      return a !== b;
    case "lt_u":
      return a < b;
    case "ge_u":
      return a >= b;
    case "lt_s":
      return signed(bits, a) < signed(bits, b);
    case "ge_s":
      return signed(bits, a) >= signed(bits, b);
    default:
      return unreachable(fn);
  }
}

function convert(fn: ConvertFn, a: bigint): bigint {
  switch (fn) {
    case "wrap":
      return unsigned(32, a);
    case "extend_s":
      return unsigned(64, signed(32, a));
    case "unbox_f32":
      return a >> 32n === 0xffffffffn ? a & 0xffffffffn : 0x7fc00000n;
    case "box_f32":
      return a | 0xffffffff00000000n;
    case "extend_u":
    case "f64_bits":
    case "bits_f64":
    case "f32_bits":
    case "bits_f32":
      return a;
    default:
      return unreachable(fn);
  }
}

/** New value of an atomic; `old` and `operand` are extended to i64 from `size` bytes. */
export function atomicResult(fn: AtomicFn, size: number, old: bigint, operand: bigint): bigint {
  const bits = size * 8;
  const [a, b] = [unsigned(bits, old), unsigned(bits, operand)];
  const [sa, sb] = [signed(bits, old), signed(bits, operand)];
  switch (fn) {
    case "swap":
      return b;
    case "add":
      return unsigned(bits, a + b);
    case "xor":
      return a ^ b;
    case "and":
      return a & b;
    case "or":
      return a | b;
    case "min":
      return sa < sb ? a : b;
    case "max":
      return sa > sb ? a : b;
    case "minu":
      return a < b ? a : b;
    case "maxu":
      return a > b ? a : b;
    default:
      return unreachable(fn);
  }
}

function mapBytes(value: bigint, map: (byte: bigint, position: number) => bigint): bigint {
  let result = 0n;
  for (let i = 0; i < 8; i++) result |= map((value >> BigInt(8 * i)) & 0xffn, i);
  return result;
}

function helper(name: HelperName, args: readonly bigint[], around: Surroundings): bigint {
  const [a = 0n, b = 0n] = args;
  switch (name) {
    case "mulh":
      return unsigned(64, (signed(64, a) * signed(64, b)) >> 64n);
    case "mulhsu":
      return unsigned(64, (signed(64, a) * b) >> 64n);
    case "mulhu":
      return (a * b) >> 64n;
    case "rev8":
      return mapBytes(a, (byte, i) => byte << BigInt(56 - 8 * i));
    case "orcb":
      return mapBytes(a, (byte, i) => (byte === 0n ? 0n : 0xffn << BigInt(8 * i)));
    default:
      return around.call(name, args);
  }
}

function getRegister(reg: RegisterRef, around: Surroundings): bigint {
  if (reg.bank === "state") return around.getState(reg.name);
  const index = around.fields[reg.field];
  return reg.bank === "x" ? around.getX(index) : around.getF(index);
}

function setRegister(reg: RegisterRef, value: bigint, around: Surroundings): void {
  if (reg.bank === "state") around.setState(reg.name, value);
  else if (reg.bank === "x") around.setX(around.fields[reg.field], value);
  else around.setF(around.fields[reg.field], value);
}

function operation(op: IrOp, value: (at: number) => bigint, around: Surroundings): bigint {
  const width = "type" in op && op.type === "i32" ? 32 : 64;
  switch (op.op) {
    case "const":
      return op.value;
    case "field":
      return unsigned(64, BigInt(around.fields[op.name]));
    case "index":
      return BigInt(around.fields[op.field]);
    case "get":
      return getRegister(op.reg, around);
    case "set":
      setRegister(op.reg, value(op.value), around);
      return 0n;
    case "unary":
      return unary(op.fn, width, value(op.a));
    case "binary":
      return binary(op.fn, width, value(op.a), value(op.b));
    case "compare":
      return compare(op.fn, width, value(op.a), value(op.b)) ? 1n : 0n;
    case "convert":
      return convert(op.fn, value(op.a));
    case "select":
      return value(op.condition) !== 0n ? value(op.yes) : value(op.no);
    case "load": {
      const loaded = around.load(op.size, value(op.address));
      return op.signed ? unsigned(64, signed(op.size * 8, loaded)) : loaded;
    }
    case "store":
      around.store(op.size, value(op.address), unsigned(op.size * 8, value(op.value)));
      return 0n;
    case "atomic": {
      const operand = value(op.value);
      const old = around.atomic(op.size, value(op.address), (before) =>
        atomicResult(op.fn, op.size, before, operand),
      );
      return unsigned(64, signed(op.size * 8, old));
    }
    case "loadReserved":
      return unsigned(64, signed(op.size * 8, around.loadReserved(op.size, value(op.address))));
    case "storeConditional":
      return around.storeConditional(
        op.size,
        value(op.address),
        unsigned(op.size * 8, value(op.value)),
      );
    case "float": {
      const mode = op.rounding === undefined ? 0 : Number(value(op.rounding));
      return around.float(op.fn, op.format, mode, op.args.map(value));
    }
    case "guard":
      if (value(op.condition) === 0n) around.trap(op.cause, op.value);
      return 0n;
    case "call":
      return helper(op.helper, op.args.map(value), around);
    default:
      return unreachable(op);
  }
}

/** Runs a block to its end. Throws what the surroundings throw, with no register changed. */
export function evaluate(block: IrBlock, around: Surroundings): Outcome {
  const values: bigint[] = [];
  const value = (at: number): bigint => present(values[at], "value");
  const relative = (): bigint => unsigned(64, around.getState("pc") + BigInt(around.fields.imm));
  for (const op of block.ops) values.push(operation(op, value, around));
  const { exit } = block;
  switch (exit.kind) {
    case "next":
      return { target: undefined, leave: exit.leave };
    case "jump":
      return { target: value(exit.target), leave: exit.leave };
    case "branch":
      return { target: value(exit.condition) !== 0n ? relative() : undefined, leave: false };
    case "jumpRelative":
      return { target: relative(), leave: false };
    default:
      return unreachable(exit);
  }
}
