import assert from "node:assert/strict";
import { test } from "node:test";
import { hostClock } from "@blixard/host";
import { type HostClock, SuspendDetector } from "./clock.ts";

class FakeClock implements HostClock {
  monotonic = 1000;
  boot = 5000;
  monotonicMs(): number {
    return this.monotonic;
  }
  bootMs(): number {
    return this.boot;
  }
}

test("a suspend shows as boot time running ahead of monotonic time", () => {
  const clock = new FakeClock();
  const detector = new SuspendDetector(clock, 500);
  clock.monotonic += 10_000;
  clock.boot += 10_000;
  assert.equal(detector.jumped(), false);
  clock.boot += 500;
  assert.equal(detector.jumped(), false, "within the tolerance");
  clock.boot += 1;
  assert.equal(detector.jumped(), true);
});

test("a pause of the process between the two reads is no suspend", () => {
  const clock = new FakeClock();
  const detector = new SuspendDetector(clock, 500);
  const reads = clock.bootMs.bind(clock);
  clock.bootMs = () => {
    const boot = reads();
    clock.monotonic += 60_000;
    clock.boot += 60_000;
    return boot;
  };
  assert.equal(detector.jumped(), false);
});

test("the host's clocks agree with each other", () => {
  const detector = new SuspendDetector(hostClock, 500);
  assert.equal(detector.jumped(), false);
  const first = hostClock.monotonicMs();
  assert.ok(hostClock.monotonicMs() >= first);
});
