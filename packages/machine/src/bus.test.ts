import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { AssertionError, BlixardError, fromHex, present, toHex, utf8 } from "@blixard/std";
import { makeBoard } from "./boot/testing/boards.ts";
import { createBus } from "./bus.ts";
import { Finisher } from "./devices/finisher/device.ts";
import { Plic } from "./devices/plic/device.ts";
import { FakeMemory, Rig } from "./devices/testing/rig.ts";
import { VirtioDriver } from "./devices/testing/virtio-driver.ts";

const UART = 0x1000_0000;
const PLIC = 0xc00_0000;
const FINISHER = 0x10_0000;
const HOLE = 0x3000_0000;

function settle({ board, time }: ReturnType<typeof makeBoard>): void {
  for (let i = 0; i < 100; i++) {
    const next = board.bus.nextTimerNs();
    if (next === undefined || next > time.now) return;
    board.bus.tick();
  }
  assert.fail("the bus wants ticks for ever");
}

test("accesses reach the device that lies there; elsewhere nothing answers", () => {
  const { board, effects } = makeBoard();
  const { bus } = board;
  assert.equal(bus.write(UART + 7, 1, 0x5an), true);
  assert.deepEqual(bus.read(UART + 7, 1), { ok: true, value: 0x5an });
  assert.deepEqual(bus.read(0x1000_1000, 4), { ok: true, value: 0x74726976n });
  assert.deepEqual(bus.read(0x1000_3008, 4), { ok: true, value: 4n });
  for (const [address, size] of [
    [HOLE, 4],
    [0, 1],
    [UART - 1, 1],
    [UART + 0x100, 1],
    [UART + 1, 4],
    [FINISHER - 4, 4],
    [0x8000_0000, 8],
    [2 ** 52, 8],
  ] as const) {
    assert.deepEqual(bus.read(address, size), { ok: false, value: 0n }, address.toString(16));
    assert.equal(bus.write(address, size, 1n), false);
  }
  assert.deepEqual(effects, []);
});

test("an access across the end of a device is a fault", () => {
  const { memory, board } = makeBoard();
  const plic = new Plic({ name: "plic", base: PLIC, harts: 1, sources: 4 });
  const device = Object.assign(new Finisher({ name: "odd", base: 0x1000 }), { sizeBytes: 0x1004 });
  const bus = createBus({
    memory,
    plic,
    devices: [{ device, sources: [] }],
    nowNs: () => 0n,
    onEffect: () => {},
  });
  assert.equal(bus.read(0x2000, 4).ok, true);
  assert.equal(bus.read(0x2000, 8).ok, false);
  assert.equal(board.bus.externalInterrupt(0), false);
});

test("an interrupt goes from the device through the controller to the hart", () => {
  const made = makeBoard();
  const { bus } = made.board;
  settle(made);
  bus.write(PLIC + 4 * 10, 4, 1n);
  bus.write(PLIC + 0x2000 + 0x80 * 3, 4, 1n << 10n);
  bus.write(UART + 1, 1, 1n);
  assert.deepEqual(bus.input("uart0", { kind: "serialInput", data: utf8("x") }), {
    ok: true,
    value: undefined,
  });
  assert.deepEqual([bus.externalInterrupt(0), bus.externalInterrupt(1)], [false, true]);
  assert.deepEqual(bus.read(PLIC + 0x20_3004, 4), { ok: true, value: 10n });
  assert.deepEqual(bus.read(UART, 1), { ok: true, value: 0x78n });
  bus.write(PLIC + 0x20_3004, 4, 10n);
  assert.equal(bus.externalInterrupt(1), false);
});

test("lines that are not connected end nowhere", () => {
  const { board } = makeBoard();
  assert.equal(board.bus.write(0x200_0000, 4, 1n), true);
  assert.equal(board.bus.externalInterrupt(0), false);
});

test("the next timer is the earliest of all devices, a tick serves those that are due", () => {
  const made = makeBoard();
  const { board, time, effects } = made;
  assert.equal(board.bus.nextTimerNs(), 0n);
  settle(made);
  assert.deepEqual(
    effects.map((effect) => effect.kind),
    ["inputRoom", "inputRoom", "inputRoom"],
  );
  assert.equal(board.bus.nextTimerNs(), undefined);
  effects.length = 0;
  board.bus.write(UART, 1, 0x61n);
  board.bus.write(0x200_4000, 8, 500n);
  assert.equal(board.bus.nextTimerNs(), 50_000n);
  time.now = 60_000n;
  board.bus.tick();
  assert.deepEqual(effects, []);
  assert.equal(board.bus.nextTimerNs(), 1_000_000n);
  time.now = 1_000_000n;
  board.bus.tick();
  assert.deepEqual(effects, [{ kind: "serialOutput", device: "uart0", data: utf8("a") }]);
});

test("the last words come before the end", () => {
  const { board, effects } = makeBoard();
  for (const byte of utf8("bye")) board.bus.write(UART, 1, BigInt(byte));
  board.bus.write(FINISHER, 4, 0x5555n);
  assert.deepEqual(effects, [
    { kind: "serialOutput", device: "uart0", data: utf8("bye") },
    { kind: "power", action: "off" },
  ]);
});

test("inputs for devices that are not there are not found", () => {
  const { board } = makeBoard();
  const result = board.bus.input("disk9", { kind: "blockDone", token: 1 });
  assert.ok(!result.ok && result.error.code === "NotFound");
  assert.equal(board.bus.contextOf("disk9"), undefined);
  assert.equal(board.bus.contextOf("rtc0")?.nowNs(), 0n);
});

test("layouts that overlap or repeat a name are refused", () => {
  const memory = new FakeMemory(4096, 0x8000);
  const plic = new Plic({ name: "plic", base: PLIC, harts: 1, sources: 4 });
  const finisher = (name: string, base: number) => ({
    device: new Finisher({ name, base }),
    sources: [],
  });
  for (const devices of [
    [finisher("a", 0x1000), finisher("b", 0x1800)],
    [finisher("a", 0x1000), finisher("a", 0x2000)],
    [finisher("a", 0x8000)],
    [finisher("a", 0x7800)],
    [finisher("a", -1)],
    [finisher("a", PLIC + 0x1000)],
    Array.from({ length: 64 }, (_, i) => finisher(`d${i}`, 0x10000 + i * 0x1000)),
  ]) {
    const options = { memory, plic, devices, nowNs: () => 0n, onEffect: () => {} };
    assert.throws(() => createBus(options), AssertionError);
  }
});

/** A board whose devices have all seen something. */
function busyBoard() {
  const made = makeBoard();
  const { board, memory, time } = made;
  settle(made);
  time.now = 123_456_789n;
  const { bus } = board;
  bus.write(UART + 1, 1, 3n);
  for (const byte of utf8("half a line")) bus.write(UART, 1, BigInt(byte));
  bus.input("uart0", { kind: "serialInput", data: utf8("typed") });
  for (const source of [1, 2, 3, 10]) {
    bus.write(PLIC + 4 * source, 4, 1n);
    bus.write(PLIC + 0x2080, 4, 0x40en);
  }
  bus.write(0x200_4008, 8, 77_000n);
  bus.write(0x10_100c, 4, 0x1234n);
  const rig = new Rig(memory);
  const base = 0x8010_0000;
  memory.bytes.fill(0);
  for (const [device, queues, at] of [
    [present(board.disks[0], "disk0"), [0], base],
    [board.console, [0, 1, 2, 3, 4, 5], base + 0x10_0000],
    [board.rng, [0], base + 0x20_0000],
  ] as const) {
    const driver = new VirtioDriver(device, rig, { features: 2n, eventIndex: true });
    driver.allocate(at - driver.allocate(1), 1);
    assert.ok(driver.start(queues));
    if (device.name === "disk0") driver.submit(0, [new Uint8Array(16)], [512, 1]);
    if (device.name === "rng") driver.submit(0, [], [64]);
  }
  bus.input("console", { kind: "consoleInput", port: 1, data: utf8("frame") });
  return made;
}

/** Saved data as text: bigints and bytes are marked. */
function toText(saved: unknown): string {
  const mark = (_key: string, value: unknown): unknown => {
    if (typeof value === "bigint") return `n:${value}`;
    return value instanceof Uint8Array ? `x:${toHex(value)}` : value;
  };
  return `${JSON.stringify(saved, mark)}\n`;
}

function fromText(text: string): unknown {
  return JSON.parse(text, (_key, value: unknown) => {
    if (typeof value !== "string") return value;
    if (value.startsWith("n:")) return BigInt(value.slice(2));
    return value.startsWith("x:") ? fromHex(value.slice(2)) : value;
  });
}

test("golden: devices are saved and loaded in version 1", () => {
  const golden = readFileSync(new URL("testdata/devices-v1.json", import.meta.url), "utf8");
  assert.equal(toText(busyBoard().board.bus.save()), golden);
  const { board } = makeBoard();
  board.bus.load(fromText(golden));
  assert.equal(toText(board.bus.save()), golden);
});

test("a loaded board does what the saved one does", () => {
  const first = busyBoard();
  const memory = first.memory.copy();
  const second = makeBoard({ memory });
  second.board.bus.load(structuredClone(first.board.bus.save()));
  second.time.now = first.time.now;
  for (const made of [first, second]) settle(made);
  const wanted = second.effects.filter((effect) => /Needed|Read/.test(effect.kind));
  assert.deepEqual(
    wanted.map((effect) => effect.kind),
    ["blockRead", "randomNeeded"],
  );
  for (const { board, effects, time } of [first, second]) {
    effects.length = 0;
    board.bus.input("disk0", { kind: "blockDone", token: 1, data: new Uint8Array(512).fill(9) });
    board.bus.input("rng", { kind: "random", token: 1, data: new Uint8Array(64).fill(8) });
    board.bus.write(UART, 1, 0x0an);
    time.now += 10n;
  }
  assert.deepEqual(second.effects, first.effects);
  assert.deepEqual(memory.bytes, first.memory.bytes);
  assert.equal(toText(second.board.bus.save()), toText(first.board.bus.save()));
  assert.equal(second.board.bus.externalInterrupt(0), first.board.bus.externalInterrupt(0));
});

test("saved devices of another machine are refused", () => {
  const { board } = makeBoard();
  const saved = board.bus.save();
  const other = makeBoard({ disks: [] }).board;
  const spoilt: unknown[] = [
    undefined,
    { ...saved, version: 2 },
    { ...saved, devices: saved.devices.slice(1) },
    { ...saved, devices: [...saved.devices, { name: "extra", state: 0 }] },
    { ...saved, devices: [{ name: 5 }] },
  ];
  const corrupt = (caught: unknown): boolean =>
    caught instanceof BlixardError && caught.code === "Corrupt";
  for (const each of spoilt) assert.throws(() => board.bus.load(each), corrupt);
  assert.throws(() => other.bus.load(saved), corrupt);
});
