/** Emits guest memory accesses: the TLB's compare inline, everything else through `access`. */

import type { AtomicFn } from "../ir/types.ts";
import { PAGE_BYTES } from "../limits.ts";
import { STATE } from "../memory/layout.ts";
import type { MemoryName } from "../wasm/code.ts";
import type { Context, Labels } from "./context.ts";
import { SLOW } from "./context.ts";

const LOADS: Readonly<Record<string, MemoryName>> = {
  "1s": "i64.load8_s",
  "1u": "i64.load8_u",
  "2s": "i64.load16_s",
  "2u": "i64.load16_u",
  "4s": "i64.load32_s",
  "4u": "i64.load32_u",
  "8s": "i64.load",
  "8u": "i64.load",
};
const STORES: Readonly<Record<number, MemoryName>> = {
  1: "i64.store8",
  2: "i64.store16",
  4: "i64.store32",
  8: "i64.store",
};
export const loadName = (size: number, signed: boolean): MemoryName =>
  LOADS[`${size}${signed ? "s" : "u"}`] ?? "i64.load";
export const storeName = (size: number): MemoryName => STORES[size] ?? "i64.store";

/** Leaves in `host` the XOR word, and on the stack whether the access misses. */
function emitLookup(c: Context, address: number, host: number, size: number, write: boolean): void {
  const { code, layout, locals } = c;
  code.get(address).get(address).op("i32.wrap_i64").i32(9).op("i32.shr_u");
  code
    .i32(layout.tlbTableBytes - 8)
    .op("i32.and")
    .get(locals.tlb)
    .op("i32.add");
  code
    .memory("i64.load", write ? layout.tlbTableBytes : 0)
    .op("i64.xor")
    .tee(host);
  const mask = -(2n ** BigInt(layout.addressBits)) | BigInt(size - 1);
  code.i64(mask).op("i64.and").i64(0).op("i64.ne");
}

/** Puts away what the machine may look at or change. */
export function emitSave(c: Context): void {
  const { code, locals } = c;
  code.i32(0).get(locals.ip).memory("i32.store", STATE.ip);
  code.i32(0).get(locals.left).memory("i32.store", STATE.left);
}

/** After a call of the machine: abandons the instruction on an exception, else takes back the budget. */
export function emitAfterCall(c: Context, labels: Labels): void {
  const { code, locals } = c;
  code.brIf(labels.trapped);
  code.i32(0).memory("i32.load", STATE.left).set(locals.left);
}

function emitSlow(c: Context, labels: Labels, address: number, kind: number): void {
  const { code, functions } = c;
  emitSave(c);
  code.i32(0).get(address).memory("i64.store", STATE.address);
  code.i32(kind).call(functions.access);
  emitAfterCall(c, labels);
}

/** Performs an access that is only misaligned, inside a page that hits; else `otherwise`. */
function emitInsidePage(
  c: Context,
  host: number,
  size: number,
  direct: () => void,
  otherwise: () => void,
): void {
  if (size === 1) {
    otherwise();
    return;
  }
  const { code, layout } = c;
  code
    .get(host)
    .i64(-(2n ** BigInt(layout.addressBits)))
    .op("i64.and", "i64.eqz");
  code
    .get(host)
    .op("i32.wrap_i64")
    .i32(PAGE_BYTES - 1)
    .op("i32.and");
  code.i32(PAGE_BYTES - size + 1).op("i32.lt_u", "i32.and");
  code.if(direct, otherwise);
}

export function emitLoad(
  c: Context,
  labels: Labels,
  address: number,
  result: number,
  access: { readonly size: number; readonly signed: boolean },
): void {
  const { code, pool } = c;
  const host = pool.take("i64");
  const direct = (): void => {
    code.get(host).op("i32.wrap_i64").memory(loadName(access.size, access.signed)).set(result);
  };
  const slow = (): void => {
    emitSlow(c, labels, address, access.size | (access.signed ? SLOW.signed : 0));
    code.i32(0).memory("i64.load", STATE.value).set(result);
  };
  emitLookup(c, address, host, access.size, false);
  code.if(() => emitInsidePage(c, host, access.size, direct, slow), direct);
}

export function emitStore(
  c: Context,
  labels: Labels,
  address: number,
  value: number,
  size: number,
): void {
  const { code, pool } = c;
  const host = pool.take("i64");
  const direct = (): void => {
    code.get(host).op("i32.wrap_i64").get(value).memory(storeName(size));
  };
  const slow = (): void => {
    code.i32(0).get(value).memory("i64.store", STATE.value);
    emitSlow(c, labels, address, size | SLOW.store);
  };
  emitLookup(c, address, host, size, true);
  code.if(() => emitInsidePage(c, host, size, direct, slow), direct);
}

/** Leaves in the returned local the host address of an atomic's operand. */
function emitPlace(
  c: Context,
  labels: Labels,
  address: number,
  size: number,
  reserve: boolean,
): number {
  const { code, pool } = c;
  const host = pool.take("i64");
  emitLookup(c, address, host, size, !reserve);
  code.if(() => {
    emitSlow(c, labels, address, size | SLOW.atomic | (reserve ? SLOW.reserve : 0));
    code.i32(0).memory("i64.load", STATE.value).set(host);
  });
  const place = pool.take("i32");
  code.get(host).op("i32.wrap_i64").set(place);
  return place;
}

export function emitLoadReserved(
  c: Context,
  labels: Labels,
  address: number,
  result: number,
  size: number,
): void {
  const { code } = c;
  const place = emitPlace(c, labels, address, size, true);
  code.i32(0).get(place).memory("i32.store", STATE.reservation);
  code.get(place).memory(loadName(size, true)).set(result);
}

export function emitStoreConditional(
  c: Context,
  labels: Labels,
  address: number,
  value: number,
  result: number,
  size: number,
): void {
  const { code } = c;
  const place = emitPlace(c, labels, address, size, false);
  code.i32(0).memory("i32.load", STATE.reservation).get(place).op("i32.eq");
  code.if(
    () => {
      code.get(place).get(value).memory(storeName(size));
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

export function emitAtomic(
  c: Context,
  labels: Labels,
  fn: AtomicFn,
  operands: { readonly address: number; readonly value: number; readonly result: number },
  size: number,
): void {
  const { code, pool } = c;
  const { address, value, result } = operands;
  const place = emitPlace(c, labels, address, size, false);
  code.get(place).memory(loadName(size, true)).set(result);
  // A word's operand is sign-extended like the old value: both keep their order, unsigned order too.
  let operand = value;
  if (size === 4) {
    operand = pool.take("i64");
    code.get(value).op("i64.extend32_s").set(operand);
  }
  code.get(place);
  switch (fn) {
    case "swap":
      code.get(operand);
      break;
    case "add":
    case "xor":
    case "and":
    case "or":
      code.get(result).get(operand).op(COMBINE[fn]);
      break;
    case "min":
    case "max":
    case "minu":
    case "maxu":
      code.get(result).get(operand).get(result).get(operand).op(CHOOSE[fn], "select");
      break;
  }
  code.memory(storeName(size));
}
