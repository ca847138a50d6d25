import assert from "node:assert/strict";
import { test } from "node:test";
import { type DiskCompletion, type DiskOp, Prng } from "@blixard/std";
import { GOOD_DISK, SimDisk } from "./disk.ts";
import { SECTOR_BYTES } from "./limits.ts";
import { type Host, World } from "./world.ts";

function setup(seed: number) {
  const world = new World(seed, { tracing: false });
  const host: Host = { id: 1, incarnation: 1, up: true, pausedUntilUs: 0 };
  const disk = new SimDisk(world, host, new Prng(seed));
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

const OLD = new Uint8Array(4 * SECTOR_BYTES).fill(1);
const NEW = new Uint8Array(4 * SECTOR_BYTES).fill(2);

function afterPowerCut(seed: number, isSynced: boolean, lyingSync = false): string {
  const { disk, perform } = setup(seed);
  disk.behaviour = { ...GOOD_DISK, lyingSync };
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

test("with a lying sync, synced content can be lost", () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 100; seed++) seen.add(afterPowerCut(seed, true, true));
  assert.ok(seen.has("absent"), [...seen].join(" "));
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
  disk.behaviour = { ...GOOD_DISK, full: true };
  assert.equal(perform({ kind: "create", path: "b", sizeBytes: 0 }), "NoSpace");
  assert.equal(
    perform({ kind: "write", path: "a", offset: 3, data: Uint8Array.of(1, 2) }),
    "NoSpace",
  );
  assert.equal(perform({ kind: "write", path: "a", offset: 3, data: Uint8Array.of(9) }), "done");
  disk.behaviour = { ...GOOD_DISK, syncFails: 1 };
  assert.equal(perform({ kind: "sync", path: "a" }), "Io");
  disk.behaviour = GOOD_DISK;
  assert.equal(perform({ kind: "sync", path: "a" }), "done");
});

test("rot changes one bit of synced content", () => {
  const { disk, perform } = setup(5);
  perform({ kind: "create", path: "a", sizeBytes: 64 });
  perform({ kind: "write", path: "a", offset: 0, data: Uint8Array.of(1, 2, 3) });
  assert.equal(
    disk.rot(new Prng(1), () => true),
    undefined,
  );
  perform({ kind: "sync", path: "a" });
  perform({ kind: "syncDir", dir: "" });
  assert.match(disk.rot(new Prng(1), () => true) ?? "", /^a\+[012]$/);
  const now = disk.contents("a") ?? new Uint8Array();
  assert.equal([1, 2, 3].filter((value, at) => now[at] !== value).length, 1);
  assert.ok(disk.rotted);
});
