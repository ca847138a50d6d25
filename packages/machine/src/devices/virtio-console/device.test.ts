import assert from "node:assert/strict";
import { test } from "node:test";
import { concat, Prng, utf8, utf8Text } from "@blixard/std";
import { CONSOLE_CHAIN_BYTES_MAX, INPUT_BUFFER_BYTES } from "../limits.ts";
import { FakeMemory, Rig } from "../testing/rig.ts";
import { VirtioDriver } from "../testing/virtio-driver.ts";
import { createVirtioConsole, type ConsolePortOptions } from "./device.ts";

const PORTS: readonly ConsolePortOptions[] = [
  { console: true },
  { console: false, name: "blixard.agent.0" },
];
const MULTIPORT = 2n;
const AGENT_IN = 4;
const AGENT_OUT = 5;

function control(id: number, event: number, value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, id, true);
  view.setUint16(4, event, true);
  view.setUint16(6, value, true);
  return bytes;
}

/** Control messages as [port, event, value, name]. */
function messages(driver: VirtioDriver): [number, number, number, string][] {
  return driver.reap(2).map(({ data, written }) => {
    const view = new DataView(data.buffer, data.byteOffset);
    const name = utf8Text(data.subarray(8, written));
    return [view.getUint32(0, true), view.getUint16(4, true), view.getUint16(6, true), name];
  });
}

function make(memory = new FakeMemory(4 << 20), features = MULTIPORT) {
  const rig = new Rig(memory);
  const device = createVirtioConsole({ name: "console", base: 0, ports: PORTS });
  rig.settle(device);
  const driver = new VirtioDriver(device, rig, { features });
  assert.ok(driver.start(features === 0n ? [0, 1] : [0, 1, 2, 3, 4, 5]));
  return { rig, device, driver };
}

/** As Linux' virtio_console probes: control buffers, ready, then each port. */
function probed(memory?: FakeMemory) {
  const made = make(memory);
  const { driver, rig } = made;
  for (let i = 0; i < 16; i++) driver.add(2, [], [64]);
  driver.kick(2);
  driver.submit(3, [control(0, 0, 1)], []);
  assert.deepEqual(messages(driver), [
    [0, 1, 1, ""],
    [1, 1, 1, ""],
  ]);
  driver.submit(3, [control(0, 3, 1)], []);
  driver.submit(3, [control(1, 3, 1)], []);
  rig.take();
  return made;
}

test("room for input is announced before anything else", () => {
  const rig = new Rig();
  const device = createVirtioConsole({ name: "console", base: 0, ports: PORTS });
  assert.equal(device.nextTimerNs(), 0n);
  rig.settle(device);
  assert.deepEqual(
    rig.take(),
    [0, 1].map((port) => ({
      kind: "inputRoom",
      device: "console",
      port,
      bytes: INPUT_BUFFER_BYTES,
    })),
  );
  assert.equal(device.nextTimerNs(), undefined);
});

test("the agent's port gets its name, the terminal is a console", () => {
  const { driver, device } = probed();
  assert.equal(driver.read32(0x104), 2);
  assert.equal(device.backend.queueSizes.length, 6);
  assert.deepEqual(messages(driver), [
    [0, 4, 1, ""],
    [1, 7, 1, "blixard.agent.0"],
  ]);
});

test("bytes go both ways once the guest has opened the port", () => {
  const { driver, device, rig } = probed();
  messages(driver);
  device.input({ kind: "hostConnected", port: 1, connected: true }, rig);
  assert.deepEqual(messages(driver), [[1, 6, 1, ""]]);
  device.input({ kind: "consoleInput", port: 1, data: utf8("hello") }, rig);
  driver.submit(AGENT_IN, [], [3]);
  driver.submit(AGENT_IN, [], [100]);
  assert.deepEqual(driver.reap(AGENT_IN), [], "nobody has opened the port");
  driver.submit(3, [control(1, 6, 1)], []);
  assert.deepEqual(
    driver.reap(AGENT_IN).map(({ data, written }) => utf8Text(data.subarray(0, written))),
    ["hel", "lo"],
  );
  assert.deepEqual(rig.take(), [
    { kind: "consolePort", device: "console", port: 1, open: true },
    { kind: "inputRoom", device: "console", port: 1, bytes: 5 },
  ]);
  driver.submit(AGENT_OUT, [utf8("wor"), utf8("ld")], []);
  assert.equal(rig.irq(), true);
  assert.equal(driver.reap(AGENT_OUT).length, 1);
  assert.deepEqual(rig.take(), [
    { kind: "consoleOutput", device: "console", port: 1, data: utf8("world") },
  ]);
  driver.submit(3, [control(1, 6, 0)], []);
  assert.deepEqual(rig.take(), [{ kind: "consolePort", device: "console", port: 1, open: false }]);
});

test("the terminal needs no opening", () => {
  const { driver, device, rig } = probed();
  driver.submit(0, [], [64]);
  device.input({ kind: "consoleInput", port: 0, data: utf8("x") }, rig);
  assert.equal(driver.reap(0)[0]?.written, 1);
});

test("without MULTIPORT port 0 works alone", () => {
  const { driver, device, rig } = make(undefined, 0n);
  driver.submit(0, [], [64]);
  device.input({ kind: "consoleInput", port: 0, data: utf8("x") }, rig);
  assert.equal(driver.reap(0)[0]?.written, 1);
  rig.take();
  driver.submit(1, [utf8("y")], []);
  assert.deepEqual(rig.take(), [
    { kind: "consoleOutput", device: "console", port: 0, data: utf8("y") },
  ]);
});

test("the guest hears of an end between two connections", () => {
  const { driver, device, rig } = probed();
  messages(driver);
  device.input({ kind: "hostConnected", port: 1, connected: true }, rig);
  device.input({ kind: "hostConnected", port: 1, connected: true }, rig);
  assert.deepEqual(messages(driver), [[1, 6, 1, ""]]);
  // No control buffers left: Linux hands them back later.
  while (driver.queue(2).requests.size > 0) {
    device.input({ kind: "hostConnected", port: 1, connected: false }, rig);
    device.input({ kind: "hostConnected", port: 1, connected: true }, rig);
    messages(driver);
  }
  driver.submit(2, [], [64]);
  messages(driver);
  device.input({ kind: "hostConnected", port: 1, connected: false }, rig);
  device.input({ kind: "hostConnected", port: 1, connected: true }, rig);
  for (let i = 0; i < 4; i++) driver.add(2, [], [64]);
  driver.kick(2);
  const heard = messages(driver).map(([, event, value]) => [event, value]);
  assert.deepEqual(heard.slice(-2), [
    [6, 0],
    [6, 1],
  ]);
});

test("input beyond the room is lost, nothing grows", () => {
  const { device, rig } = probed();
  for (let i = 0; i < 4; i++) {
    device.input({ kind: "consoleInput", port: 1, data: new Uint8Array(INPUT_BUFFER_BYTES) }, rig);
  }
  // Safe: the shape that saveConsole documents.
  const saved = device.save() as { backend: { ports: { input: Uint8Array }[] } };
  assert.equal(saved.backend.ports[1]?.input.length, INPUT_BUFFER_BYTES);
  device.input({ kind: "consoleInput", port: 7, data: utf8("x") }, rig);
  device.input({ kind: "hostConnected", port: 7, connected: true }, rig);
  assert.deepEqual(rig.take(), []);
});

test("room is granted in steps while a long text is read", () => {
  const { driver, device, rig } = probed();
  driver.submit(3, [control(1, 6, 1)], []);
  device.input({ kind: "consoleInput", port: 1, data: new Uint8Array(INPUT_BUFFER_BYTES) }, rig);
  rig.take();
  let granted = 0;
  let effects = 0;
  for (let i = 0; i < 64; i++) {
    driver.submit(AGENT_IN, [], [1024]);
    driver.reap(AGENT_IN);
    for (const effect of rig.take()) {
      assert.ok(effect.kind === "inputRoom");
      granted += effect.bytes;
      effects++;
    }
  }
  assert.equal(granted, INPUT_BUFFER_BYTES);
  assert.ok(effects <= 8, `${effects} effects`);
});

test("a kick passes on a bounded amount, ticks do the rest", () => {
  const { driver, device, rig } = probed(new FakeMemory(32 << 20));
  const data = new Uint8Array(CONSOLE_CHAIN_BYTES_MAX);
  for (let i = 0; i < 20; i++) driver.add(AGENT_OUT, [data], []);
  driver.kick(AGENT_OUT);
  assert.equal(rig.take().length, 4);
  assert.equal(device.nextTimerNs(), 0n);
  rig.settle(device);
  assert.equal(rig.take().length, 16);
  assert.equal(driver.reap(AGENT_OUT).length, 20);
});

test("bad buffers ask for a reset", () => {
  const big = new Uint8Array(CONSOLE_CHAIN_BYTES_MAX + 1);
  const cases: ((made: ReturnType<typeof probed>) => void)[] = [
    ({ driver }) => driver.submit(AGENT_OUT, [big], []),
    ({ driver, device, rig }) => {
      device.input({ kind: "consoleInput", port: 0, data: utf8("x") }, rig);
      driver.submit(0, [utf8("no room")], []);
    },
  ];
  for (const run of cases) {
    const made = probed();
    run(made);
    assert.equal(made.driver.status & 64, 64);
  }
  const { driver } = make();
  driver.submit(2, [], [4]);
  driver.submit(3, [control(0, 0, 1)], []);
  assert.equal(driver.status & 64, 64, "no room for a control message");
});

test("strange control messages change nothing", () => {
  const { driver, device, rig } = probed();
  messages(driver);
  const before = JSON.stringify(device.save(), bigints);
  for (const message of [
    control(9, 3, 1),
    control(9, 6, 1),
    control(1, 3, 0),
    control(0, 0, 0),
    control(1, 77, 1),
    new Uint8Array(3),
  ]) {
    driver.submit(3, [message], []);
  }
  assert.deepEqual(messages(driver), []);
  assert.deepEqual(rig.take(), []);
  assert.equal(driver.status, 15);
  const ring = /"(nextAvailable|nextUsed|signalledUsed|interruptStatus)":\d+/g;
  const after = JSON.stringify(device.save(), bigints);
  assert.equal(after.replace(ring, ""), before.replace(ring, ""));
});

test("a guest that asks for its ports again and again makes nothing pile up", () => {
  const { driver } = make();
  for (let i = 0; i < 1000; i++) {
    driver.submit(3, [control(0, 0, 1)], []);
    driver.reap(3);
  }
  for (let i = 0; i < 8; i++) driver.add(2, [], [64]);
  driver.kick(2);
  assert.equal(messages(driver).length, 2);
});

test("a reset closes the ports and keeps the host's side", () => {
  const { driver, device, rig } = probed();
  device.input({ kind: "hostConnected", port: 1, connected: true }, rig);
  driver.submit(3, [control(1, 6, 1)], []);
  rig.take();
  driver.write32(0x70, 0);
  assert.deepEqual(rig.take(), [{ kind: "consolePort", device: "console", port: 1, open: false }]);
  assert.ok(driver.start([0, 1, 2, 3, 4, 5]));
  for (let i = 0; i < 8; i++) driver.add(2, [], [64]);
  driver.kick(2);
  driver.submit(3, [control(1, 3, 1)], []);
  assert.deepEqual(messages(driver), [
    [1, 7, 1, "blixard.agent.0"],
    [1, 6, 1, ""],
  ]);
});

test("save and load under random traffic: the copy does the same", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Prng(seed);
    const { driver, device, rig } = probed();
    if (random.chance(0.8)) driver.submit(3, [control(1, 6, 1)], []);
    for (let i = 0; i < 20; i++) {
      const data = new Uint8Array(1 + random.below(500)).fill(i);
      const what = random.below(4);
      if (what === 0) driver.submit(AGENT_IN, [], [1 + random.below(300)]);
      else if (what === 1) device.input({ kind: "consoleInput", port: 1, data }, rig);
      else if (what === 2) driver.submit(AGENT_OUT, [data], []);
      else device.input({ kind: "hostConnected", port: 1, connected: random.chance(0.5) }, rig);
    }
    const copyRig = new Rig(rig.memory.copy());
    const copy = createVirtioConsole({ name: "console", base: 0, ports: PORTS });
    copy.load(structuredClone(device.save()));
    assert.deepEqual(copy.save(), device.save());
    rig.take();
    copyRig.settle(copy);
    for (const effect of copyRig.take()) assert.match(effect.kind, /^(inputRoom|consolePort)$/);
    for (let i = 0; i < 5; i++) {
      const data = new Uint8Array(200).fill(i);
      for (const [each, eachRig] of [
        [device, rig],
        [copy, copyRig],
      ] as const) {
        each.input({ kind: "consoleInput", port: 1, data }, eachRig);
        each.input({ kind: "hostConnected", port: 1, connected: i % 2 === 0 }, eachRig);
        each.write(0x50, 4, BigInt(AGENT_IN), eachRig);
      }
    }
    assert.deepEqual(copyRig.memory.bytes, rig.memory.bytes);
    assert.deepEqual(copy.save(), device.save());
    assert.equal(copyRig.irq() || !rig.irq(), true);
  }
});

test("output keeps its order", () => {
  const { driver, rig } = probed();
  for (let i = 0; i < 10; i++) driver.submit(1, [utf8(`${i}`)], []);
  const parts = rig.take().map((effect) => {
    assert.ok(effect.kind === "consoleOutput");
    return effect.data;
  });
  assert.equal(utf8Text(concat(parts)), "0123456789");
});

function bigints(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? `${value}n` : value;
}
