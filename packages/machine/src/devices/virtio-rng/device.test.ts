import assert from "node:assert/strict";
import { test } from "node:test";
import { RNG_IN_FLIGHT_MAX, RNG_REQUEST_BYTES_MAX } from "../limits.ts";
import { Rig } from "../testing/rig.ts";
import { VirtioDriver } from "../testing/virtio-driver.ts";
import { createVirtioRng } from "./device.ts";

function make() {
  const rig = new Rig();
  const device = createVirtioRng({ name: "rng", base: 0 });
  rig.settle(device);
  const driver = new VirtioDriver(device, rig);
  assert.ok(driver.start([0]));
  return { rig, device, driver };
}

test("random bytes of the shell fill the guest's buffer", () => {
  const { rig, device, driver } = make();
  driver.submit(0, [], [40, 24]);
  assert.deepEqual(rig.take(), [{ kind: "randomNeeded", device: "rng", token: 1, bytes: 64 }]);
  const data = Uint8Array.from({ length: 64 }, (_, i) => i + 1);
  device.input({ kind: "random", token: 1, data }, rig);
  const [done] = driver.reap(0);
  assert.deepEqual([done?.written, done?.data], [64, data]);
  assert.deepEqual(driver.reap(0), []);
  assert.deepEqual(device.stats(), {
    interrupts: 1,
    queue0Notifications: 1,
    queue0Requests: 1,
  });
});

test("less or more than asked for is cut to what fits", () => {
  const { rig, device, driver } = make();
  driver.submit(0, [], [8]);
  device.input({ kind: "random", token: 1, data: new Uint8Array(100) }, rig);
  assert.equal(driver.reap(0)[0]?.written, 8);
  driver.submit(0, [], [8]);
  device.input({ kind: "random", token: 2, data: new Uint8Array(3) }, rig);
  assert.equal(driver.reap(0)[0]?.written, 3);
});

test("requests are bounded in size and number", () => {
  const { rig, device, driver } = make();
  for (let i = 0; i < 10; i++) driver.add(0, [], [10_000]);
  driver.kick(0);
  const first = rig.take();
  assert.equal(first.length, RNG_IN_FLIGHT_MAX);
  let done = 0;
  for (let open = first; open.length > 0; open = rig.take()) {
    for (const effect of open) {
      assert.ok(effect.kind === "randomNeeded" && effect.bytes === RNG_REQUEST_BYTES_MAX);
      device.input({ kind: "random", token: effect.token, data: new Uint8Array(4096) }, rig);
    }
    done += driver.reap(0).length;
  }
  assert.equal(done, 10);
});

test("a request without room asks for a reset", () => {
  const { driver } = make();
  driver.submit(0, [new Uint8Array(8)], []);
  assert.equal(driver.status & 64, 64);
});

test("answers after a reset, to unknown tokens and of other kinds change nothing", () => {
  const { rig, device, driver } = make();
  driver.submit(0, [], [8]);
  assert.ok(driver.start([0]));
  const before = rig.memory.bytes.slice();
  device.input({ kind: "random", token: 1, data: new Uint8Array(8).fill(1) }, rig);
  device.input({ kind: "serialInput", data: new Uint8Array(1) }, rig);
  assert.deepEqual(rig.memory.bytes, before);
});

test("an answer for a device that asks for a reset goes nowhere", () => {
  const { rig, device, driver } = make();
  driver.submit(0, [], [8]);
  driver.submit(0, [new Uint8Array(8)], []);
  device.input({ kind: "random", token: 1, data: new Uint8Array(8).fill(1) }, rig);
  assert.deepEqual(driver.reap(0), []);
});

test("save and load: open requests are asked for again", () => {
  const { rig, device, driver } = make();
  driver.submit(0, [], [16]);
  driver.submit(0, [], [32]);
  const open = rig.take();
  const copyRig = new Rig(rig.memory.copy());
  const copy = createVirtioRng({ name: "rng", base: 0 });
  copy.load(structuredClone(device.save()));
  copyRig.settle(copy);
  assert.deepEqual(copyRig.take(), open);
  for (const [each, eachRig] of [
    [device, rig],
    [copy, copyRig],
  ] as const) {
    for (const token of [2, 1]) {
      each.input({ kind: "random", token, data: new Uint8Array(32).fill(token) }, eachRig);
    }
  }
  assert.deepEqual(copyRig.memory.bytes, rig.memory.bytes);
  assert.deepEqual(copy.save(), device.save());
  assert.equal(copyRig.irq(), true);
});
