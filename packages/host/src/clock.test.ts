import assert from "node:assert/strict";
import { test } from "node:test";
import { hostClock, hostRandom } from "./clock.ts";

test("monotonic time never goes back, and boot time is not behind it", () => {
  let last = hostClock.monotonicMs();
  for (let i = 0; i < 1000; i++) {
    const now = hostClock.monotonicMs();
    assert.ok(now >= last);
    last = now;
  }
  // Boot time is counted in hundredths of a second on some systems.
  const before = hostClock.monotonicMs();
  if (process.platform === "linux") assert.ok(hostClock.bootMs() >= before - 20);
  assert.ok(hostClock.wallMs() > Date.UTC(2024));
});

test("random numbers are of 32 bits, and differ", () => {
  const seen = new Set(Array.from({ length: 100 }, () => hostRandom.u32()));
  assert.ok(seen.size > 90);
  for (const value of seen) assert.ok(Number.isInteger(value) && value >= 0 && value < 2 ** 32);
});
