/**
 * Floating point in regions that are made while NX is set, which is nearly always (fp/fast.ts, section 1): a
 * result that is neither tiny, infinite nor NaN is right and raises nothing new. One compare shows that; what
 * it does not show gets the interpreter's complete test, out of the way.
 */

import { emitFast, type FloatContext } from "../../interp/float-fast.ts";
import type { FloatFn, FloatType, IrOp } from "../../ir/types.ts";
import type { Code, PlainName } from "../../wasm/code.ts";

type Context = FloatContext & { readonly inexactSet: boolean; readonly fused: boolean };
type FloatOp = IrOp & { readonly op: "float" };

const bitsView = new DataView(new ArrayBuffer(8));
function pushNumber(code: Code, value: number): Code {
  bitsView.setFloat64(0, value);
  return code.i64(bitsView.getBigUint64(0)).op("f64.reinterpret_i64");
}

/** Pushes whether minNormal < |r| < infinity: one subtraction and one compare of the bits without sign. */
function pushSettled(code: Code, type: FloatType, result: number): void {
  code.get(result);
  if (type === "f64") {
    const lowest = 2n * (0x0010_0000_0000_0000n + 1n);
    code.op("i64.reinterpret_f64").i64(1).op("i64.shl").i64(lowest).op("i64.sub");
    code.i64(2n * 0x7ff0_0000_0000_0000n - lowest).op("i64.lt_u");
    return;
  }
  const lowest = 2 * (0x0080_0000 + 1);
  code.op("i32.reinterpret_f32").i32(1).op("i32.shl").i32(lowest).op("i32.sub");
  code.i32((2 * 0x7f80_0000 - lowest) | 0).op("i32.lt_u");
}

/** Pushes whether |a| < limit, which NaN is not. */
function pushBelow(code: Code, type: FloatType, local: number, limit: number): void {
  code.get(local);
  if (type === "f32") code.op("f64.promote_f32");
  code.op("f64.abs");
  pushNumber(code, limit).op("f64.lt");
}

/** Of conversions to integers: magnitudes below are in range; beyond the complete test decides. */
const LIMITS: Partial<Record<FloatFn, number>> = {
  to_i32: 2 ** 31,
  to_i64: 2 ** 63,
};

/** Computes the result into its local and pushes a sufficient test; false if there is none but the complete. */
function emitShort(c: Context, op: FloatOp, args: readonly number[], result: number): boolean {
  const { code } = c;
  const [a = 0, b = 0, third = 0] = args;
  const type = op.format;
  // The names are the same for both formats.
  const plain = (fn: string): Code => code.op(`${type}.${fn}` as PlainName);
  switch (op.fn) {
    case "add":
    case "sub":
      code.get(a).get(b);
      plain(op.fn).set(result);
      pushBelow(code, type, result, Number.POSITIVE_INFINITY);
      return true;
    case "mul":
    case "div":
      code.get(a).get(b);
      plain(op.fn).set(result);
      pushSettled(code, type, result);
      return true;
    case "fma":
      if (c.fused) code.fused(type, a, b, third);
      else {
        const { fma32, fma64 } = c.functions;
        code.get(a).get(b).get(third);
        code.call(type === "f32" ? fma32 : fma64);
      }
      code.set(result);
      pushSettled(code, type, result);
      return true;
    case "sqrt":
      code.get(a);
      plain("sqrt").tee(result).get(result);
      plain("eq");
      return true;
    case "to_i32":
    case "to_i64":
      pushBelow(code, type, a, LIMITS[op.fn] ?? 0);
      code.if(() => {
        code.get(a);
        if (type === "f32") code.op("f64.promote_f32");
        code.op("i64.trunc_f64_s").set(result);
      });
      pushBelow(code, type, a, LIMITS[op.fn] ?? 0);
      return true;
    case "from_i32":
    case "from_i64":
      code.get(a);
      if (op.fn === "from_i32") code.op("i64.extend32_s");
      plain("convert_i64_s").set(result);
      code.i32(1);
      return true;
    default:
      return false;
  }
}

/** Emits an operation; `miss` when the interpreter has to perform it. */
export function emitRegionFloat(
  c: Context,
  op: FloatOp,
  args: readonly number[],
  result: number,
  miss: () => void,
): void {
  const { code } = c;
  const complete = (): void => {
    if (emitFast(c, op, args, result)) code.op("i32.eqz").unlikely().if(miss);
    else miss();
  };
  if (c.inexactSet && emitShort(c, op, args, result)) {
    code.op("i32.eqz").unlikely().if(complete);
  } else complete();
}
