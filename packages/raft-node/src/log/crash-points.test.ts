/**
 * Every byte offset of a written run, one crash each. `npm test` looks at a part of them;
 * BLIXARD_CRASH_POINTS=all at every single one.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { as, Prng } from "@blixard/std";
import type { LogIndex, PeerId, Term } from "@blixard/std";
import type { Entry } from "@blixard/raft";

import { DiskIo } from "../io.ts";
import { listSnapshots, readSnapshot, writeSnapshot } from "../snapshot/store.ts";
import { snapshotName } from "../snapshot/format.ts";
import { forEachCrash, record } from "../testing/crash-points.ts";
import type { Recorded } from "../testing/crash-points.ts";
import { entry, hardState, openLog, recoverFrom, SEGMENT_BYTES } from "../testing/log-life.ts";
import { MemoryDisk } from "../testing/memory-disk.ts";

const STRIDE = process.env["BLIXARD_CRASH_POINTS"] === "all" ? 1 : 29;

interface Ack {
  readonly entries: number;
  readonly term: number;
  readonly vote: number;
}

interface Run {
  readonly recorded: readonly Recorded<Ack>[];
  readonly disk: MemoryDisk;
  /** By index from 1, as they were submitted; nothing is ever replaced. */
  readonly submitted: readonly Entry[];
}

/** Opens a log and appends `batches`, several of which span segments and exceed the mirror. */
function writtenRun(batches: number): Run {
  const disk = new MemoryDisk();
  const random = new Prng(5);
  const submitted: Entry[] = [];
  let acked: Ack = { entries: 0, term: 0, vote: 0 };
  const recorded: Recorded<Ack>[] = [];
  // Opening is part of the run: its operations are noted through the same disk.
  disk.failure = (op) => {
    recorded.push({ op, acknowledged: acked });
    return undefined;
  };
  const life = openLog(disk);
  const note = (): void => {
    recorded.push(
      ...record(
        disk,
        (completion) => life.io.complete(completion),
        () => acked,
      ),
    );
  };
  for (let i = 0; i < batches; i++) {
    const count = 1 + random.below(3);
    const large = i % 9 === 8;
    const entries = Array.from({ length: count }, () => {
      const bytes = large ? 2000 + random.below(4000) : random.below(80);
      const data = Uint8Array.from({ length: bytes }, () => random.below(256));
      const made = entry(submitted.length + 1, 1 + Math.floor(i / 10), data);
      submitted.push(made);
      return made;
    });
    const term = 1 + Math.floor(i / 10);
    const isVote = i % 10 === 0;
    const after: Ack = {
      entries: submitted.length,
      term: isVote ? term : acked.term,
      vote: isVote ? 1 + (i % 3) : acked.vote,
    };
    const hard = isVote ? { hardState: hardState(after.term, after.vote) } : {};
    life.log.append({ entries, ...hard }, () => {
      acked = after;
    });
    note();
  }
  assert.equal(acked.entries, submitted.length, "the run itself is whole");
  return { recorded, disk, submitted };
}

test("a crash at any byte offset loses nothing acknowledged and invents nothing", () => {
  const { recorded, submitted } = writtenRun(30);
  const crashes = forEachCrash(recorded, STRIDE, (disk, acknowledged, where) => {
    const recovered = recoverFrom(disk);
    assert.equal(recovered.damage, undefined, where);
    const { entries, hardState: hard } = recovered.contents;
    assert.ok(entries.length >= acknowledged.entries, `${where}: ${entries.length} entries`);
    for (const [i, found] of entries.entries()) assert.deepEqual(found, submitted[i], where);
    assert.ok(hard.term >= acknowledged.term, `${where}: term ${hard.term}`);
    if (hard.term === acknowledged.term) assert.equal(hard.vote, acknowledged.vote, where);
    // What was found is now durable: the same again, however often it crashes.
    assert.deepEqual(recoverFrom(disk).contents.entries.length, entries.length, where);
  });
  assert.ok(crashes > (STRIDE === 1 ? 40_000 : 1_000), `${crashes} crashes`);
});

test("a flipped bit at any byte offset of what was synced is detected or does no harm", () => {
  const { disk, submitted } = writtenRun(14);
  let harmless = 0;
  let detected = 0;
  for (const path of disk.names()) {
    const bytes = disk.bytes(path);
    let used = bytes.length;
    while (used > 0 && bytes[used - 1] === 0) used--;
    for (let offset = 0; offset < used; offset++) {
      if ((offset >= SEGMENT_BYTES || path.endsWith("watermark")) && bytes[offset] === 0) continue;
      if (offset % STRIDE !== 0 && offset > 150) continue;
      const copy = disk.clone();
      copy.flip(path, offset, 1 << (offset % 8));
      const recovered = recoverFrom(copy);
      if (recovered.damage !== undefined) {
        detected++;
        continue;
      }
      harmless++;
      const { entries, hardState: hard } = recovered.contents;
      assert.deepEqual(entries, submitted, `${path} flipped at ${offset}`);
      assert.deepEqual([hard.term, hard.vote], [2, 2], `${path} flipped at ${offset}`);
    }
  }
  assert.ok(detected > 100 && harmless > 100, `${detected} detected, ${harmless} harmless`);
});

const META = {
  index: as<LogIndex>(40),
  term: as<Term>(4),
  conf: {
    voters: [as<PeerId>(1), as<PeerId>(2)],
    votersOutgoing: [],
    learners: [],
    learnersNext: [],
    autoLeave: false,
  },
};

function* chunks(): Generator<Uint8Array, void> {
  const random = new Prng(9);
  for (let i = 0; i < 4; i++) {
    yield Uint8Array.from({ length: 300 + random.below(300) }, () => random.below(256));
  }
}

/** The snapshots that a start finds, and whether each can be read. */
function found(disk: MemoryDisk): readonly boolean[] {
  const io = new DiskIo(disk);
  const intact: boolean[] = [];
  io.run(
    (function* () {
      for (const id of yield* listSnapshots("")) {
        intact.push((yield* readSnapshot(snapshotName(id), true)).ok);
      }
    })(),
    (result) => assert.ok(result.ok),
  );
  disk.drain((completion) => void io.complete(completion));
  return intact;
}

test("a crash at any byte offset leaves a whole snapshot or none; a flipped bit is always seen", () => {
  const disk = new MemoryDisk();
  const io = new DiskIo(disk);
  let isDone = false;
  io.run(writeSnapshot("", { meta: META, members: [] }, chunks()), (result) => {
    isDone = result.ok;
  });
  const recorded = record(
    disk,
    (completion) => void io.complete(completion),
    () => isDone,
  );
  assert.ok(isDone);
  forEachCrash(recorded, STRIDE, (crashed, acknowledged, where) => {
    const intact = found(crashed);
    assert.ok(intact.every(Boolean), where);
    if (acknowledged) assert.equal(intact.length, 1, where);
  });
  const path = snapshotName(META);
  for (let offset = 0; offset < disk.bytes(path).length; offset++) {
    if (offset % STRIDE !== 0 && offset > 200) continue;
    const copy = disk.clone();
    copy.flip(path, offset, 1 << (offset % 8));
    assert.deepEqual(found(copy), [false], `flipped at ${offset}`);
  }
});
