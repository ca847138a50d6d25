/** Integer operations of a region, folded where operands are known and kept to 32 bits where that is enough. */

import { unreachable } from "@blixard/std";
import type { BinaryFn, IrOp, IrType, Value } from "../../ir/types.ts";
import type { PlainName } from "../../wasm/code.ts";
import { foldBinary, foldCompare } from "./fold.ts";
import type { Emitted, Values } from "./value.ts";

type Op<Name extends IrOp["op"]> = IrOp & { readonly op: Name };

/** The names of integer operations are WebAssembly's own. */
const nameOf = (type: IrType, fn: string): PlainName => `${type}.${fn}` as PlainName;

const isWord = (value: Emitted): boolean => value.computedAsWord === true;

export function emitBinary(values: Values, op: Op<"binary">, a: Emitted, b: Emitted): Emitted {
  const { code } = values.c;
  if (a.known !== undefined && b.known !== undefined) {
    const folded = foldBinary(op.type, op.fn, a.known, b.known);
    if (folded !== undefined) return values.known(op.type, folded);
  }
  if (op.fn === "add" && op.type === "i64") {
    if (b.known === 0n) return a;
    if (a.known === 0n) return b;
    if (a.distance !== undefined && b.known !== undefined) {
      const distance = a.distance + Number(BigInt.asIntN(64, b.known));
      if (Math.abs(distance) < 2 ** 31) return values.place(distance);
    }
  }
  const whole = values.tree(op.type, () => {
    a.push();
    b.push();
    code.op(nameOf(op.type, op.fn));
  });
  return op.type === "i64" ? asWord(values, op.fn, a, b, whole) : whole;
}

/** Of bitwise operations on words the result is a word. */
function asWord(values: Values, fn: BinaryFn, a: Emitted, b: Emitted, whole: Emitted): Emitted {
  if (fn !== "and" && fn !== "or" && fn !== "xor") return whole;
  const { code } = values.c;
  const { pushWord: left } = a;
  const { pushWord: right } = b;
  if (left !== undefined && right !== undefined) {
    const pushWord = (): void => {
      left();
      right();
      code.op(`i32.${fn}`);
    };
    return isWord(a) || isWord(b) ? values.word(false, pushWord) : { ...whole, pushWord };
  }
  // Masked with a number that is not negative.
  const mask = fn === "and" ? b.known : undefined;
  if (mask === undefined || mask >= 2n ** 31n) return whole;
  const pushWord = (): void => {
    a.push();
    code.op("i32.wrap_i64").i32(Number(mask)).op("i32.and");
  };
  return { ...whole, pushWord };
}

export function emitCompare(values: Values, op: Op<"compare">, a: Emitted, b: Emitted): Emitted {
  const { code } = values.c;
  if (a.known !== undefined && b.known !== undefined) {
    return values.known("i32", foldCompare(op.type, op.fn, a.known, b.known) ? 1n : 0n);
  }
  const { pushWord: left } = a;
  const { pushWord: right } = b;
  const push = (): void => {
    // Sign extension keeps every order.
    if (op.type === "i64" && left !== undefined && right !== undefined) {
      left();
      right();
      code.op(nameOf("i32", op.fn));
      return;
    }
    a.push();
    b.push();
    code.op(nameOf(op.type, op.fn));
  };
  return { type: "i32", cheap: false, small: true, push };
}

export function emitConvert(values: Values, op: Op<"convert">, type: IrType, a: Emitted): Emitted {
  const { code } = values.c;
  switch (op.fn) {
    case "wrap":
      if (a.known !== undefined) return values.known("i32", a.known);
      if (a.pushWord !== undefined) return { type, cheap: a.cheap, push: a.pushWord };
      return values.after(type, a, "i32.wrap_i64");
    case "extend_s":
      if (a.known !== undefined) return values.known("i64", BigInt.asIntN(32, a.known));
      return values.word(false, a.push);
    case "extend_u": {
      if (a.known !== undefined) return values.known("i64", a.known);
      const extended = values.after(type, a, "i64.extend_i32_u");
      return a.small === true ? { ...extended, pushWord: a.push } : extended;
    }
    case "bits_f64":
      if (a.doubleLocal !== undefined) return values.inLocal("f64", a.doubleLocal);
      return values.after(type, a, "f64.reinterpret_i64");
    case "f64_bits":
      return { ...values.after(type, a, "i64.reinterpret_f64"), pushDouble: a.push };
    case "bits_f32":
      return values.after(type, a, "f32.reinterpret_i32");
    case "f32_bits":
      return values.after(type, a, "i32.reinterpret_f32");
    case "box_f32":
      return values.tree("i64", () => {
        a.push();
        code.op("i32.reinterpret_f32", "i64.extend_i32_u").i64(0xffffffff00000000n).op("i64.or");
      });
    case "unbox_f32": {
      const bits = values.settle(a);
      return values.tree("f32", () => {
        code.get(bits).op("i32.wrap_i64").i32(0x7fc00000).get(bits).i64(32).op("i64.shr_u");
        code.i64(0xffffffffn).op("i64.eq", "select", "f32.reinterpret_i32");
      });
    }
    default:
      return unreachable(op.fn);
  }
}

export function emitSelect(
  values: Values,
  op: Op<"select">,
  valueOf: (value: Value) => Emitted,
): Emitted {
  const { code } = values.c;
  const [condition, yes, no] = [valueOf(op.condition), valueOf(op.yes), valueOf(op.no)];
  if (condition.known !== undefined) return condition.known === 0n ? no : yes;
  const choose = (left: () => void, right: () => void) => (): void => {
    left();
    right();
    condition.push();
    code.op("select");
  };
  if (op.type === "i64" && yes.pushWord !== undefined && no.pushWord !== undefined) {
    return values.word(false, choose(yes.pushWord, no.pushWord));
  }
  return values.tree(op.type, choose(yes.push, no.push));
}

export function emitUnary(values: Values, op: Op<"unary">, type: IrType, a: Emitted): Emitted {
  if (op.fn === "eqz" && a.known !== undefined) {
    return values.known("i32", a.known === 0n ? 1n : 0n);
  }
  if (op.fn === "extend32_s") {
    return values.word(false, values.after("i32", a, "i32.wrap_i64").push);
  }
  const value = values.after(type, a, nameOf(op.type, op.fn));
  const counts = op.fn === "eqz" || op.fn === "clz" || op.fn === "ctz" || op.fn === "popcnt";
  return type === "i32" && counts ? { ...value, small: true } : value;
}
