import assert from "node:assert/strict";
import { test } from "node:test";
import { concat, present, Prng, utf8Text } from "@blixard/std";
import type { DeviceEffect } from "../../types.ts";
import { BLOCK_IN_FLIGHT_MAX, BLOCK_REQUEST_BYTES_MAX } from "../limits.ts";
import { FakeMemory, Rig } from "../testing/rig.ts";
import { VirtioDriver, type DriverOptions } from "../testing/virtio-driver.ts";
import { createVirtioBlk, type DiskOptions } from "./device.ts";

const DISK: DiskOptions = { sizeBytes: 1 << 20, readOnly: false, serial: "blixard-disk-0" };

function header(type: number, sector: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setBigUint64(8, BigInt(sector), true);
  return bytes;
}

function make(disk: Partial<DiskOptions> = {}, options: DriverOptions = {}, memory?: FakeMemory) {
  const rig = new Rig(memory);
  const device = createVirtioBlk({ name: "disk0", base: 0, disk: { ...DISK, ...disk } });
  rig.settle(device);
  const driver = new VirtioDriver(device, rig, options);
  assert.ok(driver.start([0]));
  return { rig, device, driver };
}

/** What the shell does: carries out effects on a buffer. */
function shell(disk: Uint8Array, effect: DeviceEffect) {
  if (effect.kind === "blockRead") {
    const data = disk.slice(effect.offset, effect.offset + effect.length);
    return { kind: "blockDone", token: effect.token, data } as const;
  }
  assert.ok(effect.kind === "blockWrite" || effect.kind === "blockFlush");
  if (effect.kind === "blockWrite") disk.set(effect.data, effect.offset);
  return { kind: "blockDone", token: effect.token } as const;
}

const FEATURES = { flush: 1 << 9, readOnly: 1 << 5 };

test("configuration: capacity, segment limits, features", () => {
  const { device, driver } = make({ readOnly: true });
  assert.equal(device.read(0x100, 8), 2048n);
  assert.equal(driver.read32(0x108), 65_536);
  assert.equal(driver.read32(0x10c), 126);
  assert.equal(device.read(0x114, 2), 512n);
  driver.write32(0x14, 0);
  assert.equal(driver.read32(0x10) & FEATURES.readOnly, FEATURES.readOnly);
  assert.equal(driver.read32(0x10) & FEATURES.flush, FEATURES.flush);
});

for (const options of [{}, { indirect: true }, { eventIndex: true, indirect: true }]) {
  test(`reads, writes and flushes, ${JSON.stringify(options)}`, () => {
    const { rig, device, driver } = make({}, options);
    const disk = new Uint8Array(DISK.sizeBytes);
    const data = Uint8Array.from({ length: 1024 }, (_, i) => i & 0xff);
    driver.submit(0, [header(1, 6), data.subarray(0, 100), data.subarray(100)], [1]);
    const [write] = rig.take();
    assert.ok(write?.kind === "blockWrite");
    assert.deepEqual([write.offset, write.data], [3072, data]);
    assert.equal(rig.irq(), false, "not done yet");
    device.input(shell(disk, write), rig);
    assert.equal(rig.irq(), true);
    const [written] = driver.reap(0);
    assert.deepEqual([written?.written, written?.data], [1, Uint8Array.of(0)]);
    assert.equal(rig.irq(), false, "acknowledged");

    driver.submit(0, [header(0, 6)], [512, 512, 1]);
    const [read] = rig.take();
    device.input(shell(disk, present(read, "read")), rig);
    const [got] = driver.reap(0);
    assert.equal(got?.written, 1025);
    assert.deepEqual(got?.data, concat([data, Uint8Array.of(0)]));

    driver.submit(0, [header(4, 0)], [1]);
    const [flush] = rig.take();
    assert.equal(flush?.kind, "blockFlush");
    assert.deepEqual(driver.reap(0), [], "a flush is not done before the shell says so");
    device.input(shell(disk, present(flush, "flush")), rig);
    assert.deepEqual(driver.reap(0)[0]?.data, Uint8Array.of(0));
  });
}

test("the serial and unknown requests are answered at once", () => {
  const { rig, driver } = make();
  driver.submit(0, [header(8, 0)], [20, 1]);
  const [id] = driver.reap(0);
  assert.equal(utf8Text(present(id, "id").data.subarray(0, 14)), "blixard-disk-0");
  assert.equal(id?.data[20], 0);
  driver.submit(0, [header(11, 0)], [1]);
  assert.deepEqual(driver.reap(0)[0]?.data, Uint8Array.of(2));
  assert.deepEqual(rig.take(), []);
});

test("requests that cannot be are I/O errors and never reach the shell", () => {
  const { rig, driver } = make();
  const half = new Uint8Array(100);
  const cases: [Uint8Array[], number[]][] = [
    [[header(0, 2048)], [512, 1]],
    [[header(0, 2047)], [1024, 1]],
    [[header(0, 2 ** 52)], [512, 1]],
    [[header(0, 0)], [1]],
    [[header(0, 0)], [100, 1]],
    [[header(1, 0), half], [1]],
  ];
  for (const [out, into] of cases) {
    driver.submit(0, out, into);
    assert.equal(driver.reap(0)[0]?.data.at(-1), 1);
  }
  assert.deepEqual(rig.take(), []);
  assert.equal(driver.status & 64, 0);
});

test("a read-only disk refuses writes", () => {
  const { rig, driver } = make({ readOnly: true });
  driver.submit(0, [header(1, 0), new Uint8Array(512)], [1]);
  assert.deepEqual(driver.reap(0)[0]?.data, Uint8Array.of(1));
  assert.deepEqual(rig.take(), []);
});

test("errors of the host reach the guest as I/O errors", () => {
  for (const error of ["io", "noSpace"] as const) {
    const { rig, device, driver } = make();
    driver.submit(0, [header(1, 0), new Uint8Array(512)], [1]);
    const [effect] = rig.take();
    assert.ok(effect?.kind === "blockWrite");
    device.input({ kind: "blockDone", token: effect.token, error }, rig);
    assert.deepEqual(driver.reap(0)[0]?.data, Uint8Array.of(1));
  }
});

test("a short answer to a read is an I/O error", () => {
  const { rig, device, driver } = make();
  driver.submit(0, [header(0, 0)], [512, 1]);
  const [effect] = rig.take();
  assert.ok(effect?.kind === "blockRead");
  device.input({ kind: "blockDone", token: effect.token, data: new Uint8Array(511) }, rig);
  assert.equal(driver.reap(0)[0]?.data[512], 1);
});

test("several requests are in flight, up to a bound, and complete in any order", () => {
  const { rig, device, driver } = make({}, { indirect: true });
  for (let i = 0; i < 100; i++) driver.add(0, [header(0, i)], [512, 1]);
  driver.kick(0);
  const first = rig.take();
  assert.equal(first.length, BLOCK_IN_FLIGHT_MAX);
  const disk = new Uint8Array(DISK.sizeBytes);
  let done = 0;
  for (let waiting = first; waiting.length > 0; waiting = rig.take()) {
    for (const effect of waiting.reverse()) device.input(shell(disk, effect), rig);
    for (const { data } of driver.reap(0)) {
      assert.equal(data[512], 0);
      done++;
    }
  }
  assert.equal(done, 100);
});

test("the bytes in flight are bounded too", () => {
  const memory = new FakeMemory(64 << 20);
  const { rig, driver } = make({ sizeBytes: 1 << 30 }, { indirect: true }, memory);
  for (let i = 0; i < 6; i++) driver.add(0, [header(0, 0)], [BLOCK_REQUEST_BYTES_MAX, 1]);
  driver.kick(0);
  assert.equal(rig.take().length, 2);
});

test("a request beyond the largest is an I/O error", () => {
  const { rig, driver } = make({ sizeBytes: 1 << 30 }, {}, new FakeMemory(16 << 20));
  driver.submit(0, [header(0, 0)], [BLOCK_REQUEST_BYTES_MAX + 512, 1]);
  assert.equal(driver.reap(0)[0]?.data.at(-1), 1);
  assert.deepEqual(rig.take(), []);
});

test("requests without header or status ask for a reset", () => {
  for (const [out, into] of [
    [[], [512]],
    [[new Uint8Array(15)], [1]],
    [[header(0, 0)], []],
  ] as [Uint8Array[], number[]][]) {
    const { driver, device } = make();
    driver.submit(0, out, into);
    assert.equal(driver.status & 64, 64);
    assert.equal(driver.read32(0x60), 2, "a configuration change tells the driver");
    assert.match(device.brokenReason ?? "", /header or status/);
    assert.deepEqual(driver.reap(0), []);
  }
});

test("after a reset nothing starts before the old requests have ended", () => {
  const { rig, device, driver } = make();
  driver.submit(0, [header(1, 0), new Uint8Array(512).fill(1)], [1]);
  const [old] = rig.take();
  assert.ok(old?.kind === "blockWrite");
  assert.ok(driver.start([0]));
  driver.submit(0, [header(1, 0), new Uint8Array(512).fill(2)], [1]);
  assert.deepEqual(rig.take(), [], "the old write could overtake it");
  device.input({ kind: "blockDone", token: old.token }, rig);
  assert.deepEqual(driver.reap(0), [], "the old request belongs to no ring");
  const [fresh] = rig.take();
  assert.ok(fresh?.kind === "blockWrite" && fresh.data[0] === 2 && fresh.token !== old.token);
  device.input({ kind: "blockDone", token: fresh.token }, rig);
  assert.equal(driver.reap(0).length, 1);
});

test("answers to unknown tokens and foreign inputs change nothing", () => {
  const { rig, device } = make();
  const before = device.save();
  device.input({ kind: "blockDone", token: 99 }, rig);
  device.input({ kind: "serialInput", data: Uint8Array.of(1) }, rig);
  assert.deepEqual(device.save(), before);
});

test("save and load under random traffic: open requests go out again, with equal results", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Prng(seed);
    const { rig, device, driver } = make(
      {},
      { indirect: seed % 2 === 0, eventIndex: seed % 3 === 0 },
    );
    const disk = new Uint8Array(DISK.sizeBytes);
    for (let i = 0; i < 30; i++) {
      const sector = random.below(2048);
      const data = new Uint8Array(512).fill(random.below(256));
      if (random.chance(0.5)) driver.add(0, [header(1, sector), data], [1]);
      else driver.add(0, [header(0, sector)], [512, 1]);
    }
    driver.kick(0);
    let open = rig.take();
    for (const effect of open.splice(0, random.below(open.length))) {
      device.input(shell(disk, effect), rig);
    }
    const copyRig = new Rig(rig.memory.copy());
    const copy = createVirtioBlk({ name: "disk0", base: 0, disk: DISK });
    copy.load(structuredClone(device.save()));
    assert.deepEqual(copy.save(), device.save());
    copyRig.settle(copy);
    const again = copyRig.take();
    assert.deepEqual(again, open);
    const copyDisk = disk.slice();
    for (const effect of open) device.input(shell(disk, effect), rig);
    for (const effect of again) copy.input(shell(copyDisk, effect), copyRig);
    open = [];
    assert.deepEqual(copyDisk, disk);
    assert.deepEqual(copyRig.memory.bytes, rig.memory.bytes);
    assert.deepEqual(copy.save(), device.save());
  }
});

test("a driver that kicks and looks only when it is told to never waits for ever", () => {
  for (let seed = 1; seed <= 10; seed++) {
    const random = new Prng(seed);
    const { rig, device, driver } = make({}, { eventIndex: true, indirect: true });
    const disk = new Uint8Array(DISK.sizeBytes);
    const open: DeviceEffect[] = [];
    let [submitted, done, kicks, interrupts] = [0, 0, 0, 0];
    const interrupt = (): void => {
      if (!rig.irq()) return;
      interrupts++;
      done += driver.reap(0).length;
    };
    for (let i = 0; i < 200; i++) {
      const before = driver.queue(0).nextAvailable;
      for (let k = random.below(4); k > 0 && submitted - done < 120; k--) {
        driver.add(0, [header(0, random.below(2048))], [512, 1]);
        submitted++;
      }
      if (driver.kickIfWanted(0, before)) kicks++;
      open.push(...rig.take());
      for (let k = random.below(4); k > 0 && open.length > 0; k--) {
        const [effect] = open.splice(random.below(open.length), 1);
        device.input(shell(disk, present(effect, "effect")), rig);
      }
      open.push(...rig.take());
      if (random.chance(0.5)) interrupt();
    }
    while (open.length > 0) {
      device.input(shell(disk, present(open.pop(), "effect")), rig);
      open.push(...rig.take());
      interrupt();
    }
    assert.equal(done, submitted, `seed ${seed}`);
    assert.ok(kicks < submitted && interrupts < submitted, "some kicks and interrupts were saved");
  }
});

test("a saved request outside this RAM makes the device ask for a reset", () => {
  const { rig, device, driver } = make();
  driver.submit(0, [header(1, 0), new Uint8Array(512)], [1]);
  const small = new Rig(new FakeMemory(4096));
  const copy = createVirtioBlk({ name: "disk0", base: 0, disk: DISK });
  copy.load(device.save());
  small.settle(copy);
  assert.deepEqual(small.take(), []);
  assert.equal(Number(copy.read(0x70, 4)) & 64, 64);
  assert.equal(rig.take().length, 1);
});
