import assert from "node:assert/strict";
import { test } from "node:test";
import { as, type Epoch, Prng, type VmId } from "@blixard/std";
import { SimVmDriver } from "../control/vm-driver.ts";
import { SimClock } from "../world/clock.ts";
import { newHost, Violation, World } from "../world/world.ts";
import { VmChecker } from "./vm-checker.ts";

const SPEC = {
  name: "a",
  image: "i",
  vcpus: 2,
  memoryBytes: 10,
  diskBytes: 0,
  command: [],
} as const;
const VM = as<VmId>("000000000000000a");
const epoch = (value: number): Epoch => as<Epoch>(value);
const finds = (invariant: string) => (thrown: unknown) =>
  thrown instanceof Violation && thrown.invariant === invariant;

function setup() {
  const world = new World(1);
  const capacity = { vcpus: 3, memoryBytes: 100, diskBytes: 0 };
  const checker = new VmChecker(world, new Map([1, 2].map((id) => [id, capacity])));
  const host = { ...newHost(1), up: true };
  const clock = new SimClock(world, { rate: 1, monotonicMs: 0, wallMs: 0 });
  const random = new Prng(1);
  const driver = new SimVmDriver({ world, host, clock, checker, random, maxClockJumpMs: 500 });
  driver.isHealed = true;
  const phase = (): string | undefined => {
    const instance = driver.inspect(VM);
    return instance?.ended?.kind ?? instance?.phase;
  };
  return { world, checker, host, clock, driver, phase };
}

test("a VM on two machines is found; one that sleeps does not execute", () => {
  const { checker } = setup();
  checker.started(1, "a", 1, SPEC);
  checker.freeze(1, true);
  checker.started(2, "a", 2, SPEC);
  assert.equal(checker.where("a"), 2);
  assert.throws(() => checker.freeze(1, false), finds("a VM runs at most once"));
});

test("epochs that do not rise, and machines that are too full, are found", () => {
  const { checker } = setup();
  checker.started(1, "a", 5, SPEC);
  checker.ended(1, "a", "stopped");
  assert.throws(() => checker.started(2, "a", 5, SPEC), finds("epochs rise"));
  checker.started(1, "b", 6, SPEC);
  assert.throws(() => checker.started(1, "c", 7, SPEC), finds("capacity"));
});

test("a VM starts, is stopped, starts again and is deleted", () => {
  const { world, driver, phase } = setup();
  assert.equal(driver.start(VM, epoch(1), 9000)?.code, "NotFound");
  driver.create(VM, SPEC);
  assert.equal(phase(), "created");
  assert.equal(driver.start(VM, epoch(1), 9000), undefined);
  assert.equal(driver.start(VM, epoch(2), 9000)?.code, "Conflict");
  assert.equal(driver.delete(VM)?.code, "Conflict");
  world.runUntil(1_000_000);
  assert.equal(phase(), "running");
  let ended = 0;
  driver.stop(VM, () => ended++);
  world.runUntil(2_000_000);
  driver.stop(VM, () => ended++);
  assert.deepEqual([ended, phase()], [2, "shutdown"]);
  assert.equal(driver.start(VM, epoch(2), 1)?.code, "Conflict");
  assert.equal(driver.delete(VM), undefined);
  assert.equal(phase(), undefined);
});

test("the supervisor kills at the deadline as the clock has it, and after a sleep at once", () => {
  const { world, clock, driver, phase } = setup();
  clock.setRate(1.1);
  driver.create(VM, SPEC);
  driver.start(VM, epoch(1), 4000);
  driver.renew(5000);
  world.runUntil(4_400_000);
  assert.equal(phase(), "running");
  world.runUntil(5_200_000);
  assert.equal(phase(), "leaseExpired");
  driver.start(VM, epoch(2), 60_000);
  world.runUntil(7_000_000);
  clock.suspend(5_000_000);
  driver.suspend(5_000_000);
  world.runUntil(11_900_000);
  assert.equal(phase(), "running");
  world.runUntil(12_100_000);
  assert.equal(phase(), "leaseExpired");
});

test("sleeps too short to notice one by one add up for the supervisor", () => {
  const { world, clock, driver, phase } = setup();
  driver.create(VM, SPEC);
  driver.start(VM, epoch(1), 60_000);
  world.runUntil(1_000_000);
  for (const endsUs of [1_300_000, 2_300_000]) {
    clock.suspend(300_000);
    driver.suspend(300_000);
    assert.equal(phase(), "running");
    world.runUntil(endsUs);
    world.runUntil(endsUs + 700_000);
  }
  assert.equal(phase(), "leaseExpired");
});

test("a power cut ends what runs, and leaves the folders", () => {
  const { world, driver, phase } = setup();
  driver.create(VM, SPEC);
  driver.start(VM, epoch(1), 9000);
  driver.cutPower();
  world.runUntil(1_000_000);
  assert.equal(phase(), "killed");
  assert.deepEqual(driver.live(), []);
});
