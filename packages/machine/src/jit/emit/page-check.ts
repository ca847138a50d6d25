/** Whether the next page of a region is still where it was when the region was made. */

import { PAGE_BYTES } from "../../limits.ts";
import { JUMP_ENTRIES, JUMP_ENTRY_BYTES } from "../../memory/layout.ts";
import { pageDelta } from "../analyse/graph.ts";
import type { RegionContext } from "./context.ts";
import { emitSideExit, LEFT_BY, pushAddress, pushPageBase } from "./context.ts";
import type { Forms } from "./forms.ts";

/**
 * Goes on only if the jump table has the page of `delta` at the operations that the region was made from; else
 * does `otherwise`, which leaves. So the table is asked where the interpreter asks it.
 */
function emitCheck(c: RegionContext, delta: number, otherwise: () => void): void {
  const { code, layout, pool } = c;
  const start = pageDelta(delta);
  const table = layout.jumpsAt[c.privilege === 0 ? 0 : 1];
  const [entry, address] = [pool.take("i32"), pool.take("i64")];
  pushAddress(c, start);
  code.tee(address).op("i32.wrap_i64").i32(8).op("i32.shr_u");
  code
    .i32((JUMP_ENTRIES - 1) * JUMP_ENTRY_BYTES)
    .op("i32.and")
    .tee(entry);
  code.memory("i64.load", table).get(address).op("i64.ne");
  code.get(entry).memory("i32.load", table + 8);
  pushPageBase(c, start);
  code.op("i32.ne", "i32.or");
  code.unlikely().if(otherwise);
}

/** Before the region goes on at `delta`, in another page. */
export function emitPageCheck(c: RegionContext, forms: Forms, delta: number): void {
  emitCheck(c, delta, () => {
    forms.settle();
    pushAddress(c, delta);
    c.code.set(c.locals.target).br(c.labels.jump);
  });
}

/** Before the instruction at `delta`, of which half lies in the next page; `undone` as for a side exit. */
export function emitStraddleCheck(
  c: RegionContext,
  forms: Forms,
  delta: number,
  undone: number,
): void {
  const next = pageDelta(delta) + PAGE_BYTES;
  emitCheck(c, next, () => emitSideExit(c, forms, delta, undone, LEFT_BY.memory));
}
