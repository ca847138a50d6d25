/** Static facts about operations: result types, helper signatures, which may trap. */

import { unreachable } from "@blixard/std";
import type {
  ConvertFn,
  FloatFn,
  FloatType,
  HelperName,
  IrOp,
  IrType,
  RegisterRef,
} from "./types.ts";

interface Signature {
  readonly from: IrType;
  readonly to: IrType;
}

export const CONVERSIONS: Readonly<Record<ConvertFn, Signature>> = {
  wrap: { from: "i64", to: "i32" },
  extend_s: { from: "i32", to: "i64" },
  extend_u: { from: "i32", to: "i64" },
  f64_bits: { from: "f64", to: "i64" },
  bits_f64: { from: "i64", to: "f64" },
  f32_bits: { from: "f32", to: "i32" },
  bits_f32: { from: "i32", to: "f32" },
  unbox_f32: { from: "i64", to: "f32" },
  box_f32: { from: "f32", to: "i64" },
};

interface HelperShape {
  /** All arguments are i64; so is the result, where there is one. */
  readonly args: number;
  readonly result: boolean;
  /** May raise an exception or read and write privileged state; the others are functions of their arguments. */
  readonly privileged: boolean;
}

export const HELPERS: Readonly<Record<HelperName, HelperShape>> = {
  csr: { args: 4, result: true, privileged: true },
  ecall: { args: 0, result: false, privileged: true },
  sret: { args: 0, result: true, privileged: true },
  wfi: { args: 0, result: false, privileged: true },
  sfence: { args: 4, result: false, privileged: true },
  fenceI: { args: 0, result: false, privileged: true },
  cboManage: { args: 2, result: false, privileged: true },
  mulh: { args: 2, result: true, privileged: false },
  mulhsu: { args: 2, result: true, privileged: false },
  mulhu: { args: 2, result: true, privileged: false },
  rev8: { args: 1, result: true, privileged: false },
  orcb: { args: 1, result: true, privileged: false },
};

interface FloatShape {
  readonly args: readonly IrType[];
  readonly result: IrType;
  readonly rounds: boolean;
}

/** Types of a floating-point operation in `format`. */
export function floatShape(fn: FloatFn, format: FloatType): FloatShape {
  const other: FloatType = format === "f32" ? "f64" : "f32";
  switch (fn) {
    case "add":
    case "sub":
    case "mul":
    case "div":
      return { args: [format, format], result: format, rounds: true };
    case "sqrt":
      return { args: [format], result: format, rounds: true };
    case "fma":
      return { args: [format, format, format], result: format, rounds: true };
    case "min":
    case "max":
      return { args: [format, format], result: format, rounds: false };
    case "eq":
    case "lt":
    case "le":
      return { args: [format, format], result: "i32", rounds: false };
    case "class":
      return { args: [format], result: "i64", rounds: false };
    case "to_i32":
    case "to_u32":
    case "to_i64":
    case "to_u64":
      return { args: [format], result: "i64", rounds: true };
    case "from_i32":
    case "from_u32":
    case "from_i64":
    case "from_u64":
      return { args: ["i64"], result: format, rounds: true };
    case "convert":
      return { args: [other], result: format, rounds: true };
    default:
      return unreachable(fn);
  }
}

/** Type of a register as an operation sees it. */
export function registerType(reg: RegisterRef): "i32" | "i64" {
  if (reg.bank !== "state") return "i64";
  return reg.name === "pc" || reg.name === "nextPc" ? "i64" : "i32";
}

/** Type of the value that an operation defines; undefined if it defines none. */
export function resultType(op: IrOp): IrType | undefined {
  switch (op.op) {
    case "const":
    case "get":
    case "binary":
    case "select":
      return op.type;
    case "unary":
      return op.fn === "eqz" ? "i32" : op.type;
    case "compare":
      return "i32";
    case "convert":
      return CONVERSIONS[op.fn].to;
    case "field":
    case "index":
    case "load":
    case "atomic":
    case "loadReserved":
    case "storeConditional":
      return "i64";
    case "float":
      return floatShape(op.fn, op.format).result;
    case "call":
      return HELPERS[op.helper].result ? "i64" : undefined;
    case "set":
    case "store":
    case "guard":
      return undefined;
    default:
      return unreachable(op);
  }
}

/** Whether an operation may end the instruction early with an exception. */
export function mayTrap(op: IrOp): boolean {
  switch (op.op) {
    case "load":
    case "store":
    case "atomic":
    case "loadReserved":
    case "storeConditional":
    case "guard":
      return true;
    case "call":
      return HELPERS[op.helper].privileged;
    default:
      return false;
  }
}
