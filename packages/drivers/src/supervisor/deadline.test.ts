import assert from "node:assert/strict";
import { test } from "node:test";
import type { HostClock } from "../clock.ts";
import { LIMITS } from "../limits.ts";
import { Deadline } from "./deadline.ts";

class FakeClock implements HostClock {
  monotonic = 1000;
  boot = 1000;
  monotonicMs(): number {
    return this.monotonic;
  }
  bootMs(): number {
    return this.boot;
  }
  pass(ms: number): void {
    this.monotonic += ms;
    this.boot += ms;
  }
}

function make(deadlineMs: number): {
  clock: FakeClock;
  deadline: Deadline;
  expiries: () => number;
} {
  const clock = new FakeClock();
  let count = 0;
  const deadline = new Deadline(deadlineMs, clock, () => (count += 1));
  return { clock, deadline, expiries: () => count };
}

test("the read that finds the deadline passed kills, once, and nothing is admitted after it", () => {
  const { clock, deadline, expiries } = make(2000);
  assert.equal(deadline.check(), 1000);
  clock.pass(999);
  assert.equal(deadline.check(), 1999);
  assert.equal(expiries(), 0);
  clock.pass(1);
  assert.equal(deadline.check(), undefined);
  clock.pass(-500);
  assert.equal(deadline.check(), undefined);
  assert.equal(expiries(), 1);
  assert.equal(deadline.expired, true);
});

test("renewals move it forward only, and never after it passed", () => {
  const { clock, deadline, expiries } = make(2000);
  deadline.renew(3000);
  deadline.renew(1500);
  clock.pass(1500);
  assert.equal(deadline.check(), 2500);
  clock.pass(500);
  deadline.renew(9000);
  assert.equal(expiries(), 1);
  assert.equal(deadline.check(), undefined);
  deadline.close();
});

test("a suspend is an expiry, however far the deadline", () => {
  const { clock, deadline, expiries } = make(1_000_000);
  clock.boot += LIMITS.suspendToleranceMs + 1;
  assert.equal(deadline.check(), undefined);
  assert.equal(expiries(), 1);
});

test("the timer finds it too when nothing is read", async () => {
  const clock = new FakeClock();
  await new Promise<void>((resolve) => {
    const deadline = new Deadline(1010, clock, resolve);
    clock.pass(20);
    assert.equal(deadline.expired, false);
  });
});
