/**
 * Emits floating point: the host's operation, a proof that its result and flags are the guest's, and the
 * exact operation where the proof fails. The proofs are numbered as in fp/fast.ts.
 */

import { emitFast, TRUNCATES } from "./float-fast.ts";
import { floatShape } from "../ir/shape.ts";
import type { FloatFn, IrOp, Value } from "../ir/types.ts";
import { STATE } from "../memory/layout.ts";
import type { Context } from "./context.ts";

/** Numbers of operations as the import takes them. */
export const FLOAT_NUMBERS: readonly FloatFn[] = [
  "add",
  "sub",
  "mul",
  "div",
  "sqrt",
  "fma",
  "min",
  "max",
  "eq",
  "lt",
  "le",
  "class",
  "to_i32",
  "to_u32",
  "to_i64",
  "to_u64",
  "from_i32",
  "from_u32",
  "from_i64",
  "from_u64",
  "convert",
];

type FloatOp = IrOp & { readonly op: "float" };

/** The exact operation: arguments and result go through the hart's state as bit patterns. */
function emitExact(c: Context, op: FloatOp, local: (value: Value) => number, result: number): void {
  const { code, functions } = c;
  const shape = floatShape(op.fn, op.format);
  for (const [position, value] of op.args.entries()) {
    code.i32(0).get(local(value));
    const type = shape.args[position];
    if (type === "f32") code.op("i32.reinterpret_f32", "i64.extend_i32_u");
    if (type === "f64") code.op("i64.reinterpret_f64");
    code.memory("i64.store", STATE.arguments + 8 * position);
  }
  code.i32(FLOAT_NUMBERS.indexOf(op.fn)).i32(op.format === "f32" ? 0 : 1);
  if (op.rounding === undefined) code.i32(0);
  else code.get(local(op.rounding));
  code.call(functions.float).i32(0);
  if (shape.result === "i32") code.memory("i32.load", STATE.value);
  if (shape.result === "i64") code.memory("i64.load", STATE.value);
  if (shape.result === "f32") code.memory("f32.load", STATE.value);
  if (shape.result === "f64") code.memory("f64.load", STATE.value);
  code.set(result);
}

export function emitFloat(
  c: Context,
  op: FloatOp,
  local: (value: Value) => number,
  result: number,
): void {
  const settled = emitFast(c, op, op.args.map(local), result);
  if (!settled) {
    emitExact(c, op, local, result);
    return;
  }
  if (op.rounding !== undefined && !TRUNCATES.has(op.fn)) {
    c.code.get(local(op.rounding)).op("i32.eqz", "i32.and");
  }
  if (op.rounding !== undefined && TRUNCATES.has(op.fn)) {
    c.code.get(local(op.rounding)).i32(1).op("i32.eq", "i32.and");
  }
  c.code.op("i32.eqz").if(() => emitExact(c, op, local, result));
}
