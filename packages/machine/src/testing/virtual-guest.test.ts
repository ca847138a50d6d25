/** A slice of `npm run test:determinism`: the beginning of Linux's boot. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "@blixard/std";
import { VirtualGuest, type VirtualGuestOptions } from "./virtual-guest.ts";

const INSTRUCTIONS = 12_000_000;
const RAM_BYTES = 64 << 20;

function hashOf(options: VirtualGuestOptions): string {
  const guest = new VirtualGuest({ ramBytes: RAM_BYTES, ...options });
  assert.ok(guest.runTo(INSTRUCTIONS));
  assert.equal(guest.machine.instructions, INSTRUCTIONS);
  return guest.machine.stateHash();
}

test("in virtual time Linux runs the same, however its budgets are cut", () => {
  const random = new Prng(4);
  const whole = hashOf({});
  assert.equal(hashOf({ budget: () => 1 + random.below(90_000) }), whole);
  // The hash sees what differs: other random numbers in the device tree.
  assert.notEqual(hashOf({ seed: 2 }), whole);
});
