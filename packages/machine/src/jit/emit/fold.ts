/** Operations on numbers that are known when a region is emitted. */

import { unreachable } from "@blixard/std";
import type { BinaryFn, CompareFn } from "../../ir/types.ts";

/** Result of an operation on known numbers; undefined where the machine's operation is not worth repeating. */
export function foldBinary(
  type: "i32" | "i64",
  fn: BinaryFn,
  a: bigint,
  b: bigint,
): bigint | undefined {
  const bits = type === "i32" ? 32 : 64;
  const count = b & BigInt(bits - 1);
  const wrap = (value: bigint): bigint => BigInt.asUintN(bits, value);
  switch (fn) {
    case "add":
      return wrap(a + b);
    case "sub":
      return wrap(a - b);
    case "and":
      return a & b;
    case "or":
      return a | b;
    case "xor":
      return a ^ b;
    case "shl":
      return wrap(a << count);
    case "shr_u":
      return a >> count;
    case "shr_s":
      return wrap(BigInt.asIntN(bits, a) >> count);
    default:
      return undefined;
  }
}

export function foldCompare(type: "i32" | "i64", fn: CompareFn, a: bigint, b: bigint): boolean {
  const bits = type === "i32" ? 32 : 64;
  const [sa, sb] = [BigInt.asIntN(bits, a), BigInt.asIntN(bits, b)];
  switch (fn) {
    case "eq":
      return a === b;
    case "ne":
      return a !== b;
    case "lt_s":
      return sa < sb;
    case "lt_u":
      return a < b;
    case "ge_s":
      return sa >= sb;
    case "ge_u":
      return a >= b;
    default:
      return unreachable(fn);
  }
}
