/** A slice of `npm run test:determinism`: the beginning of Linux's boot. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "@blixard/std";
import type { Machine } from "../machine.ts";
import { VirtualGuest, type VirtualGuestOptions } from "./virtual-guest.ts";

const INSTRUCTIONS = 12_000_000;
const RAM_BYTES = 64 << 20;

function ran(options: VirtualGuestOptions): Machine {
  const guest = new VirtualGuest({ ramBytes: RAM_BYTES, ...options });
  assert.ok(guest.runTo(INSTRUCTIONS));
  assert.equal(guest.machine.instructions, INSTRUCTIONS);
  return guest.machine;
}
const hashOf = (options: VirtualGuestOptions): string => ran(options).stateHash();

test("in virtual time Linux runs the same, however its budgets are cut, and whoever compiled it", () => {
  const random = new Prng(4);
  const first = ran({ machine: { jit: { kept: {} } } });
  const whole = first.stateHash();
  assert.equal(hashOf({ budget: () => 1 + random.below(90_000) }), whole);
  // With the regions that the first has made.
  const bytes = first.keptRegions();
  assert.ok(bytes !== undefined);
  const again = ran({ machine: { jit: { kept: { bytes } } } });
  assert.ok((again.stats().jit?.reused ?? 0) > 0);
  assert.equal(again.stateHash(), whole);
  // The hash sees what differs: other random numbers in the device tree.
  assert.notEqual(hashOf({ seed: 2 }), whole);
});
