import assert from "node:assert/strict";
import { test } from "node:test";

import { as, crc32c, Prng } from "@blixard/std";
import type { DiskOp, LogIndex, PeerId, Term } from "@blixard/std";

import {
  appendDurably,
  drain,
  entry,
  hardState,
  indexes,
  openLog,
  recoverFrom,
  SEGMENT_BYTES,
} from "../testing/log-life.ts";
import { MemoryDisk } from "../testing/memory-disk.ts";
import { crcSeed, decodeHeader, encodeBatch, scanRecords, SEGMENT_HEADER_BYTES } from "./format.ts";
import { decodeWatermark, encodeSlot, slotOffset } from "./watermark.ts";

const SEGMENT = "raft/seg-0000000000000001";
const SECOND = "raft/seg-0000000000000002";
const WATERMARK = "raft/watermark";

function bytesOf(count: number, seed: number): Uint8Array {
  const random = new Prng(seed);
  return Uint8Array.from({ length: count }, () => random.below(256));
}

/** A log of `count` batches with a vote in the second, and its disk after a clean stop. */
function filled(count: number, bytes = 20): MemoryDisk {
  const disk = new MemoryDisk();
  const life = openLog(disk);
  for (let i = 1; i <= count; i++) {
    const hard = i === 2 ? hardState(3, 2) : undefined;
    appendDurably(disk, life, [entry(i, i < 3 ? i : 3, bytesOf(bytes, i))], hard);
  }
  return disk;
}

function end(disk: MemoryDisk, path = SEGMENT): number {
  const bytes = disk.bytes(path);
  return scanRecords(bytes, Number.parseInt(path.slice(-4), 16), SEGMENT_HEADER_BYTES).end;
}

test("a byte flipped anywhere below the watermark is rot, or is repaired from the mirror", () => {
  const original = filled(6);
  const written = end(original);
  let repaired = 0;
  for (let offset = 0; offset < written; offset++) {
    const disk = original.clone();
    disk.flip(SEGMENT, offset, 1 << (offset % 8));
    const recovered = recoverFrom(disk);
    const { hardState: hard } = recovered.contents;
    assert.equal(hard.term, 3, `offset ${offset}: the term is not forgotten`);
    assert.equal(hard.vote, 2, `offset ${offset}: the vote is not forgotten`);
    if (recovered.damage === undefined) {
      repaired++;
      assert.deepEqual(indexes(recovered), [1, 2, 3, 4, 5, 6], `offset ${offset}`);
      continue;
    }
    assert.equal(recovered.damage.segment, 1);
    assert(recovered.damage.offset <= offset, `offset ${offset}: ${recovered.damage.offset}`);
    // The verdict survives a restart, and so does what remained.
    const again = recoverFrom(disk);
    assert(again.damage !== undefined, `offset ${offset}: damage is remembered`);
    assert.deepEqual(indexes(again), indexes(recovered));
    assert.equal(again.contents.hardState.term, 3);
    assert.equal(again.contents.hardState.vote, 2);
  }
  assert(repaired > 0 && repaired < 60, `only the last batch has a mirror: ${repaired}`);
});

test("whatever is above the watermark is cut, durably", () => {
  const original = filled(3);
  const written = end(original);
  for (let offset = written; offset < written + 80; offset++) {
    const disk = original.clone();
    disk.flip(SEGMENT, offset);
    const recovered = recoverFrom(disk);
    assert.equal(recovered.damage, undefined);
    assert.deepEqual(indexes(recovered), [1, 2, 3]);
    disk.crash(new Prng(offset));
    assert(
      disk
        .bytes(SEGMENT)
        .subarray(written, SEGMENT_BYTES)
        .every((byte) => byte === 0),
    );
  }
});

test("a flip anywhere in the watermark file loses nothing", () => {
  const original = filled(5);
  const bytes = original.bytes(WATERMARK);
  for (let offset = 0; offset < bytes.length; offset++) {
    if (bytes[offset] === 0 && offset % 97 !== 0) continue;
    const disk = original.clone();
    disk.flip(WATERMARK, offset);
    const recovered = recoverFrom(disk);
    assert.equal(recovered.damage, undefined, `offset ${offset}`);
    assert.deepEqual(indexes(recovered), [1, 2, 3, 4, 5]);
    assert.equal(recovered.contents.hardState.vote, 2);
  }
});

// Found by the simulator: what a lying disk left of the file once made recovery assert.
test("a watermark file of any length loses nothing silently, and never crashes recovery", () => {
  const original = filled(5);
  const whole = original.bytes(WATERMARK);
  for (let length = 0; length <= 2 * whole.length; length += 401) {
    for (const disk of [original.clone(), withoutSlots(original.clone())]) {
      const bytes = new Uint8Array(length);
      bytes.set(whole.subarray(0, length));
      disk.put(WATERMARK, bytes);
      const recovered = recoverFrom(disk);
      const isWhole = indexes(recovered).join() === "1,2,3,4,5";
      assert(isWhole || recovered.damage !== undefined, `${length} bytes`);
    }
  }
});

/** The slots behind the segment are gone. */
function withoutSlots(disk: MemoryDisk): MemoryDisk {
  const bytes = disk.bytes(SEGMENT).slice();
  disk.put(SEGMENT, bytes.fill(0, SEGMENT_BYTES));
  return disk;
}

test("without any slot of the watermark the log is damaged, never silently trusted", () => {
  const disk = withoutSlots(filled(4));
  disk.put(WATERMARK, new Uint8Array(disk.bytes(WATERMARK).length));
  const recovered = recoverFrom(disk);
  assert.match(recovered.damage?.reason ?? "", /watermark/);
  assert.deepEqual(indexes(recovered), [1, 2, 3, 4]);
  const gone = withoutSlots(filled(4));
  gone.drop(WATERMARK);
  assert(recoverFrom(gone).damage !== undefined);
});

test("slots stand in two places: the segment's suffice, and are missed when they are gone", () => {
  const disk = filled(4);
  disk.drop(WATERMARK);
  const recovered = recoverFrom(disk);
  assert.equal(recovered.damage, undefined);
  assert.deepEqual(indexes(recovered), [1, 2, 3, 4]);
  assert.equal(decodeWatermark(disk.bytes(WATERMARK)).slots.length, 1, "the file is made anew");
  const missing = recoverFrom(withoutSlots(filled(4)));
  assert.match(missing.damage?.reason ?? "", /no slot behind the segment/);
  assert.deepEqual(indexes(missing), [1, 2, 3, 4]);
});

test("a flip anywhere in the slots behind the segment loses nothing", () => {
  const original = filled(5);
  const bytes = original.bytes(SEGMENT);
  for (let offset = SEGMENT_BYTES; offset < bytes.length; offset++) {
    if (bytes[offset] === 0 && offset % 97 !== 0) continue;
    const disk = original.clone();
    disk.flip(SEGMENT, offset);
    const recovered = recoverFrom(disk);
    assert.equal(recovered.damage, undefined, `offset ${offset}`);
    assert.deepEqual(indexes(recovered), [1, 2, 3, 4, 5]);
  }
});

test("a segment of version 1, without slots of its own, is read and written further", () => {
  const disk = filled(2);
  const bytes = disk.bytes(SEGMENT).slice(0, SEGMENT_BYTES);
  const header = { segment: 1, firstIndex: 1, previousEnd: 0 };
  const records = scanRecords(bytes, 1, SEGMENT_HEADER_BYTES).records.map(({ record }) => record);
  const written = encodeBatch(1, 0, records, header);
  written[4] = 1;
  const sum = crc32c(written.subarray(0, 32), crcSeed(1, 0));
  new DataView(written.buffer).setUint32(32, sum, true);
  bytes.fill(0).set(written);
  disk.put(SEGMENT, bytes);
  const watermark = new Uint8Array(disk.bytes(WATERMARK).length);
  const slot = {
    sequence: 9,
    firstSegment: 1,
    segment: 1,
    offset: written.length,
    damaged: false,
    term: as<Term>(3),
    vote: as<PeerId>(2),
    mirror: new Uint8Array(0),
    opensNext: false,
  };
  watermark.set(encodeSlot(slot), slotOffset(9, watermark.length / 3));
  disk.put(WATERMARK, watermark);
  const life = openLog(disk);
  assert.equal(life.recovered.damage, undefined);
  for (let i = 3; i < 90; i++) appendDurably(disk, life, [entry(i, 3, bytesOf(200, i))]);
  const later = recoverFrom(disk);
  assert.equal(later.damage, undefined);
  assert.equal(indexes(later).length, 89);
  assert(disk.bytes(SECOND).length > SEGMENT_BYTES, "the next one has slots");
});

test("a missing segment is rot at its start", () => {
  const disk = filled(200, 200);
  assert(disk.names().includes(SECOND));
  disk.drop(SECOND);
  const recovered = recoverFrom(disk);
  assert.deepEqual(
    [recovered.damage?.segment, recovered.damage?.offset],
    [2, 0],
    JSON.stringify(recovered.damage),
  );
  const kept = indexes(recovered);
  assert.equal(kept[0], 1);
  assert(kept.length < 200);
  // Segments behind the loss are gone, and their ids are used again without confusion.
  const life = openLog(disk);
  const next = kept.length + 1;
  for (let i = 0; i < 120; i++) {
    appendDurably(disk, life, [entry(next + i, 9, bytesOf(200, i))], hardState(9, 0));
  }
  life.log.clearDamage(() => undefined);
  drain(disk, life);
  const later = recoverFrom(disk);
  assert.equal(later.damage, undefined);
  assert.equal(later.contents.entries.length, kept.length + 120);
});

// Found by the simulator: a damaged member came back in an earlier term, and could vote twice in one.
test("term and vote survive the loss of the segment that they were written to", () => {
  const disk = new MemoryDisk();
  const life = openLog(disk);
  appendDurably(disk, life, [entry(1, 1, bytesOf(20, 1))], hardState(1, 0));
  appendDurably(disk, life, [], hardState(3, 2));
  appendDurably(disk, life, [entry(2, 3, bytesOf(20, 2))]);
  disk.drop(SEGMENT);
  const { damage, contents } = recoverFrom(disk);
  assert.equal(damage?.reason, "the segment is missing");
  assert.deepEqual([contents.hardState.term, contents.hardState.vote], [3, 2]);
});

test("bytes of another life of a segment never validate", () => {
  const disk = filled(3);
  const stale = disk.bytes(SEGMENT);
  const records = scanRecords(stale, 1, SEGMENT_HEADER_BYTES).records;
  assert.equal(records.length, 5);
  for (const { offset } of records) {
    assert.equal(scanRecords(stale, 2, offset).records.length, 0);
    assert.equal(scanRecords(stale.subarray(offset), 1, offset + 64, offset + 64).end, offset + 64);
  }
  assert.equal(decodeHeader(stale, 2), undefined);
  assert.equal(scanRecords(new Uint8Array(4096), 1, SEGMENT_HEADER_BYTES).records.length, 0);
  // A recycled file: a new header and batch over the old content, whose records follow at once.
  const header = { segment: 7, firstIndex: 1, previousEnd: 0 };
  const batch = encodeBatch(7, 0, [{ kind: "hardState", hardState: hardState(1, 1) }], header);
  const recycled = stale.slice();
  recycled.set(batch, 0);
  assert.equal(scanRecords(recycled, 7, SEGMENT_HEADER_BYTES).end, batch.length);
});

test("appends made during a write share the next one", () => {
  const disk = new MemoryDisk();
  const life = openLog(disk);
  appendDurably(disk, life, [entry(1, 1, bytesOf(10, 1))]);
  const before = disk.counts.get("sync") ?? 0;
  const done: number[] = [];
  for (let i = 2; i <= 101; i++) {
    life.log.append({ entries: [entry(i, 1, bytesOf(10, i))] }, () => void done.push(i));
  }
  drain(disk, life);
  assert.deepEqual(
    done,
    Array.from({ length: 100 }, (_, i) => i + 2),
  );
  // Two batches: one sync covers a batch and its slot, two a batch too large to be mirrored.
  assert.equal((disk.counts.get("sync") ?? 0) - before, 3);
  assert(life.log.idle);
});

test("an entry larger than a segment gets a segment of its size, and so does a large append", () => {
  const disk = new MemoryDisk();
  const life = openLog(disk);
  appendDurably(disk, life, [entry(1, 1, bytesOf(100, 1))]);
  appendDurably(disk, life, [entry(2, 1, bytesOf(3 * SEGMENT_BYTES, 2))]);
  appendDurably(
    disk,
    life,
    Array.from({ length: 40 }, (_, i) => entry(3 + i, 1, bytesOf(3000, i))),
  );
  const recovered = recoverFrom(disk);
  assert.equal(recovered.damage, undefined);
  assert.equal(recovered.contents.entries.length, 42);
  assert.deepEqual(recovered.contents.entries[1]?.data, bytesOf(3 * SEGMENT_BYTES, 2));
  assert.deepEqual(recovered.contents.entries[41]?.data, bytesOf(3000, 39));
});

test("segments below a released index are removed, once no slot names them", () => {
  const disk = filled(250, 200);
  const life = openLog(disk);
  const segments = (): string[] => disk.names().filter((name) => name.includes("seg-"));
  const before = segments().length;
  assert(before >= 4);
  life.log.markSnapshot(
    {
      index: as<LogIndex>(240),
      term: as<Term>(3),
      conf: {
        voters: [as<PeerId>(1)],
        votersOutgoing: [],
        learners: [],
        learnersNext: [],
        autoLeave: false,
      },
    },
    () => undefined,
  );
  life.log.release(240);
  drain(disk, life);
  for (let i = 251; i < 255; i++) appendDurably(disk, life, [entry(i, 3, bytesOf(9, i))]);
  assert(segments().length <= 3, segments().join());
  const recovered = recoverFrom(disk);
  assert.equal(recovered.damage, undefined);
  assert.equal(recovered.contents.snapshot?.index, 240);
  assert.equal(recovered.contents.hardState.vote, 2, "the hard state moved along");
  assert((indexes(recovered)[0] ?? 0) <= 241);
  assert.equal(indexes(recovered).at(-1), 254);
});

test("a full disk stalls the log and loses nothing; room lets it go on", () => {
  const disk = new MemoryDisk();
  const life = openLog(disk);
  disk.failure = (op: DiskOp) => (op.kind === "create" ? "NoSpace" : undefined);
  let acknowledged = 0;
  for (let i = 1; i <= 100; i++) {
    life.log.append({ entries: [entry(i, 1, bytesOf(300, i))] }, () => void acknowledged++);
  }
  drain(disk, life);
  assert.equal(acknowledged, 0);
  assert(life.log.stalled);
  life.log.retry();
  drain(disk, life);
  assert(life.log.stalled, "still full");
  disk.failure = undefined;
  life.log.retry();
  drain(disk, life);
  assert.equal(acknowledged, 100);
  assert(!life.log.stalled);
  disk.failure = (op) => (op.kind === "write" && op.path.includes("seg-") ? "NoSpace" : undefined);
  life.log.append({ entries: [entry(101, 1, bytesOf(30, 1))] }, () => void acknowledged++);
  drain(disk, life);
  assert(life.log.stalled && acknowledged === 100);
  disk.failure = undefined;
  life.log.retry();
  drain(disk, life);
  assert.equal(acknowledged, 101);
  assert.deepEqual(life.fatal, []);
  assert.equal(recoverFrom(disk).contents.entries.length, 101);
});

test("hard state never becomes durable before the entries beside it", () => {
  const disk = filled(6);
  disk.failure = (op: DiskOp) => (op.kind === "create" ? "NoSpace" : undefined);
  const life = openLog(disk);
  // As from a leader of term 4 that replaces 4 to 6 and tells that they are committed.
  const entries = [4, 5, 6].map((index) => entry(index, 4, bytesOf(SEGMENT_BYTES, index)));
  life.log.append({ entries, hardState: hardState(4, 0, 6) }, () => undefined);
  drain(disk, life);
  assert(life.log.stalled, "no room for the entries");
  disk.failure = undefined;
  const { contents } = recoverFrom(disk);
  assert.equal(contents.entries.at(-1)?.term, 3, "the older entries are still there");
  assert.ok(contents.hardState.commit < 4, "and are not called committed");
});

test("a failed sync is fatal and never tried again", () => {
  for (const path of [SEGMENT, WATERMARK]) {
    const disk = new MemoryDisk();
    const life = openLog(disk);
    // A slot goes to the watermark file when a segment is opened, else behind the segment.
    if (path === SEGMENT) appendDurably(disk, life, [entry(1, 1, bytesOf(10, 1))]);
    disk.failure = (op) => (op.kind === "sync" && op.path === path ? "Io" : undefined);
    let acknowledged = false;
    life.log.append({ entries: [entry(2, 1, bytesOf(10, 1))] }, () => {
      acknowledged = true;
    });
    drain(disk, life);
    assert.equal(life.fatal.length, 1);
    disk.failure = undefined;
    const writes = disk.counts.get("write");
    life.log.retry();
    life.log.append({ entries: [entry(3, 1, bytesOf(10, 1))] }, () => {
      acknowledged = true;
    });
    drain(disk, life);
    assert(!acknowledged);
    assert.equal(disk.counts.get("write"), writes);
  }
});

test("a batch beyond the mirror's size is synced before its slot says so", () => {
  const disk = new MemoryDisk();
  const life = openLog(disk);
  appendDurably(disk, life, [entry(1, 1, bytesOf(6000, 1))]);
  const { slots } = decodeWatermark(disk.bytes(WATERMARK));
  assert.equal(slots[0]?.mirror.length, 0);
  assert.equal(slots[0]?.offset, end(disk));
  const flipped = disk.clone();
  flipped.flip(SEGMENT, 3000);
  assert.equal(recoverFrom(flipped).damage?.segment, 1);
});

test("rot loses nothing exactly when a snapshot reaches the entries behind it", () => {
  const original = filled(200, 200);
  const second = scanRecords(original.bytes(SECOND), 2, SEGMENT_HEADER_BYTES).records;
  const begins = second.flatMap(({ record }) => (record.kind === "entries" ? record.entries : []));
  const first = begins[0]?.index ?? 0;
  assert(first > 10);
  original.flip(SEGMENT, 5000);
  for (const [covered, isLost] of [
    [0, true],
    [1, true],
    [first - 2, true],
    [first - 1, false],
    [first + 5, false],
  ] as const) {
    const recovered = recoverFrom(original.clone(), undefined, covered);
    assert.equal(recovered.damage !== undefined, isLost, `covered ${covered}`);
    assert.equal(recovered.contents.hardState.vote, 2);
    if (!isLost) assert.equal(indexes(recovered)[0], first);
  }
});
