import assert from "node:assert/strict";
import { test } from "node:test";
import type { VmSpec } from "@blixard/control";
import { Prng } from "@blixard/std";
import { SimClock } from "./clock.ts";
import { VmChecker } from "./vm-checker.ts";
import { SimVmDriver } from "./vm-driver.ts";
import { type Host, World } from "./world.ts";

const SPEC: VmSpec = {
  name: "a",
  image: "i",
  vcpus: 2,
  memoryBytes: 10,
  diskBytes: 0,
  labels: {},
  command: [],
};

function setup() {
  const world = new World(1, { tracing: false });
  const capacity = { vcpus: 3, memoryBytes: 100, diskBytes: 0 };
  const capacities = new Map([
    [1, capacity],
    [2, capacity],
  ]);
  const checker = new VmChecker(world, capacities);
  const host: Host = { id: 1, incarnation: 1, up: true, pausedUntilUs: 0 };
  const clock = new SimClock(world, { rate: 1, monotonicMs: 0, wallMs: 0 });
  const deps = { world, clock, host, checker, random: new Prng(1) };
  const driver = new SimVmDriver(deps, { maxClockJumpMs: 500 });
  const start = (vmId: string, epoch: number, deadlineMs: number): boolean =>
    driver.start({ vmId, epoch, spec: SPEC, leaseEpoch: 1, claimIndex: 1, deadlineMs });
  return { world, checker, clock, driver, start };
}

test("a VM that runs on two machines is found", () => {
  const { checker } = setup();
  checker.started(1, "vm", 1, SPEC);
  assert.throws(() => checker.started(2, "vm", 2, SPEC), /runs twice: on n1 .* and n2/);
});

test("a machine that sleeps runs nothing, until it wakes", () => {
  const { checker } = setup();
  checker.started(1, "vm", 1, SPEC);
  checker.freeze(1, true);
  checker.started(2, "vm", 2, SPEC);
  assert.throws(() => checker.freeze(1, false), /runs twice/);
});

test("an epoch that does not rise and a machine that is overfull are found", () => {
  const { checker } = setup();
  checker.started(1, "vm", 3, SPEC);
  checker.ended(1, "vm", "test");
  assert.throws(() => checker.started(2, "vm", 3, SPEC), /epoch 3 after 3/);
  checker.started(1, "vm2", 1, SPEC);
  assert.throws(() => checker.started(1, "vm3", 1, SPEC), /runs 4 vcpus and has 3/);
});

test("a supervisor ends its VM at the deadline, not before, and a renewal moves it", () => {
  const { world, driver, start } = setup();
  assert.ok(start("vm", 1, 1000));
  assert.ok(!start("vm", 2, 1000), "it runs already");
  world.runUntil(900_000);
  assert.equal(driver.live()[0]?.phase, "running");
  driver.renew(2000);
  world.runUntil(1_900_000);
  assert.equal(driver.live().length, 1);
  world.runUntil(2_500_000);
  assert.equal(driver.live().length, 0);
  assert.ok(!start("vm", 2, 2000), "the deadline has passed");
});

test("after a sleep longer than the allowed jump no guest executes again", () => {
  const { world, checker, clock, driver, start } = setup();
  assert.ok(start("vm", 1, 60_000));
  world.runUntil(1_000_000);
  clock.suspend(2_000_000);
  driver.suspend(2_000_000);
  world.runUntil(2_900_000);
  checker.started(2, "vm", 2, SPEC);
  world.runUntil(4_000_000);
  assert.equal(driver.live().length, 0);
});

test("stop, kill and a power cut end VMs", () => {
  const { world, driver, start } = setup();
  assert.ok(start("vm", 1, 60_000));
  driver.stop("vm");
  world.runUntil(1_000_000);
  assert.equal(driver.instance("vm")?.phase, "stopped");
  driver.remove("vm");
  assert.equal(driver.instance("vm"), undefined);
  assert.ok(start("vm", 2, 60_000));
  driver.killAll("test");
  world.runUntil(2_000_000);
  assert.equal(driver.live().length, 0);
  assert.ok(start("vm", 3, 60_000));
  driver.cutPower();
  assert.equal(driver.live().length, 0);
});
