import assert from "node:assert/strict";
import { test } from "node:test";
import { SimClock } from "./clock.ts";
import { guarded } from "./guard.ts";
import { RunningHash } from "./hash.ts";
import { type Host, World } from "./world.ts";

function newHost(id: number): Host {
  return { id, incarnation: 1, up: true, pausedUntilUs: 0 };
}

test("a crashed host's events never reach its next incarnation", () => {
  const world = new World(1);
  const host = newHost(1);
  const ran: string[] = [];
  world.after(10, host, "tick", 0, () => ran.push("old"));
  host.incarnation++;
  world.after(20, host, "tick", 0, () => ran.push("new"));
  world.runUntil(100);
  assert.deepEqual(ran, ["new"]);
  assert.equal(world.nowUs, 100);
});

test("a paused host's events wait and keep their order", () => {
  const world = new World(1);
  const host = newHost(1);
  host.pausedUntilUs = 50;
  const ran: string[] = [];
  world.after(10, host, "tick", 0, () => ran.push(`a@${world.nowUs}`));
  world.after(20, host, "tick", 0, () => ran.push(`b@${world.nowUs}`));
  world.after(30, undefined, "check", 0, () => ran.push(`world@${world.nowUs}`));
  world.runUntil(100);
  assert.deepEqual(ran, ["world@30", "a@50", "b@50"]);
});

test("clocks drift, and only the boot clock counts suspended time", () => {
  const world = new World(1);
  const clock = new SimClock(world, { rate: 1.001, monotonicMs: 500, wallMs: 9000 });
  world.runUntil(1_000_000);
  assert.ok(Math.abs(clock.monotonicMs() - 1501) < 1e-6);
  clock.suspend(400_000);
  world.runUntil(1_200_000);
  assert.ok(Math.abs(clock.monotonicMs() - 1501) < 1e-6);
  world.runUntil(2_000_000);
  assert.ok(Math.abs(clock.bootMs() - clock.monotonicMs() - 400.4) < 1e-6);
  clock.setRate(0.999);
  const before = clock.monotonicMs();
  world.runUntil(3_000_000);
  assert.ok(Math.abs(clock.monotonicMs() - before - 999) < 1e-6);
  const wall = clock.wallMs();
  clock.reboot();
  assert.equal(clock.monotonicMs(), 0);
  assert.ok(Math.abs(clock.wallMs() - wall) < 1e-6);
});

test("real time and randomness throw inside, and work again after", () => {
  const uses: readonly (() => unknown)[] = [
    () => Date.now(),
    () => new Date(),
    () => Math.random(),
    () => performance.now(),
    () => setTimeout(() => undefined, 0),
    () => crypto.randomUUID(),
  ];
  for (const use of uses) assert.throws(() => guarded(use), /inside the deterministic world/);
  assert.equal(typeof Date.now(), "number");
  assert.equal(typeof Math.random(), "number");
});

test("the running hash depends on order, value and count", () => {
  const of = (...words: number[]): string => {
    const hash = new RunningHash();
    for (const word of words) hash.word(word);
    return hash.text();
  };
  const all = [of(), of(0), of(0, 0), of(1, 2), of(2, 1), of(1, 3)];
  assert.equal(new Set(all).size, all.length);
  assert.equal(of(1, 2), of(1, 2));
});
