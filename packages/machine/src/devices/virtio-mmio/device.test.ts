import assert from "node:assert/strict";
import { test } from "node:test";
import { AssertionError, BlixardError } from "@blixard/std";
import type { DeviceInput } from "../../types.ts";
import { CHAINS_PER_RUN_MAX } from "../limits.ts";
import { FakeMemory, Rig } from "../testing/rig.ts";
import { VirtioDriver, type DriverOptions } from "../testing/virtio-driver.ts";
import type { VirtioBackend, VirtioIo } from "./backend.ts";
import { scatter, type Chain } from "./chain.ts";
import { VirtioMmio } from "./device.ts";

/** Answers every request at once with its number of readable bytes; logs what happens. */
class Echo implements VirtioBackend {
  readonly deviceId = 42;
  readonly features = 1n;
  readonly queueSizes = [8, 4];
  readonly chains: Chain[] = [];
  resets = 0;
  spins = 0;

  config(): Uint8Array {
    return Uint8Array.of(1, 2, 3, 4, 5);
  }

  notify(queue: number, io: VirtioIo): void {
    for (let chain = io.pop(queue); chain !== undefined; chain = io.pop(queue)) {
      this.chains.push(chain);
      scatter(io.memory, chain.writable, Uint8Array.of(chain.readableBytes));
      io.push(queue, chain.head, chain.writable.length === 0 ? 0 : 1);
    }
  }

  input(input: DeviceInput, io: VirtioIo): void {
    if (input.kind === "serialInput") io.defer(0);
    else io.broken("told to");
  }

  reset(): void {
    this.resets++;
  }

  resume(): void {}

  save(): unknown {
    return this.chains.length;
  }

  load(): void {}
}

function make(options: DriverOptions = {}, memory?: FakeMemory) {
  const rig = new Rig(memory);
  const device = new VirtioMmio({ name: "echo", base: 0 }, new Echo());
  rig.settle(device);
  return { rig, device, driver: new VirtioDriver(device, rig, options) };
}

function started(options: DriverOptions = {}) {
  const made = make(options);
  assert.ok(made.driver.start([0, 1]));
  return made;
}

test("identity, configuration space, undefined registers and sizes", () => {
  const { device, driver, rig } = make();
  assert.deepEqual(
    [0, 4, 8].map((offset) => driver.read32(offset)),
    [0x74726976, 2, 42],
  );
  assert.equal(driver.read32(0x0c), 0x44584c42);
  assert.equal(device.read(0x100, 4), 0x04030201n);
  assert.equal(device.read(0x104, 8), 5n);
  assert.equal(device.read(0x101, 1), 2n);
  assert.equal(device.read(0x102, 2), 0x0403n);
  assert.equal(device.read(0xfff, 1), 0n);
  assert.equal(device.read(0, 1), 0n, "registers are 32 bits wide");
  assert.equal(driver.read32(0x0b0), 0xffffffff, "no shared memory");
  assert.equal(driver.read32(0x0fc), 0);
  assert.equal(driver.read32(0x200 - 0x188), 0);
  device.write(0x100, 4, 9n, rig);
  device.write(0x70, 1, 1n, rig);
  assert.equal(device.read(0x100, 4), 0x04030201n);
  assert.equal(driver.status, 0);
});

test("features: version 1 is needed, unknown bits are refused, later writes are ignored", () => {
  const { driver } = make();
  driver.write32(0x14, 5);
  assert.equal(driver.read32(0x10), 0);
  driver.write32(0x14, 1);
  assert.equal(driver.read32(0x10), 1);
  driver.write32(0x70, 1 | 2 | 8);
  assert.equal(driver.status, 3, "no version 1");
  driver.write32(0x24, 1);
  driver.write32(0x20, 1 | 16);
  driver.write32(0x70, 1 | 2 | 8);
  assert.equal(driver.status, 3, "a bit that was not offered");
  driver.write32(0x24, 9);
  driver.write32(0x20, 0xffffffff);
  driver.write32(0x24, 1);
  driver.write32(0x20, 1);
  driver.write32(0x70, 1 | 2 | 8);
  assert.equal(driver.status, 11);
  driver.write32(0x20, 0);
  driver.write32(0x70, 15);
  assert.equal(driver.status, 15);
});

test("queue registers", () => {
  const { driver } = make();
  driver.write32(0x30, 0);
  assert.equal(driver.read32(0x34), 8);
  driver.write32(0x30, 7);
  assert.equal(driver.read32(0x34), 0);
  assert.equal(driver.read32(0x44), 0);
  driver.write32(0x44, 1);
  assert.equal(driver.status, 0);
  driver.setUp(1);
  assert.equal(driver.read32(0x44), 1);
  driver.write32(0x80, 0xdead_0000);
  driver.write32(0x44, 1);
  driver.write32(0x44, 0);
  assert.equal(driver.read32(0x44), 0);
  driver.write32(0x44, 1);
  assert.equal(driver.read32(0x44), 1, "what was written while ready was ignored");
});

test("queues that cannot be make the device ask for a reset", () => {
  const cases: [string, (driver: VirtioDriver) => void][] = [
    ["size 0", (driver) => driver.write32(0x38, 0)],
    ["size 3", (driver) => driver.write32(0x38, 3)],
    ["size 16", (driver) => driver.write32(0x38, 16)],
    ["unaligned", (driver) => driver.write32(0x80, 0x8000_1008)],
    ["unaligned used", (driver) => driver.write32(0xa0, 0x8000_1002)],
    ["outside", (driver) => driver.write32(0x84, 0xffffffff)],
    ["below RAM", (driver) => driver.write32(0x90, 0)],
    ["across the end", (driver) => driver.write32(0xa0, 0x8000_0000 + (1 << 20) - 16)],
  ];
  for (const [name, spoil] of cases) {
    const { driver, device } = make();
    driver.setUp(0);
    driver.write32(0x44, 0);
    spoil(driver);
    driver.write32(0x44, 1);
    assert.equal(driver.read32(0x44), 0, name);
    assert.equal(driver.status, 64, name);
    assert.equal(driver.read32(0x60), 0, "nobody is told before DRIVER_OK");
    assert.ok(device.brokenReason !== undefined);
    driver.write32(0x70, 0);
    assert.equal(driver.status, 0);
    assert.equal(device.brokenReason, undefined);
  }
});

for (const options of [{}, { indirect: true }, { eventIndex: true }]) {
  test(`requests around the ring many times, ${JSON.stringify(options)}`, () => {
    const { driver, rig } = started(options);
    for (let i = 0; i < 1000; i++) {
      const count = 1 + (i % 2);
      for (let k = 0; k < count; k++) driver.add(0, [new Uint8Array(1 + k)], [4]);
      driver.kick(0);
      assert.equal(rig.irq(), true);
      const done = driver.reap(0).map(({ data, written }) => [data[0], written]);
      assert.deepEqual(
        done,
        count === 1
          ? [[1, 1]]
          : [
              [1, 1],
              [2, 1],
            ],
      );
      assert.equal(rig.irq(), false);
    }
  });
}

test("ring indices wrap at 2^16", () => {
  const { driver, rig, device } = started({ eventIndex: true });
  const queue = driver.queue(0);
  const { view, base } = rig.memory;
  const buffer = driver.allocate(16);
  view.setBigUint64(queue.descriptors - base, BigInt(buffer), true);
  view.setUint32(queue.descriptors - base + 8, 16, true);
  for (let i = 1; i <= 70_000; i++) {
    view.setUint16(queue.available - base + 2, i & 0xffff, true);
    if (i % 8 === 0) driver.kick(0);
  }
  driver.kick(0);
  assert.equal(view.getUint16(queue.used - base + 2, true), 70_000 & 0xffff);
  assert.equal(view.getUint16(queue.used - base + 4 + 8 * 8, true), 70_000 & 0xffff);
  assert.equal(device.backend.chains.length, 70_000);
  assert.equal(driver.status, 15);
});

test("interrupts can be turned off, by flag and by event index", () => {
  const plain = started();
  const { view, base } = plain.rig.memory;
  view.setUint16(plain.driver.queue(0).available - base, 1, true);
  plain.driver.submit(0, [], [4]);
  assert.equal(plain.rig.irq(), false);
  const event = started({ eventIndex: true });
  const queue = event.driver.queue(0);
  event.rig.memory.view.setUint16(queue.available - base + 4 + 2 * queue.size, 2, true);
  event.driver.submit(0, [], [4]);
  event.driver.submit(0, [], [4]);
  assert.equal(event.rig.irq(), false);
  event.driver.submit(0, [], [4]);
  assert.equal(event.rig.irq(), true);
});

test("nothing is taken before DRIVER_OK; DRIVER_OK looks at once", () => {
  const { driver, device } = make();
  driver.write32(0x70, 3);
  driver.write32(0x24, 1);
  driver.write32(0x20, 1);
  driver.write32(0x70, 11);
  driver.setUp(0);
  driver.submit(0, [], [4]);
  assert.equal(device.backend.chains.length, 0);
  driver.write32(0x70, 15);
  assert.equal(device.backend.chains.length, 1);
});

/** One descriptor chain spoilt by hand; `at` is the offset of descriptor i in memory. */
type Spoil = (view: DataView, at: (i: number) => number, driver: VirtioDriver) => void;
const SPOILT: readonly [string, Spoil][] = [
  ["zero length", (view, at) => view.setUint32(at(0) + 8, 0, true)],
  ["outside RAM", (view, at) => view.setBigUint64(at(0), 0x1000n, true)],
  ["far outside", (view, at) => view.setBigUint64(at(0), 0xffff_ffff_ffff_fff0n, true)],
  ["across the end", (view, at) => view.setUint32(at(0) + 8, 0xffffffff, true)],
  [
    "next out of the table",
    (view, at) => {
      view.setUint16(at(0) + 12, 1, true);
      view.setUint16(at(0) + 14, 8, true);
    },
  ],
  [
    "loop",
    (view, at) => {
      view.setUint16(at(0) + 12, 1, true);
      view.setUint16(at(0) + 14, 0, true);
    },
  ],
  [
    "readable after writable",
    (view, at) => {
      view.setBigUint64(at(1), view.getBigUint64(at(0), true), true);
      view.setUint32(at(1) + 8, 4, true);
      view.setUint16(at(0) + 12, 3, true);
      view.setUint16(at(0) + 14, 1, true);
      view.setUint16(at(1) + 12, 0, true);
    },
  ],
  [
    "head out of the table",
    (view, _at, driver) => {
      view.setUint16(driver.queue(0).available - driver.rig.memory.base + 4, 8, true);
    },
  ],
  [
    "too many available",
    (view, _at, driver) => {
      view.setUint16(driver.queue(0).available - driver.rig.memory.base + 2, 9, true);
    },
  ],
  ["indirect with next", (view, at) => view.setUint16(at(0) + 12, 5, true)],
  [
    "indirect table of odd size",
    (view, at) => {
      view.setUint32(at(0) + 8, 24, true);
      view.setUint16(at(0) + 12, 4, true);
    },
  ],
  [
    "indirect table too long",
    (view, at) => {
      view.setUint32(at(0) + 8, 16 * 1025, true);
      view.setUint16(at(0) + 12, 4, true);
    },
  ],
  [
    "indirect table outside",
    (view, at) => {
      view.setBigUint64(at(0), 0n, true);
      view.setUint32(at(0) + 8, 16, true);
      view.setUint16(at(0) + 12, 4, true);
    },
  ],
];

/** The same for the table behind an indirect descriptor of two entries. */
const SPOILT_INDIRECT: readonly [string, Spoil][] = [
  ["nested", (view, at) => view.setUint16(at(1) + 12, 4, true)],
  [
    "loop",
    (view, at) => {
      view.setUint16(at(1) + 12, 1, true);
      view.setUint16(at(1) + 14, 0, true);
    },
  ],
  ["next out of the table", (view, at) => view.setUint16(at(0) + 14, 2, true)],
  ["zero length", (view, at) => view.setUint32(at(1) + 8, 0, true)],
];

function assertBroken(name: string, made: ReturnType<typeof make>): void {
  const { driver, device } = made;
  driver.kick(0);
  assert.equal(driver.status, 79, name);
  assert.equal(driver.read32(0x60), 2, name);
  assert.equal(driver.read32(0xfc), 1, name);
  assert.equal(device.backend.chains.length, 0, name);
  const before = structuredClone(device.save());
  driver.kick(0);
  device.input({ kind: "serialInput", data: new Uint8Array(1) }, made.rig);
  made.rig.settle(device);
  device.input({ kind: "random", token: 0, data: new Uint8Array(1) }, made.rig);
  assert.deepEqual(device.save(), before, `${name}: silent until the reset`);
  assert.ok(driver.start([0]));
  driver.submit(0, [new Uint8Array(3)], [1]);
  assert.equal(driver.reap(0)[0]?.data[0], 3, `${name}: well again`);
}

test("bad chains ask for a reset and do nothing else", () => {
  for (const [name, spoil] of SPOILT) {
    const made = started(name.startsWith("indirect") ? { indirect: true } : {});
    const { driver, rig } = made;
    const queue = driver.queue(0);
    const { view, base } = rig.memory;
    view.setBigUint64(queue.descriptors - base, BigInt(driver.allocate(64)), true);
    view.setUint32(queue.descriptors - base + 8, 64, true);
    view.setUint16(queue.available - base + 2, 1, true);
    spoil(view, (i) => queue.descriptors - base + 16 * i, driver);
    assertBroken(name, made);
  }
});

test("bad indirect tables ask for a reset and do nothing else", () => {
  for (const [name, spoil] of SPOILT_INDIRECT) {
    const made = started({ indirect: true });
    const { driver, rig } = made;
    const head = driver.add(0, [new Uint8Array(4)], [4]);
    const { view, base } = rig.memory;
    const entry = driver.queue(0).descriptors - base + 16 * head;
    const table = Number(view.getBigUint64(entry, true)) - base;
    spoil(view, (i) => table + 16 * i, driver);
    driver.queue(0).requests.clear();
    assertBroken(name, made);
  }
});

test("indirect descriptors that were not negotiated are refused", () => {
  const made = started();
  const { driver, rig } = made;
  driver.add(0, [new Uint8Array(16)], []);
  const { view, base } = rig.memory;
  view.setUint16(driver.queue(0).descriptors - base + 12, 4, true);
  driver.queue(0).requests.clear();
  assertBroken("indirect", made);
});

test("a run handles a bounded number of chains and goes on at the next tick", () => {
  let runs = 0;
  class Refill extends Echo {
    override notify(queue: number, io: VirtioIo): void {
      runs++;
      // A guest on another processor that adds a buffer whenever one is taken.
      for (let chain = io.pop(queue); chain !== undefined; chain = io.pop(queue)) {
        io.push(queue, chain.head, 0);
        this.spins++;
        io.memory.write(
          availableIndex,
          Uint8Array.of((this.spins + 1) & 255, (this.spins + 1) >> 8),
        );
      }
    }
  }
  const rig = new Rig();
  const device = new VirtioMmio({ name: "refill", base: 0 }, new Refill());
  const driver = new VirtioDriver(device, rig);
  assert.ok(driver.start([0]));
  const availableIndex = driver.queue(0).available + 2;
  driver.submit(0, [], [4]);
  assert.equal(device.backend.spins, CHAINS_PER_RUN_MAX);
  assert.equal(device.nextTimerNs(), 0n);
  device.tick(rig);
  assert.equal(device.backend.spins, 2 * CHAINS_PER_RUN_MAX);
  assert.equal(runs, 3, "at DRIVER_OK, at the kick, at the tick");
});

test("a shell that answers from within an effect is a mistake that shows", () => {
  class Speaks extends Echo {
    override notify(_queue: number, io: VirtioIo): void {
      io.emit({ kind: "power", action: "off" });
    }
  }
  const rig = new Rig();
  const device = new VirtioMmio({ name: "speaks", base: 0 }, new Speaks());
  const driver = new VirtioDriver(device, rig);
  assert.ok(driver.start([0]));
  const answer = {
    memory: rig.memory,
    nowNs: () => 0n,
    setIrq: () => {},
    emit: () => device.input({ kind: "serialInput", data: new Uint8Array(1) }, rig),
  };
  assert.throws(() => device.write(0x50, 4, 0n, answer), AssertionError);
});

test("saved rings that do not lie in this RAM are dead, other saved nonsense is refused", () => {
  const { device, driver } = started();
  driver.submit(0, [], [4]);
  const saved = structuredClone(device.save());
  const small = new Rig(new FakeMemory(4096));
  const copy = new VirtioMmio({ name: "echo", base: 0 }, new Echo());
  copy.load(saved);
  assert.deepEqual(copy.save(), { ...(saved as object), backend: 0 });
  small.settle(copy);
  copy.write(0x50, 4, 0n, small);
  assert.equal(copy.backend.chains.length, 0);
  for (const spoilt of [
    undefined,
    7,
    { device: "virtio-mmio", version: 2 },
    { ...(saved as object), status: 256 },
    { ...(saved as object), driverFeatures: -1n },
    { ...(saved as object), queues: 3 },
    { ...(saved as object), queues: [null] },
    { ...(saved as object), queues: [{}, {}, {}] },
  ]) {
    assert.throws(
      () => copy.load(spoilt),
      (caught) => caught instanceof BlixardError && caught.code === "Corrupt",
    );
  }
});
