import assert from "node:assert/strict";
import { test } from "node:test";

import { as, ok, Prng } from "@blixard/std";
import type { LogIndex, Result, Term } from "@blixard/std";
import { emptyConf } from "@blixard/raft";

import { DiskIo } from "../io.ts";
import { SNAPSHOT_CHUNK_BYTES } from "../limits.ts";
import { zstd } from "../os/zstd.ts";
import { MemoryDisk } from "../testing/memory-disk.ts";
import { snapshotName } from "./format.ts";
import { pack, restoreUnpacked, unpack } from "./packing.ts";
import type { Compression } from "./packing.ts";
import { readSnapshot, writeSnapshot } from "./store.ts";
import type { LoadedSnapshot } from "./store.ts";

const META = { index: as<LogIndex>(40), term: as<Term>(4), conf: emptyConf() };
const random = new Prng(3);
const noise = Uint8Array.from({ length: 5000 }, () => random.below(256));
const text = new TextEncoder().encode("all work and no play ".repeat(9000));

function stored(chunks: readonly Uint8Array[], compression?: Compression): MemoryDisk {
  const disk = new MemoryDisk();
  const io = new DiskIo(disk);
  const header = { meta: META, members: [] };
  io.run(writeSnapshot("", header, chunks.values(), compression), (result) => assert.ok(result.ok));
  disk.drain((completion) => void io.complete(completion));
  return disk;
}

function loaded(disk: MemoryDisk): Result<LoadedSnapshot, string> {
  const io = new DiskIo(disk);
  const found: Result<LoadedSnapshot, string>[] = [];
  io.run(readSnapshot(snapshotName(META), true), (result) => {
    assert.ok(result.ok);
    found.push(result.value);
  });
  disk.drain((completion) => void io.complete(completion));
  const [first] = found;
  assert.ok(first);
  return first;
}

function restored(
  snapshot: LoadedSnapshot,
  compression?: Compression,
): Result<Uint8Array[], string> {
  const out: Uint8Array[] = [];
  const result = restoreUnpacked(snapshot.chunks, compression, (chunks) => {
    for (const chunk of chunks) out.push(Uint8Array.from(chunk));
    return ok(undefined);
  });
  return result.ok ? ok(out) : result;
}

test("a compressed snapshot is smaller, and comes back byte for byte", () => {
  const disk = stored([text, noise], zstd);
  const plain = stored([text, noise]);
  const name = snapshotName(META);
  assert.ok(disk.bytes(name).length < plain.bytes(name).length / 10);
  const found = loaded(disk);
  assert.ok(found.ok && found.value.isPacked);
  assert.deepEqual(restored(found.value, zstd), ok([text, noise]));
  const without = restored(found.value);
  assert.match(without.ok ? "" : without.error, /nothing to expand it/);
  const old = loaded(plain);
  assert.ok(old.ok && !old.value.isPacked);
  assert.deepEqual(old.value.chunks, [text, noise]);
});

test("a chunk cannot expand beyond its bound, and nonsense is a reason", () => {
  const bomb = zstd.compress(new Uint8Array(SNAPSHOT_CHUNK_BYTES + 1));
  assert.equal(unpack(Uint8Array.from([1, ...bomb]), zstd).ok, false);
  assert.equal(unpack(Uint8Array.from([1, 2, 3]), zstd).ok, false);
  assert.equal(unpack(Uint8Array.from([9, 2, 3]), zstd).ok, false);
  const full = new Uint8Array(SNAPSHOT_CHUNK_BYTES);
  assert.deepEqual(unpack(pack(full, zstd), zstd), ok(Buffer.from(full)));
});
