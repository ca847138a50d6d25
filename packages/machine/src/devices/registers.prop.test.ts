/** Every register of every device, in every size and at every offset; and saved devices with wrong bytes in them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { BlixardError, Prng } from "@blixard/std";
import fc from "fast-check";
import { makeBoard } from "../boot/testing/boards.ts";
import type { AccessSize, Device } from "../types.ts";
import { FakeMemory } from "./testing/rig.ts";

const RAM_BYTES = 1 << 16;
const SIZES: readonly AccessSize[] = [1, 2, 4, 8];
/** Looked at offset by offset: all of most devices, the beginning and the end of the PLIC and the ACLINT. */
const SPAN = 0x400;
const VALUES = [0n, 1n, 0xffn, 0x8000_0000n, (1n << 64n) - 1n];

function offsetsOf(sizeBytes: number): number[] {
  const starts = [0, 0x1000, 0x2000, 0x4000, 0xbff8, 0x20_0000, 0x20_1000, sizeBytes - SPAN];
  const offsets = new Set<number>();
  for (const start of starts) {
    const from = Math.max(0, start - 8);
    for (let at = from; at < Math.min(start + SPAN, sizeBytes + 8); at++) offsets.add(at);
  }
  return [...offsets];
}

test("accesses of every size at every offset: answered within their size, or refused", () => {
  const random = new Prng(3);
  const { board } = makeBoard({ memory: new FakeMemory(RAM_BYTES) });
  let answered = 0;
  for (const { base, sizeBytes, kind } of board.descriptions) {
    for (const offset of offsetsOf(sizeBytes)) {
      for (const size of SIZES) {
        const whole = offset + size <= sizeBytes && (base + offset) % size === 0;
        const value = BigInt.asUintN(8 * size, VALUES[random.below(VALUES.length)] ?? 0n);
        const got = board.bus.read(base + offset, size);
        const what = `${kind} ${offset.toString(16)}/${size}`;
        // What crosses the end may begin the next device, but never in the middle of an access.
        if (offset < sizeBytes) {
          assert.equal(got.ok, whole, what);
          assert.equal(board.bus.write(base + offset, size, value), whole, what);
        }
        assert.equal(BigInt.asUintN(8 * size, got.value), got.value, what);
        if (whole) answered++;
      }
    }
  }
  assert.ok(answered > 20_000);
  board.bus.load(structuredClone(board.bus.save()));
});

/** Paths to everything in plain data. */
function pathsOf(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return [path];
  const own = Object.entries(value).slice(0, 40);
  return [path, ...own.flatMap(([key, inner]) => pathsOf(inner, [...path, key]))];
}

function withAt(value: unknown, path: readonly string[], to: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return to;
  if (Array.isArray(value))
    return value.map((v, i) => (String(i) === key ? withAt(v, rest, to) : v));
  assert.ok(typeof value === "object" && value !== null);
  return Object.fromEntries(
    Object.entries(value).map(([k, v]) => [k, k === key ? withAt(v, rest, to) : v]),
  );
}

const anything = fc.oneof(
  fc.integer(),
  fc.constantFrom(0, 1, -1, 255, 65_535, 2 ** 32, 2 ** 53, 0.5, Number.NaN, Infinity),
  fc.bigInt({ min: -(1n << 65n), max: 1n << 65n }),
  fc.boolean(),
  fc.string(),
  fc.uint8Array({ maxLength: 40 }),
  fc.constantFrom(undefined, null, [], {}, [{}], [null]),
  fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 12 }),
);

function works(device: Device, bus: { read(address: number, size: AccessSize): unknown }): void {
  for (let offset = 0; offset < 0x140; offset += 4) bus.read(device.base + offset, 4);
}

test("a saved board with something else in one place loads and works, or is Corrupt", () => {
  const { board: used, memory } = makeBoard({ memory: new FakeMemory(RAM_BYTES) });
  for (const { base } of used.descriptions) {
    for (let offset = 0; offset < 0x100; offset += 4) used.bus.write(base + offset, 4, 3n);
  }
  used.bus.input("uart0", { kind: "serialInput", data: Uint8Array.of(1, 2, 3) });
  used.bus.input("console", { kind: "consoleInput", port: 1, data: Uint8Array.of(4) });
  const saved = used.bus.save();
  const paths = pathsOf(saved);
  let [loaded, corrupt] = [0, 0];
  const property = fc.property(fc.nat(paths.length - 1), anything, (place, value) => {
    const { board, time } = makeBoard({ memory: memory.copy() });
    const spoiled = withAt(saved, paths[place] ?? [], value);
    try {
      board.bus.load(spoiled);
    } catch (caught) {
      assert.ok(
        caught instanceof BlixardError && caught.failure.code === "Corrupt",
        String(caught),
      );
      corrupt++;
      return;
    }
    loaded++;
    time.now += 1_000_000n;
    board.bus.tick();
    for (const device of [board.uart, board.plic, board.rtc, board.console, board.rng]) {
      works(device, board.bus);
    }
    board.bus.load(structuredClone(board.bus.save()));
  });
  fc.assert(property, { seed: 11, numRuns: 400 });
  assert.ok(loaded > 10 && corrupt > 10, `${loaded} loaded, ${corrupt} corrupt`);
});
