/**
 * The slow path of the faster tiers: `floatOperation` with the same answers, by way of the host's
 * own arithmetic where `fast.ts` can tell the flags, and by `exact.ts` where it cannot.
 */

import { type FloatFunction, floatOperation, type FloatOutcome, RNE } from "./exact.ts";
import {
  addFlags32,
  addFlags64,
  demoteFlags,
  divFlags32,
  divFlags64,
  fma32,
  fma64,
  type FmaResult,
  mulFlags32,
  mulFlags64,
  sqrtFlags32,
  sqrtFlags64,
  UNDECIDED,
} from "./fast.ts";

/** Scratch: written and read within one call. */
const view = new DataView(new ArrayBuffer(8));
const outcome: FmaResult = { value: 0, flags: 0 };

/** Arguments and result as those of `floatOperation`. */
export function hostOperation(
  fn: FloatFunction,
  format: "f32" | "f64",
  rounding: number,
  args: readonly bigint[],
): FloatOutcome {
  const [a = 0n, b = 0n, c = 0n] = args;
  const answered =
    rounding === RNE && (format === "f32" ? nearest32(fn, a, b, c) : nearest64(fn, a, b, c));
  // A NaN's bits are the host's choice, so invalid operations are also left to the exact path.
  if (!answered || Number.isNaN(outcome.value)) return floatOperation(fn, format, rounding, args);
  if (format === "f32") {
    view.setFloat32(0, outcome.value);
    return { value: BigInt(view.getUint32(0)), flags: outcome.flags };
  }
  view.setFloat64(0, outcome.value);
  return { value: view.getBigUint64(0), flags: outcome.flags };
}

/** Leaves result and flags in `outcome`; false when only the exact path knows. */
function nearest64(fn: FloatFunction, bitsA: bigint, bitsB: bigint, bitsC: bigint): boolean {
  const a = number64(bitsA);
  const b = number64(bitsB);
  switch (fn) {
    case "add":
      return answer(a + b, addFlags64(a, b, a + b));
    case "sub":
      return answer(a - b, addFlags64(a, -b, a - b));
    case "mul":
      return answer(a * b, mulFlags64(a, b, a * b));
    case "div":
      return answer(a / b, divFlags64(a, b, a / b));
    case "sqrt":
      return answer(Math.sqrt(a), sqrtFlags64(a, Math.sqrt(a)));
    case "fma":
      return fma64(a, b, number64(bitsC), outcome);
    default:
      return false;
  }
}

function nearest32(fn: FloatFunction, bitsA: bigint, bitsB: bigint, bitsC: bigint): boolean {
  if (fn === "convert") {
    const wide = number64(bitsA);
    const narrow = Math.fround(wide);
    return answer(narrow, demoteFlags(wide, narrow));
  }
  const a = number32(bitsA);
  const b = number32(bitsB);
  // Rounding first to f64 and then to f32 is innocuous: section 3 of `fast.ts`.
  const { fround } = Math;
  switch (fn) {
    case "add":
      return answer(fround(a + b), addFlags32(a, b, fround(a + b)));
    case "sub":
      return answer(fround(a - b), addFlags32(a, -b, fround(a - b)));
    case "mul":
      return answer(fround(a * b), mulFlags32(a, b, fround(a * b)));
    case "div":
      return answer(fround(a / b), divFlags32(a, b, fround(a / b)));
    case "sqrt":
      return answer(fround(Math.sqrt(a)), sqrtFlags32(a, fround(Math.sqrt(a))));
    case "fma":
      return fma32(a, b, number32(bitsC), outcome);
    default:
      return false;
  }
}

function answer(value: number, flags: number): boolean {
  outcome.value = value;
  outcome.flags = flags;
  return flags !== UNDECIDED;
}

function number64(bits: bigint): number {
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
}

function number32(bits: bigint): number {
  view.setUint32(0, Number(bits));
  return view.getFloat32(0);
}
