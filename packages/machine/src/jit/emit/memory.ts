/**
 * Guest memory from a region: the TLB's compare, and the access itself when it hits. Anything else leaves the
 * region before the instruction; the interpreter performs it, fills the TLB, raises the exception.
 */

import { loadName, storeName } from "../../interp/memory.ts";
import type { AtomicFn } from "../../ir/types.ts";
import { STATE } from "../../memory/layout.ts";
import type { RegionContext } from "./context.ts";

/** Leaves the XOR word of an address, which is the host address, in the returned local; or leaves the region. */
export function emitLookup(
  c: RegionContext,
  pushAddressOf: () => void,
  size: number,
  write: boolean,
  miss: () => void,
): number {
  const { code, layout, pool } = c;
  const address = pool.take("i64");
  const host = pool.take("i64");
  const table = layout.tlbAt + (2 * c.privilege + (write ? 1 : 0)) * layout.tlbTableBytes;
  pushAddressOf();
  code.tee(address).get(address).op("i32.wrap_i64").i32(9).op("i32.shr_u");
  code.i32(layout.tlbTableBytes - 8).op("i32.and");
  code.memory("i64.load", table).op("i64.xor").tee(host);
  code.i64(-(2n ** BigInt(layout.addressBits)) | BigInt(size - 1));
  code.op("i64.and").i64(0).op("i64.ne");
  code.unlikely().if(miss);
  return host;
}

export function emitLoadReserved(
  c: RegionContext,
  host: number,
  result: number,
  size: number,
): void {
  const { code } = c;
  code.i32(0).get(host).op("i32.wrap_i64").memory("i32.store", STATE.reservation);
  code.get(host).op("i32.wrap_i64").memory(loadName(size, true)).set(result);
}

export function emitStoreConditional(
  c: RegionContext,
  host: number,
  value: number,
  result: number,
  size: number,
): void {
  const { code } = c;
  code.i32(0).memory("i32.load", STATE.reservation).get(host).op("i32.wrap_i64", "i32.eq");
  code.if(
    () => {
      code.get(host).op("i32.wrap_i64").get(value).memory(storeName(size));
      code.i64(0).set(result);
    },
    () => {
      code.i64(1).set(result);
    },
  );
  code.i32(0).i32(0).memory("i32.store", STATE.reservation);
}

const COMBINE = { add: "i64.add", xor: "i64.xor", and: "i64.and", or: "i64.or" } as const;
const CHOOSE = { min: "i64.lt_s", max: "i64.gt_s", minu: "i64.lt_u", maxu: "i64.gt_u" } as const;

/** `value` is sign-extended from the operand's size, as the old value is: both keep their order. */
export function emitAtomic(
  c: RegionContext,
  fn: AtomicFn,
  at: { readonly host: number; readonly value: number; readonly result: number },
  size: number,
): void {
  const { code } = c;
  const { host, value, result } = at;
  code.get(host).op("i32.wrap_i64").memory(loadName(size, true)).set(result);
  code.get(host).op("i32.wrap_i64");
  switch (fn) {
    case "swap":
      code.get(value);
      break;
    case "add":
    case "xor":
    case "and":
    case "or":
      code.get(result).get(value).op(COMBINE[fn]);
      break;
    case "min":
    case "max":
    case "minu":
    case "maxu":
      code.get(result).get(value).get(result).get(value).op(CHOOSE[fn], "select");
      break;
  }
  code.memory(storeName(size));
}
