/**
 * The fused multiply-add as functions of a module: the processor's where vectors have it, else Boldo and
 * Melquiond's algorithms with rounding to odd, see fp/fast.ts section 5. A result of NaN means that the
 * operands are outside of what the algorithm is proved for; the caller then asks the exact operation.
 */

import type { Code } from "../wasm/code.ts";
import type { ModuleBuilder } from "../wasm/module.ts";

/** The windows of fp/fast.ts: inside, no error term overflows or loses bits. */
const FACTOR_MAX = 2 ** 988;
const TERM_MAX = 2 ** 1015;
const PRODUCT_MIN = 2 ** -960;
/** Splits 53 bits into two halves (Veltkamp). */
const SPLITTER = 134_217_729;

const view = new DataView(new ArrayBuffer(8));
function number(code: Code, value: number): Code {
  view.setFloat64(0, value);
  return code.i64(view.getBigUint64(0)).op("f64.reinterpret_i64");
}

/** The error of the sum `s` of `a` and `b`, exactly (Knuth). */
function sumError(code: Code, a: number, b: number, s: number): number {
  const [rest, error] = [code.local("f64"), code.local("f64")];
  code.get(s).get(a).op("f64.sub").set(rest);
  code.get(a).get(s).get(rest).op("f64.sub", "f64.sub");
  code.get(b).get(rest).op("f64.sub", "f64.add").set(error);
  return error;
}

function halves(code: Code, a: number): readonly [number, number] {
  const [t, high, low] = [code.local("f64"), code.local("f64"), code.local("f64")];
  number(code, SPLITTER).get(a).op("f64.mul").set(t);
  code.get(t).get(t).get(a).op("f64.sub", "f64.sub").set(high);
  code.get(a).get(high).op("f64.sub").set(low);
  return [high, low];
}

/** The error of the product `p` of `a` and `b`, exactly (Dekker). */
function productError(code: Code, a: number, b: number, p: number): number {
  const [ah, al] = halves(code, a);
  const [bh, bl] = halves(code, b);
  const error = code.local("f64");
  code.get(ah).get(bh).op("f64.mul").get(p).op("f64.sub");
  code.get(ah).get(bl).op("f64.mul", "f64.add").get(al).get(bh).op("f64.mul", "f64.add");
  code.get(al).get(bl).op("f64.mul", "f64.add").set(error);
  return error;
}

/** Pushes the inexact sum with an error, moved to the neighbour with an odd last bit. */
function pushRoundedToOdd(code: Code, sum: number, error: number): void {
  const bits = code.local("i64");
  code.get(sum).op("i64.reinterpret_f64").tee(bits);
  // +1 away from zero if the error has the sum's sign, -1 towards zero if not; 0 if exact or odd already.
  code.get(error).op("i64.reinterpret_f64").get(bits).op("i64.xor").i64(63).op("i64.shr_s");
  code.i64(1).op("i64.or").i64(0);
  code.get(error);
  number(code, 0).op("f64.eq", "i32.eqz");
  code.get(bits).op("i32.wrap_i64").i32(1).op("i32.and", "i32.eqz", "i32.and");
  code.op("select", "i64.add", "f64.reinterpret_i64");
}

function pushWithin(code: Code, local: number, limit: number): void {
  code.get(local).op("f64.abs");
  number(code, limit).op("f64.le");
}

/** f64, f64, f64 -> f64: a * b + c rounded once to nearest even, or NaN. `fused` as wasm/probe.ts says. */
export function defineFma64(module: ModuleBuilder, fused: boolean): number {
  const type = { parameters: ["f64", "f64", "f64"], results: ["f64"] } as const;
  if (fused) return module.define(type, (code) => code.fused("f64", 0, 1, 2));
  return module.define(type, (code) => {
    const [a, b, c] = [0, 1, 2];
    const local = (): number => code.local("f64");
    const [product, th, vh, low, odd] = [local(), local(), local(), local(), local()];
    code.get(a).get(b).op("f64.mul").set(product);
    pushWithin(code, a, FACTOR_MAX);
    pushWithin(code, b, FACTOR_MAX);
    pushWithin(code, c, TERM_MAX);
    pushWithin(code, product, TERM_MAX);
    number(code, PRODUCT_MIN).get(product).op("f64.abs", "f64.le");
    code.op("i32.and", "i32.and", "i32.and", "i32.and", "i32.eqz");
    code.if(() => {
      number(code, Number.NaN).op("return");
    });
    const ul = productError(code, a, b, product);
    code.get(c).get(ul).op("f64.add").set(th);
    const tl = sumError(code, c, ul, th);
    code.get(product).get(th).op("f64.add").set(vh);
    const vl = sumError(code, product, th, vh);
    code.get(tl).get(vl).op("f64.add").set(low);
    const lowError = sumError(code, tl, vl, low);
    pushRoundedToOdd(code, low, lowError);
    code.set(odd).get(vh).get(odd).op("f64.add");
  });
}

/** f32, f32, f32 -> f32: a * b + c rounded once to nearest even; NaN, infinities as they come. */
export function defineFma32(module: ModuleBuilder, fused: boolean): number {
  const type = { parameters: ["f32", "f32", "f32"], results: ["f32"] } as const;
  if (fused) return module.define(type, (code) => code.fused("f32", 0, 1, 2));
  return module.define(type, (code) => {
    const local = (): number => code.local("f64");
    const [product, addend, sum] = [local(), local(), local()];
    code.get(0).op("f64.promote_f32").get(1).op("f64.promote_f32", "f64.mul").set(product);
    code.get(2).op("f64.promote_f32").set(addend);
    code.get(product).get(addend).op("f64.add").set(sum);
    const error = sumError(code, product, addend, sum);
    pushRoundedToOdd(code, sum, error);
    code.op("f32.demote_f64");
  });
}
