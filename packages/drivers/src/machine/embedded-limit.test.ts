import assert from "node:assert/strict";
import { test } from "node:test";
import { CpuLimit } from "./embedded-limit.ts";

/** A process that uses all of one core whenever it is let. */
function simulate(millicores: number, totalMs: number, sliceMs: number, lateMs: number): number[] {
  const clock = { cpu: 7, now: 1000 };
  const limit = new CpuLimit(millicores, { cpuMs: () => clock.cpu, nowMs: () => clock.now });
  /** For each millisecond, whether it was used. */
  const used: number[] = [];
  while (used.length < totalMs) {
    const waitMs = limit.waitMs();
    const idle = waitMs === 0 ? 0 : waitMs + lateMs;
    clock.now += idle;
    used.push(...Array<number>(idle).fill(0));
    if (idle > 0) continue;
    clock.now += sliceMs;
    clock.cpu += sliceMs;
    used.push(...Array<number>(sliceMs).fill(1));
  }
  return used;
}

for (const [millicores, sliceMs, lateMs] of [
  [500, 4, 0],
  [250, 4, 1],
  [50, 4, 1],
  [900, 1, 0],
] as const) {
  test(`${millicores} millicores: no window holds more, and nearly all of it can be used`, () => {
    const used = simulate(millicores, 10_000, sliceMs, lateMs);
    const share = millicores / 1000;
    const sums = [0];
    for (const one of used) sums.push((sums.at(-1) ?? 0) + one);
    for (let at = 0; at + 100 < sums.length; at++) {
      const inWindow = (sums[at + 100] ?? 0) - (sums[at] ?? 0);
      assert.ok(inWindow <= share * 110 + sliceMs, `${inWindow} ms of 100 at ${at}`);
    }
    const whole = (sums.at(-1) ?? 0) / used.length;
    assert.ok(whole > share * 0.9 && whole <= share * 1.01, `${whole} of ${share}`);
  });
}

test("a machine that was idle has saved up nothing to speak of", () => {
  const clock = { cpu: 0, now: 0 };
  const limit = new CpuLimit(100, { cpuMs: () => clock.cpu, nowMs: () => clock.now });
  clock.now += 3_600_000;
  assert.equal(limit.waitMs(), 0);
  clock.cpu += 5;
  clock.now += 5;
  assert.equal(limit.waitMs(), 35);
});

test("helper threads count: two cores used for a moment are waited for", () => {
  const clock = { cpu: 0, now: 0 };
  const limit = new CpuLimit(1000, { cpuMs: () => clock.cpu, nowMs: () => clock.now });
  clock.cpu += 40;
  clock.now += 20;
  assert.equal(limit.waitMs(), 20);
  clock.now += 20;
  assert.equal(limit.waitMs(), 0);
});
