import assert from "node:assert/strict";
import { test } from "node:test";
import { Hart } from "../isa/riscv64/hart.ts";
import { SUPERPAGE_REGIONS_MAX } from "../limits.ts";
import { Frames } from "../memory/frames.ts";
import { layoutFor } from "../memory/layout.ts";
import { SoftTlb } from "../memory/tlb.ts";
import { CodePages } from "./code-pages.ts";
import { createMemory } from "../wasm/engine.ts";
import { Place } from "./place.ts";
import { MemoryRegisters } from "./registers.ts";

const RAM_BYTES = 4 << 20;

function place(onForget: () => void): Place {
  const layout = layoutFor(RAM_BYTES);
  const { buffer } = createMemory(layout.wasmPages);
  const hart = new Hart(new MemoryRegisters(buffer), {
    time: () => 0n,
    timeReached: () => false,
    cycles: () => 0n,
    instret: () => 0n,
    externalInterrupt: () => false,
    translationChanged: () => undefined,
  });
  const frames = new Frames(layout, buffer, 0x8000_0000, RAM_BYTES);
  const tlb = new SoftTlb(layout, buffer);
  const flushAll = tlb.flushAll.bind(tlb);
  tlb.flushAll = () => {
    onForget();
    flushAll();
  };
  return new Place(
    { hart, frames, tlb, code: new CodePages(layout, buffer, frames), layout },
    buffer,
  );
}

test("a guest that maps large pages without end fills no list without end", () => {
  let forgotten = 0;
  const made = place(() => forgotten++);
  const regions = 3 * SUPERPAGE_REGIONS_MAX;
  for (let region = 0; region < regions; region++) {
    made.noteSuperpage(region >>> 11, (region << 21) | 0, 1);
    assert.ok(made.superpageRegions <= SUPERPAGE_REGIONS_MAX);
  }
  // What was forgotten in the list is forgotten in the caches: a fence for one address stays right.
  assert.equal(forgotten, 2);
});
