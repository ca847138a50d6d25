/** Opening, filling and reading logs in tests. */

import { as, assert } from "@blixard/std";
import type { DiskError, LogIndex, PeerId, Prng, Term } from "@blixard/std";
import type { Entry, HardState } from "@blixard/raft";

import { DiskIo } from "../io.ts";
import { Log } from "../log/log.ts";
import { recoverLog } from "../log/recovery.ts";
import type { RecoveredLog } from "../log/recovery.ts";
import type { MemoryDisk } from "./memory-disk.ts";

export const SEGMENT_BYTES = 16 * 1024;

export interface Life {
  readonly io: DiskIo;
  readonly log: Log;
  readonly recovered: RecoveredLog;
  readonly fatal: DiskError[];
}

export function recoverFrom(disk: MemoryDisk, random?: Prng, covered = 0): RecoveredLog {
  const io = new DiskIo(disk);
  let recovered: RecoveredLog | undefined;
  io.run(recoverLog("raft", SEGMENT_BYTES, { covered }), (result) => {
    if (!result.ok) throw new Error(`recovery failed: ${JSON.stringify(result.error)}`);
    recovered = result.value;
  });
  disk.drain((completion) => io.complete(completion), random);
  assert(recovered !== undefined, "recovery ends");
  return recovered;
}

export function openLog(disk: MemoryDisk, random?: Prng): Life {
  const recovered = recoverFrom(disk, random);
  const io = new DiskIo(disk);
  const fatal: DiskError[] = [];
  const deps = {
    io,
    dir: "raft",
    segmentBytes: SEGMENT_BYTES,
    onFatal: (error: DiskError) => void fatal.push(error),
  };
  return { io, log: new Log(deps, recovered), recovered, fatal };
}

export function drain(disk: MemoryDisk, life: Life): void {
  disk.drain((completion) => life.io.complete(completion));
}

export function entry(index: number, term: number, data: Uint8Array): Entry {
  return { index: as<LogIndex>(index), term: as<Term>(term), kind: "command", data };
}

export function hardState(term: number, vote: number, commit = 0): HardState {
  return {
    term: as<Term>(term),
    vote: vote === 0 ? 0 : as<PeerId>(vote),
    commit: as<LogIndex>(commit),
  };
}

/** Appends and waits until it is durable. */
export function appendDurably(
  disk: MemoryDisk,
  life: Life,
  entries: readonly Entry[],
  hard?: HardState,
): void {
  let done = false;
  const persist = hard === undefined ? { entries } : { entries, hardState: hard };
  life.log.append(persist, () => {
    done = true;
  });
  drain(disk, life);
  assert(done, "the append is durable once the disk is idle");
}

export function indexes(recovered: RecoveredLog): number[] {
  return recovered.contents.entries.map(({ index }) => index);
}
