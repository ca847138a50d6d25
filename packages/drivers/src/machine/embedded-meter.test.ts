import assert from "node:assert/strict";
import { test } from "node:test";
import { GuestMeter, groupsOf } from "./embedded-meter.ts";

function make(): { clock: { now: number }; meter: GuestMeter } {
  const clock = { now: 5000 };
  return { clock, meter: new GuestMeter(() => clock.now) };
}

test("every moment since power-on is counted once, by what the machine did", () => {
  const { clock, meter } = make();
  meter.enter("busy", 0);
  clock.now += 30;
  meter.enter("idle", 9_000_000);
  clock.now += 60;
  meter.enter("held", 9_000_000);
  clock.now += 5;
  meter.enter("throttled", 9_000_000);
  clock.now += 5;
  const { instructions, mips, time } = meter.execution(9_000_000);
  assert.equal(instructions, 9_000_000);
  assert.deepEqual(time, { totalMs: 100, busyMs: 30, idleMs: 60, heldMs: 5, throttledMs: 5 });
  assert.deepEqual(mips, { lastSecond: 90, average: 90, busy: 300 });
});

test("before power-on there is nothing", () => {
  const { clock, meter } = make();
  clock.now += 100;
  const { mips, time } = meter.execution(0);
  assert.deepEqual(mips, { lastSecond: 0, average: 0, busy: 0 });
  assert.equal(time.totalMs, 0);
});

test("the last second is the last one, over any mixture of work and long sleeps", () => {
  const { clock, meter } = make();
  let done = 0;
  const work = (ms: number, mips: number): void => {
    for (let at = 0; at < ms; at += 4) {
      meter.enter("busy", done);
      clock.now += 4;
      done += mips * 4000;
    }
  };
  const sleep = (ms: number): void => {
    meter.enter("idle", done);
    clock.now += ms;
  };
  const lastSecond = (): number => Math.round(meter.execution(done).mips.lastSecond);
  work(400, 200);
  assert.equal(lastSecond(), 200);
  work(5000, 100);
  assert.equal(lastSecond(), 100);
  sleep(600);
  assert.equal(lastSecond(), 40);
  sleep(10_000);
  assert.equal(lastSecond(), 0);
  work(500, 300);
  assert.equal(lastSecond(), 150);
  sleep(200);
  work(20, 300);
  assert.ok(Math.abs(lastSecond() - 156) <= 3, String(lastSecond()));
});

test("numbers that nobody has placed are shown all the same, objects as groups", () => {
  const { meter } = make();
  meter.count("disk0", "reads");
  meter.count("disk0", "readBytes", 512);
  meter.count("disk0", "reads");
  assert.deepEqual([...meter.counters], [["disk0", { reads: 2, readBytes: 512 }]]);
  const stats = {
    ticks: 7,
    exceptions: 1,
    interrupts: 2,
    slowAccesses: 3,
    helperCalls: 4,
    floatCalls: 5,
    fetchMisses: 6,
    codePages: 7,
    predecoded: 8,
    tlbEntries: 9,
    tlbMisses: 10,
    tlbFlushes: 11,
    touchedPages: 12,
    wakeups: 13,
    jit: { regions: 14, name: "no number" },
  };
  assert.deepEqual(groupsOf(stats), {
    exits: {
      exceptions: 1,
      interrupts: 2,
      slowAccesses: 3,
      helperCalls: 4,
      floatCalls: 5,
      fetchMisses: 6,
    },
    code: { pages: 7, predecoded: 8 },
    tlb: { entries: 9, misses: 10, flushes: 11 },
    memory: { touchedPages: 12 },
    machine: { wakeups: 13 },
    jit: { regions: 14 },
  });
});
