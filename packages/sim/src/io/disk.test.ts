import assert from "node:assert/strict";
import { test } from "node:test";
import { type DiskCompletion, type DiskOp, Prng } from "@blixard/std";
import { SECTOR_BYTES } from "../limits.ts";
import { type Host, World } from "../world/world.ts";
import { type DiskEffect, fileClassOf } from "./disk-faults.ts";
import { SimDisk } from "./disk.ts";

function setup(seed: number) {
  const world = new World(seed);
  const host: Host = { id: 1, incarnation: 1, up: true, pausedUntilUs: 0 };
  const disk = new SimDisk(world, host, new Prng(seed), [20, 150]);
  const completions: DiskCompletion[] = [];
  disk.connect((completion) => completions.push(completion));
  const perform = (op: DiskOp): string => {
    const token = disk.submit(op);
    world.runUntil(world.nowUs + 1_000_000);
    const done = completions.find((completion) => completion.token === token);
    if (done === undefined) return "none";
    return done.result.ok ? done.result.value.kind : done.result.error.code;
  };
  return { world, disk, completions, perform };
}

function effect(kind: DiskEffect["kind"], more: Partial<DiskEffect> = {}): DiskEffect {
  const random = new Prng(1);
  return { kind, rate: 1, amount: 0, untilUs: 0, random, fire: () => undefined, ...more };
}

const OLD = new Uint8Array(4 * SECTOR_BYTES).fill(1);
const NEW = new Uint8Array(4 * SECTOR_BYTES).fill(2);

function afterPowerCut(seed: number, isSynced: boolean, lyingSync = false): string {
  const { disk, perform } = setup(seed);
  if (lyingSync) disk.effects.push(effect("diskLyingFsync"));
  perform({ kind: "create", path: "d/a", sizeBytes: OLD.length });
  perform({ kind: "write", path: "d/a", offset: 0, data: OLD });
  perform({ kind: "sync", path: "d/a" });
  perform({ kind: "syncDir", dir: "d" });
  perform({ kind: "write", path: "d/a", offset: 0, data: NEW });
  if (isSynced) perform({ kind: "sync", path: "d/a" });
  disk.cutPower();
  const bytes = disk.contents("d/a");
  if (bytes === undefined) return "absent";
  return Array.from({ length: 4 }, (_, i) => bytes[i * SECTOR_BYTES] ?? "-").join("");
}

test("what was synced survives a power cut; what was not is kept, lost or torn by sectors", () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 100; seed++) {
    assert.equal(afterPowerCut(seed, true), "2222");
    seen.add(afterPowerCut(seed, false));
  }
  assert.ok(seen.has("1111") && seen.has("2222") && seen.has("1221"), [...seen].join(" "));
});

test("a power cut that is told what to lose loses that: all, or all but first sectors", () => {
  for (const [loss, expected] of [
    ["lost", "1111"],
    ["heads", "1211"],
  ] as const) {
    const { disk, perform } = setup(1);
    perform({ kind: "create", path: "d/a", sizeBytes: OLD.length });
    perform({ kind: "write", path: "d/a", offset: 0, data: OLD });
    perform({ kind: "sync", path: "d/a" });
    perform({ kind: "syncDir", dir: "d" });
    // Under way only: a killed process leaves it undone, or in the page cache.
    disk.submit({ kind: "write", path: "d/a", offset: SECTOR_BYTES, data: OLD.map(() => 2) });
    disk.submit({ kind: "sync", path: "d/a" });
    disk.cutPower(loss);
    const bytes = disk.contents("d/a") ?? new Uint8Array(0);
    const seen = Array.from({ length: 4 }, (_, at) => bytes[at * SECTOR_BYTES] ?? "-").join("");
    assert.equal(seen, expected, loss);
    perform({ kind: "write", path: "d/a", offset: 0, data: NEW });
    disk.killProcess(loss);
    assert.equal(disk.contents("d/a")?.[0], 2, "what a process has written stays in the cache");
  }
});

test("with a lying sync, synced content can be lost", () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 100; seed++) seen.add(afterPowerCut(seed, true, true));
  assert.ok(seen.size > 3, [...seen].join(" "));
});

test("creates, renames and removes are durable only after syncDir", () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 200; seed++) {
    const { disk, perform } = setup(seed);
    for (const path of ["old", "gone"]) {
      perform({ kind: "create", path, sizeBytes: 0 });
    }
    perform({ kind: "syncDir", dir: "" });
    perform({ kind: "create", path: "new", sizeBytes: 0 });
    perform({ kind: "rename", from: "old", to: "renamed" });
    perform({ kind: "remove", path: "gone" });
    assert.deepEqual(disk.paths(), ["new", "renamed"]);
    disk.cutPower();
    seen.add(disk.paths().join(","));
    perform({ kind: "syncDir", dir: "" });
    const before = disk.paths();
    disk.cutPower();
    assert.deepEqual(disk.paths(), before);
  }
  assert.equal(seen.size, 8, [...seen].join(" | "));
});

test("a killed process loses no cache, hears of nothing, and its writes under way are open", () => {
  const seen = new Set<number | undefined>();
  for (let seed = 0; seed < 50; seed++) {
    const { world, disk, completions, perform } = setup(seed);
    perform({ kind: "create", path: "a", sizeBytes: 1 });
    perform({ kind: "write", path: "a", offset: 0, data: Uint8Array.of(1) });
    const count = completions.length;
    disk.submit({ kind: "write", path: "a", offset: 0, data: Uint8Array.of(2) });
    disk.killProcess();
    world.runUntil(world.nowUs + 1_000_000);
    assert.equal(completions.length, count);
    seen.add(disk.contents("a")?.[0]);
  }
  assert.deepEqual(seen, new Set([1, 2]));
});

test("operations on one path complete in the order of submission", () => {
  const { world, disk, completions } = setup(3);
  const tokens = [disk.submit({ kind: "create", path: "a", sizeBytes: 0 })];
  for (let i = 0; i < 20; i++) {
    tokens.push(disk.submit({ kind: "write", path: "a", offset: i, data: Uint8Array.of(i) }));
  }
  tokens.push(disk.submit({ kind: "sync", path: "a" }));
  world.runUntil(1_000_000);
  assert.deepEqual(
    completions.map(({ token }) => token),
    tokens,
  );
  assert.ok(completions.every(({ result }) => result.ok));
});

test("errors: absent, existing, full, a failing sync that drops from the cache", () => {
  const { disk, perform } = setup(4);
  assert.equal(perform({ kind: "size", path: "a" }), "NotFound");
  assert.equal(perform({ kind: "create", path: "a", sizeBytes: 4 }), "done");
  assert.equal(perform({ kind: "create", path: "a", sizeBytes: 4 }), "Exists");
  disk.effects.push(effect("diskEnospc"));
  assert.equal(perform({ kind: "create", path: "b", sizeBytes: 0 }), "NoSpace");
  assert.equal(
    perform({ kind: "write", path: "a", offset: 3, data: Uint8Array.of(1, 2) }),
    "NoSpace",
  );
  assert.equal(perform({ kind: "write", path: "a", offset: 3, data: Uint8Array.of(9) }), "done");
  disk.effects.splice(0, 1, effect("diskEio"));
  assert.equal(perform({ kind: "sync", path: "a" }), "Io");
  disk.effects.length = 0;
  assert.equal(perform({ kind: "sync", path: "a" }), "done");
});

function contentsWith(kind: DiskEffect["kind"], more: Partial<DiskEffect> = {}) {
  const { disk, perform } = setup(5);
  let fired = 0;
  // The log area, and three slots behind it.
  perform({ kind: "create", path: "seg-1", sizeBytes: 4 * SECTOR_BYTES + 3 * 4096 });
  disk.effects.push(effect(kind, { fire: () => fired++, ...more }));
  const data = Uint8Array.of(1, 2, 3);
  perform({ kind: "write", path: "seg-1", offset: 0, data });
  const now = [...(disk.contents("seg-1") ?? [])];
  return { now, fired, disk };
}

test("writes are lost, corrupted or misdirected; only the class of files that was meant", () => {
  const lost = contentsWith("diskLost");
  assert.deepEqual([lost.now.slice(0, 3), lost.fired, lost.disk.isHurt], [[0, 0, 0], 1, true]);
  const other = contentsWith("diskLost", { only: "watermark" });
  assert.deepEqual([other.now.slice(0, 3), other.fired, other.disk.isHurt], [[1, 2, 3], 0, false]);
  const rotten = contentsWith("diskCorruptWrite").now;
  assert.equal([1, 2, 3].filter((value, at) => rotten[at] !== value).length, 1);
  const astray = contentsWith("diskMisdirected", { random: new Prng(3) }).now;
  assert.ok(astray.indexOf(1) % SECTOR_BYTES === 0);
  const inPlace = contentsWith("diskMisdirected", { random: new Prng(3), only: "segments" }).now;
  assert.ok(inPlace.indexOf(1) < 4 * SECTOR_BYTES);
  assert.deepEqual(["r/seg-01", "r/watermark", "r/tmp-snap-1", "r/x"].map(fileClassOf), [
    "segments",
    "watermark",
    "snapshots",
    undefined,
  ]);
});

test("a read is corrupted on its way, not on the medium; a torn write cuts the power", () => {
  const { disk, perform, completions } = setup(6);
  perform({ kind: "create", path: "a", sizeBytes: 8 });
  disk.effects.push(effect("diskCorruptRead"));
  perform({ kind: "read", path: "a", offset: 0, length: 8 });
  const read = completions.at(-1)?.result;
  assert.ok(read?.ok === true && read.value.kind === "bytes");
  assert.equal(read.value.bytes.filter((byte) => byte !== 0).length, 1);
  assert.deepEqual(disk.contents("a"), new Uint8Array(8));
  let torn = 0;
  disk.effects.splice(0, 1, effect("diskTorn", { onTorn: () => torn++ }));
  perform({ kind: "write", path: "a", offset: 0, data: Uint8Array.of(1) });
  assert.equal(torn, 1);
});

test("a sync that lies about one part of a file makes the other durable", () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 40; seed++) {
    const { disk, perform } = setup(seed);
    const sizeBytes = SECTOR_BYTES + 3 * 4096;
    perform({ kind: "create", path: "seg-1", sizeBytes });
    perform({ kind: "sync", path: "seg-1" });
    perform({ kind: "syncDir", dir: "" });
    disk.effects.push(effect("diskLyingFsync", { only: "segments" }));
    perform({ kind: "write", path: "seg-1", offset: 0, data: Uint8Array.of(1) });
    perform({ kind: "write", path: "seg-1", offset: SECTOR_BYTES, data: Uint8Array.of(2) });
    perform({ kind: "sync", path: "seg-1" });
    disk.cutPower();
    const bytes = disk.contents("seg-1") ?? new Uint8Array();
    seen.add(`${bytes[0]}${bytes[SECTOR_BYTES]}`);
  }
  assert.deepEqual([...seen].sort(), ["02", "12"]);
});

test("a slow disk takes its time, a hung one answers when it is well again", () => {
  const { world, disk, completions } = setup(7);
  disk.effects.push(effect("diskSlow", { amount: 100 }));
  disk.submit({ kind: "create", path: "a", sizeBytes: 0 });
  world.runUntil(2000);
  assert.equal(completions.length, 0);
  disk.effects.splice(0, 1, effect("diskHung", { untilUs: 500_000 }));
  disk.submit({ kind: "create", path: "b", sizeBytes: 0 });
  world.runUntil(499_000);
  assert.equal(completions.length, 1);
  world.runUntil(600_000);
  assert.equal(completions.length, 2);
});

test("a lost entry is gone for good, a wiped disk is new", () => {
  const { disk, perform } = setup(8);
  perform({ kind: "create", path: "a", sizeBytes: 4 });
  assert.equal(
    disk.loseEntry(new Prng(1), () => true),
    undefined,
  );
  perform({ kind: "syncDir", dir: "" });
  assert.equal(
    disk.loseEntry(new Prng(1), () => true),
    "a",
  );
  assert.ok(disk.isHurt);
  assert.deepEqual(disk.paths(), []);
  disk.wipe();
  assert.ok(!disk.isHurt);
});
