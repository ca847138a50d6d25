/** Values while an instruction is emitted: known, in a local, or code that is still to be pushed. */

import { unreachable } from "@blixard/std";
import type { BinaryFn, CompareFn, IrType } from "../../ir/types.ts";

export interface Emitted {
  readonly type: IrType;
  /** The value, if it is known, as an unsigned number of its type. */
  readonly known?: bigint;
  /** Distance from the region's base, if it is known. */
  readonly distance?: number;
  /** May be pushed any number of times at no cost. */
  readonly cheap: boolean;
  /** The local that holds it in its own type. */
  readonly local?: number;
  push(): void;
  /** For an i64 that is the bits of a double: pushes the double. */
  pushDouble?(): void;
  readonly doubleLocal?: number;
}

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
