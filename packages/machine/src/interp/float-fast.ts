/**
 * Floating point on the host's instructions. `emitFast` computes the result for rounding to nearest even (for
 * conversions to integers: towards zero) and pushes whether it is right and raises no flag that is not raised
 * already. Why each test proves that is written in fp/fast.ts, whose section numbers are given here.
 */

import { unreachable } from "@blixard/std";
import type { FloatFn, FloatType, IrOp } from "../ir/types.ts";
import { STATE } from "../memory/layout.ts";
import type { Code, PlainName } from "../wasm/code.ts";
import type { LocalPool } from "./context.ts";

/** What the fast path needs of the code around it. */
export interface FloatContext {
  readonly code: Code;
  readonly pool: LocalPool;
  readonly functions: { readonly fma32: number; readonly fma64: number };
  /** Pushes NX of fflags, 0 or 1; without it the flag is read where the hart has it. */
  readonly pushInexact?: () => void;
}

/** Conversions whose fast path is for rounding towards zero, which is what compilers ask for. */
export const TRUNCATES: ReadonlySet<FloatFn> = new Set(["to_i32", "to_u32", "to_i64", "to_u64"]);

const MAX = { f32: (2 - 2 ** -23) * 2 ** 127, f64: Number.MAX_VALUE } as const;
const MIN_NORMAL = { f32: 2 ** -126, f64: 2 ** -1022 } as const;

const bitsView = new DataView(new ArrayBuffer(8));
/** A constant; f64 constants serve f32 tests through promotion. */
function pushNumber(code: Code, value: number): Code {
  bitsView.setFloat64(0, value);
  return code.i64(bitsView.getBigUint64(0)).op("f64.reinterpret_i64");
}

function pushInexact({ code, pushInexact: push }: FloatContext): Code {
  if (push === undefined) return code.i32(0).memory("i32.load", STATE.fflags).i32(1).op("i32.and");
  push();
  return code;
}

class Fast {
  readonly #c: FloatContext;
  readonly #code: Code;
  readonly #type: FloatType;
  readonly #args: readonly number[];
  readonly #result: number;

  constructor(
    c: FloatContext,
    op: IrOp & { readonly op: "float" },
    args: readonly number[],
    to: number,
  ) {
    this.#c = c;
    this.#code = c.code;
    this.#type = op.format;
    this.#args = args;
    this.#result = to;
  }

  /** Pushes an operand or the result as it is. */
  #push(local: number): Code {
    return this.#code.get(local);
  }
  /** Pushes a number of this format as f64, which is exact. */
  #wide(local: number): Code {
    this.#code.get(local);
    return this.#type === "f32" ? this.#code.op("f64.promote_f32") : this.#code;
  }
  #arg(n: number): number {
    return this.#args[n] ?? 0;
  }
  #plain(fn: string): Code {
    // `fn` is one of the names that both float types have.
    return this.#code.op(`${this.#type}.${fn}` as PlainName);
  }
  #magnitude(): Code {
    return this.#wide(this.#result).op("f64.abs");
  }
  #finite(): Code {
    this.#magnitude();
    return pushNumber(this.#code, MAX[this.#type]).op("f64.le");
  }
  #isZero(local: number): Code {
    this.#wide(local);
    return pushNumber(this.#code, 0).op("f64.eq");
  }
  /** Section 1: minNormal < |r| <= max. */
  #settled(): Code {
    this.#finite();
    this.#magnitude();
    return pushNumber(this.#code, MIN_NORMAL[this.#type]).op("f64.gt", "i32.and");
  }
  #ordered(n: number): Code {
    this.#push(this.#arg(n));
    this.#push(this.#arg(n));
    return this.#plain("eq");
  }

  #compute(fn: string, count: number): void {
    for (let n = 0; n < count; n++) this.#push(this.#arg(n));
    this.#plain(fn).set(this.#result);
  }

  /** Sections 1 and 2: finite with NX set, or exact. */
  #sum(fn: "add" | "sub"): void {
    this.#compute(fn, 2);
    const [a, b, r] = [this.#arg(0), this.#arg(1), this.#result];
    this.#finite();
    pushInexact(this.#c);
    // Exact: r - a gives b (or -b), and r - b (or r + b) gives a.
    if (fn === "add") {
      this.#push(r).get(a);
      this.#plain("sub").get(b);
    } else {
      this.#push(a).get(r);
      this.#plain("sub").get(b);
    }
    this.#plain("eq");
    this.#push(r).get(b);
    this.#plain(fn === "add" ? "sub" : "add").get(a);
    this.#plain("eq").op("i32.and", "i32.or", "i32.and");
  }

  #product(fn: "mul" | "div"): void {
    this.#compute(fn, 2);
    this.#settled();
    pushInexact(this.#c).op("i32.and");
    // Zero of a zero operand raises nothing, unless the other operand makes it invalid: then r is NaN.
    this.#isZero(this.#result);
    this.#isZero(this.#arg(0));
    if (fn === "mul") {
      this.#isZero(this.#arg(1));
      this.#code.op("i32.or");
    }
    this.#code.op("i32.and", "i32.or");
    if (this.#type === "f32" && fn === "mul") {
      // Section 2: the product of two singles is exact as a double.
      this.#wide(this.#arg(0));
      this.#wide(this.#arg(1)).op("f64.mul");
      this.#wide(this.#result).op("f64.eq");
      this.#settled().op("i32.and", "i32.or");
    }
  }

  /** Sections 1 and 5; a result of NaN is not settled. */
  #fused(): void {
    const { fma32, fma64 } = this.#c.functions;
    for (let n = 0; n < 3; n++) this.#push(this.#arg(n));
    this.#code.call(this.#type === "f32" ? fma32 : fma64).set(this.#result);
    this.#settled();
    pushInexact(this.#c).op("i32.and");
    // Zero because a factor is: nothing was rounded.
    this.#isZero(this.#result);
    this.#isZero(this.#arg(0));
    this.#isZero(this.#arg(1)).op("i32.or", "i32.and", "i32.or");
  }

  #root(): void {
    this.#compute("sqrt", 1);
    this.#push(this.#result).get(this.#result);
    this.#plain("eq");
    pushInexact(this.#c).op("i32.and");
  }

  #compare(fn: "eq" | "lt" | "le"): void {
    this.#compute(fn, 2);
    this.#ordered(0);
    this.#ordered(1).op("i32.and");
  }

  /** By comparison; zeros that compare equal may have different signs. */
  #extreme(fn: "min" | "max"): void {
    const [a, b] = [this.#arg(0), this.#arg(1)];
    this.#push(a).get(b).get(a).get(b);
    this.#plain(fn === "min" ? "lt" : "gt")
      .op("select")
      .set(this.#result);
    this.#push(a).get(b);
    this.#plain("lt");
    this.#push(a).get(b);
    this.#plain("gt").op("i32.or");
    this.#push(a).get(b);
    this.#plain("eq");
    this.#isZero(a).op("i32.eqz", "i32.and", "i32.or");
  }

  /** Section 6, towards zero. */
  #toInteger(fn: FloatFn): void {
    const a = this.#arg(0);
    const wide = fn === "to_i64" || fn === "to_u64";
    const low = fn === "to_i32" ? -(2 ** 31) - 1 : fn === "to_i64" ? -(2 ** 63) : -1;
    const high = fn === "to_i32" ? 2 ** 31 : fn === "to_u32" ? 2 ** 32 : 2 ** 63;
    const code = this.#code;
    const inRange = (): void => {
      this.#wide(a);
      pushNumber(code, low).op("f64.gt");
      this.#wide(a);
      pushNumber(code, high).op("f64.lt", "i32.and");
    };
    inRange();
    code.if(() => {
      this.#wide(a).op("i64.trunc_f64_s");
      if (!wide) code.op("i64.extend32_s");
      code.set(this.#result);
    });
    inRange();
    pushInexact(this.#c);
    this.#wide(a).op("f64.trunc");
    this.#wide(a).op("f64.eq", "i32.or", "i32.and");
  }

  #fromInteger(fn: FloatFn): void {
    const code = this.#code;
    const value = this.#c.pool.take("i64");
    code.get(this.#arg(0));
    if (fn === "from_i32") code.op("i64.extend32_s");
    if (fn === "from_u32") code.i64(0xffffffffn).op("i64.and");
    code.tee(value);
    this.#plain(`convert_i64_${fn === "from_u64" ? "u" : "s"}`).set(this.#result);
    if (this.#type === "f64" && (fn === "from_i32" || fn === "from_u32")) {
      code.i32(1);
      return;
    }
    // Exact up to the precision: magnitudes below 2^24 or 2^53.
    const limit = this.#type === "f32" ? 2n ** 24n : 2n ** 53n;
    pushInexact(this.#c).get(value);
    if (fn === "from_u64") code.i64(limit);
    else
      code
        .i64(limit)
        .op("i64.add")
        .i64(2n * limit);
    code.op("i64.lt_u", "i32.or");
  }

  #convert(): void {
    const code = this.#code;
    const a = this.#arg(0);
    if (this.#type === "f64") {
      code.get(a).op("f64.promote_f32").set(this.#result);
      code.get(a).get(a).op("f32.eq");
      return;
    }
    code.get(a).op("f32.demote_f64").set(this.#result);
    this.#settled();
    pushInexact(this.#c);
    this.#wide(this.#result).get(a).op("f64.eq", "i32.or", "i32.and");
    this.#isZero(this.#result);
    code.get(a);
    pushNumber(code, 0).op("f64.eq", "i32.and", "i32.or");
  }

  emit(fn: FloatFn): boolean {
    switch (fn) {
      case "add":
      case "sub":
        this.#sum(fn);
        return true;
      case "mul":
      case "div":
        this.#product(fn);
        return true;
      case "sqrt":
        this.#root();
        return true;
      case "eq":
      case "lt":
      case "le":
        this.#compare(fn);
        return true;
      case "min":
      case "max":
        this.#extreme(fn);
        return true;
      case "to_i32":
      case "to_u32":
      case "to_i64":
      case "to_u64":
        this.#toInteger(fn);
        return true;
      case "from_i32":
      case "from_u32":
      case "from_i64":
      case "from_u64":
        this.#fromInteger(fn);
        return true;
      case "convert":
        this.#convert();
        return true;
      case "fma":
        this.#fused();
        return true;
      case "class":
        return false;
      default:
        return unreachable(fn);
    }
  }
}

/** False, with nothing emitted, where there is no fast path. */
export function emitFast(
  c: FloatContext,
  op: IrOp & { readonly op: "float" },
  args: readonly number[],
  result: number,
): boolean {
  return new Fast(c, op, args, result).emit(op.fn);
}
