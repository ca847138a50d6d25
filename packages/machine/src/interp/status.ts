/**
 * sstatus without the machine. A kernel switches its interrupts off and on all the time, and that much is done
 * in WebAssembly: nothing else changes with it, unless an interrupt is there to be taken.
 */

import { STATUS } from "../isa/riscv64/hart.ts";
import { STATE } from "../memory/layout.ts";
import type { Code } from "../wasm/code.ts";

/** Operations of CSR instructions that are done here: setting and clearing bits. */
export const SET_BITS = 2n;
export const CLEAR_BITS = 3n;

/** Pushes whether the operand names other bits than SIE. */
export function pushOtherBits(code: Code, operand: number): void {
  code.get(operand).i64(~BigInt(STATUS.sie)).op("i64.and").i64(0).op("i64.ne");
}
/** Pushes whether setting the operand's bits makes an interrupt possible that is pending: not zero. */
export function pushInterruptible(code: Code, operand: number): void {
  code.get(operand).op("i32.wrap_i64").i32(0).memory("i32.load", STATE.pending).op("i32.and");
}

/** Pushes sstatus, as `readSstatus` in isa/riscv64/csr.ts; `fs` is an i32 local. */
export function pushStatus(code: Code, fs: number): void {
  code.i32(3).i32(0).memory("i32.load", STATE.fs).i32(0).memory("i32.load", STATE.fpDirty);
  code.op("select").tee(fs).i32(13).op("i32.shl");
  code.i32(0).memory("i32.load", STATE.status).op("i32.or", "i64.extend_i32_u");
  code
    .i64(2n << 32n)
    .op("i64.or")
    .get(fs)
    .i32(3)
    .op("i32.eq", "i64.extend_i32_u");
  code.i64(63).op("i64.shl", "i64.or");
}

/** Sets or clears SIE as the operand, which names no other bits, says. */
export function emitSwitch(code: Code, operation: bigint, operand: number): void {
  code.i32(0).i32(0).memory("i32.load", STATE.status).get(operand).op("i32.wrap_i64");
  if (operation === SET_BITS) code.op("i32.or");
  else code.i32(-1).op("i32.xor", "i32.and");
  code.memory("i32.store", STATE.status);
}
