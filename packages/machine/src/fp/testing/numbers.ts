/** Between bit patterns and numbers. Every NaN becomes the canonical one on the way back. */

import { F32, F64 } from "../format.ts";

const view = new DataView(new ArrayBuffer(8));

export function toNumber64(bits: bigint): number {
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
}

export function fromNumber64(value: number): bigint {
  if (Number.isNaN(value)) return F64.canonicalNan;
  view.setFloat64(0, value);
  return view.getBigUint64(0);
}

export function toNumber32(bits: bigint): number {
  view.setUint32(0, Number(bits));
  return view.getFloat32(0);
}

/** `value` must be an f32 value or NaN: it is not rounded here. */
export function fromNumber32(value: number): bigint {
  if (Number.isNaN(value)) return F32.canonicalNan;
  view.setFloat32(0, value);
  return BigInt(view.getUint32(0));
}
