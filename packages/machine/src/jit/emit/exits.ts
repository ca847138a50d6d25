/** How a region is entered and left: registers from and to the hart's state, chaining to the next region. */

import { JUMP_ENTRIES, JUMP_ENTRY_BYTES, STATE } from "../../memory/layout.ts";
import type { RegisterUse } from "../analyse/registers.ts";
import { members } from "../analyse/registers.ts";
import type { RegionContext } from "./context.ts";
import { ADJUST_BITS, LEFT_BY } from "./context.ts";

const stateOf = (number: number): number =>
  number < 32 ? STATE.x + 8 * number : STATE.f + 8 * (number - 32);

export function emitLoadRegisters(c: RegionContext, use: RegisterUse): void {
  for (const number of members(use.loaded)) {
    const name = number < 32 ? "i64.load" : "f64.load";
    c.code.i32(0).memory(name, stateOf(number)).set(c.register(number));
  }
}
function emitStoreRegisters(c: RegionContext, use: RegisterUse): void {
  for (const number of members(use.written)) {
    const name = number < 32 ? "i64.store" : "f64.store";
    c.code.i32(0).get(c.register(number)).memory(name, stateOf(number));
  }
}

/** Leaves without having changed anything, for the interpreter to go on at `delta`. */
export function emitRefuse(c: RegionContext, delta: number, by: number): void {
  const { code, locals } = c;
  code.i32(0).get(locals.base);
  if (delta !== 0) code.i64(delta).op("i64.add");
  code.memory("i64.store", STATE.pc);
  code.i32(0).get(locals.left).memory("i32.store", STATE.left);
  code.i32(by).op("return");
}

/** Before the instruction at `at`. */
export function emitSide(c: RegionContext, use: RegisterUse): void {
  const { code, locals } = c;
  emitStoreRegisters(c, use);
  code.i32(0).get(locals.base).get(locals.at).op("i64.extend_i32_s", "i64.add");
  code.memory("i64.store", STATE.pc);
  code.i32(0).get(locals.left).get(locals.adjust);
  code.i32(2 ** ADJUST_BITS - 1).op("i32.and", "i32.add");
  code.memory("i32.store", STATE.left);
  code.get(locals.adjust).i32(ADJUST_BITS).op("i32.shr_u");
}

/** On at `target`: in the region there if one is known, else in the interpreter. */
export function emitJump(c: RegionContext, use: RegisterUse, regionType: number): void {
  const { code, layout, locals, pool } = c;
  emitStoreRegisters(c, use);
  pool.reset();
  const [entry, found, page] = [pool.take("i32"), pool.take("i32"), pool.take("i64")];
  const table = layout.jumpsAt[c.privilege === 0 ? 0 : 1];
  code.get(locals.target).op("i32.wrap_i64").i32(8).op("i32.shr_u");
  code
    .i32((JUMP_ENTRIES - 1) * JUMP_ENTRY_BYTES)
    .op("i32.and")
    .tee(entry);
  code.memory("i64.load", table);
  code.get(locals.target).i64(-4096).op("i64.and").tee(page).op("i64.eq");
  code.if(() => {
    // Four bytes of count or region for sixteen of operation.
    code
      .get(entry)
      .memory("i32.load", table + 8)
      .i32(layout.codeAt)
      .op("i32.sub");
    code.get(locals.target).op("i32.wrap_i64").i32(4095).op("i32.and").i32(3).op("i32.shl");
    code.op("i32.add").i32(2).op("i32.shr_u").memory("i32.load", layout.countsAt).tee(found);
    code
      .i32(0)
      .op("i32.lt_s")
      .if(() => {
        code.get(locals.left).get(page).get(found).i32(0x7fffffff).op("i32.and");
        code.returnCallIndirect(regionType);
      });
  });
  code.i32(0).get(locals.target).memory("i64.store", STATE.pc);
  code.i32(0).get(locals.left).memory("i32.store", STATE.left);
  code.i32(LEFT_BY.jump);
}
