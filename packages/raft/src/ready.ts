/** What the driver must do now, and what it reports back. */

import { assert, type LogIndex } from "@blixard/std";
import { finishRepair, takeRepaired } from "./damaged.ts";
import { isEtcd } from "./dialect.ts";
import { applicable, notePersisted, persistDue, takePersist } from "./durability.ts";
import { tryWin } from "./election.ts";
import { maybeCommit } from "./leader-log.ts";
import { KEEP_BYTES, KEEP_ENTRIES } from "./limits.ts";
import { entryAt, entryBytes, logCompact, logSlice, termAt, toIndex } from "./log.ts";
import { updateMatch } from "./progress.ts";
import { leaveWhenDue } from "./propose.ts";
import { flushReads } from "./read.ts";
import { broadcast, flushAppends } from "./replication.ts";
import type { RaftState } from "./state.ts";
import type { Advance, Entry, Ready, SnapshotMeta } from "./types.ts";

/**
 * Everything due since the last call, each thing once; undefined when there is nothing. The driver,
 * in any order it likes: writes `persist` after all earlier ones; sends each message once the
 * persist it names is durable; applies `committed` in order, calling `applyConfChange` for config
 * entries; answers `reads` whose index is applied.
 */
export function ready(state: RaftState): Ready | undefined {
  flush(state);
  const persist = takePersist(state);
  const committed = takeCommitted(state);
  const { reads, outbox } = state;
  const repaired = takeRepaired(state);
  if (
    persist === undefined &&
    outbox.length === 0 &&
    committed.length === 0 &&
    reads.answers.length === 0 &&
    !repaired
  ) {
    return undefined;
  }
  const result: { -readonly [K in keyof Ready]: Ready[K] } = {
    messages: outbox,
    committed,
    reads: reads.answers,
  };
  if (persist !== undefined) result.persist = persist;
  if (repaired) result.repaired = true;
  state.outbox = [];
  reads.answers = [];
  return result;
}

function flush(state: RaftState): void {
  if (state.role !== "leader") return;
  flushReads(state);
  flushAppends(state);
}

/** Whether `ready` would have something to say. */
export function hasReady(state: RaftState): boolean {
  flush(state);
  return (
    state.outbox.length > 0 ||
    state.reads.answers.length > 0 ||
    state.damage.phase === "whole" ||
    (!state.applyPaused && applicable(state) > state.handedApply) ||
    persistDue(state)
  );
}

/**
 * Entries that are committed and durable here, too: an applied entry is never lost by a restart.
 */
function takeCommitted(state: RaftState): readonly Entry[] {
  const to = applicable(state);
  if (to <= state.handedApply || state.applyPaused) return [];
  const { maxApplyBytes } = state.config;
  const from = state.handedApply + 1;
  const entries = logSlice(state.log, from, to, maxApplyBytes - state.applyingBytes);
  state.handedApply = toIndex(state.handedApply + entries.length);
  for (const entry of entries) state.applyingBytes += entryBytes(entry);
  // Also when the next one alone would be too much.
  state.applyPaused = state.applyingBytes >= maxApplyBytes || state.handedApply < to;
  return entries;
}

/** Reports what the driver has done. Asserts that it was asked for. */
export function advance(state: RaftState, done: Advance): void {
  switch (done.kind) {
    case "persisted":
      onPersisted(state, done.seq);
      break;
    case "applied":
      onApplied(state, done.index);
      break;
    case "compacted":
      onCompacted(state, done.meta, done.upTo);
      break;
    case "repaired":
      finishRepair(state);
      break;
    default:
      assert(false, "unknown advance");
  }
}

function onPersisted(state: RaftState, seq: number): void {
  const snapshotIndex = notePersisted(state, seq);
  state.applied = toIndex(Math.max(state.applied, snapshotIndex));
  // There its own acknowledgements come back as messages.
  if (isEtcd(state)) return;
  tryWin(state);
  if (state.role !== "leader") return;
  const own = state.progress.get(state.id);
  if (own !== undefined) updateMatch(own, toIndex(state.io.durableIndex));
  if (maybeCommit(state)) broadcast(state);
}

function onApplied(state: RaftState, index: number): void {
  assert(index <= state.handedApply, `applied ${index}, which was never handed out`);
  assert((state.configs[0] ?? Infinity) > index, "applyConfChange comes before applied");
  state.applyingBytes = index === state.handedApply ? 0 : stillApplying(state, index);
  state.applied = toIndex(Math.max(state.applied, index));
  state.applyPaused = state.applyingBytes >= state.config.maxApplyBytes;
  leaveWhenDue(state);
}

/** Bytes handed out beyond `index`; of what a snapshot has overtaken nothing counts any more. */
function stillApplying(state: RaftState, index: number): number {
  let bytes = state.applyingBytes;
  for (let at = Math.max(state.applied, state.log.offset) + 1; at <= index; at++) {
    bytes -= entryBytes(entryAt(state.log, at));
  }
  return Math.max(0, bytes);
}

/** Keeps a tail behind the snapshot, so that a member slightly behind needs no snapshot. */
function onCompacted(state: RaftState, meta: SnapshotMeta, upTo: LogIndex | undefined): void {
  if (meta.index < state.snapshot.index) return;
  if (meta.index === state.snapshot.index && upTo === undefined) return;
  // A driver that names what to drop may have taken the snapshot before it reports the entries.
  const applied = upTo === undefined ? state.applied : state.handedApply;
  assert(meta.index <= applied, `compacted ${meta.index}, which is not applied`);
  assert(termAt(state.log, meta.index) === meta.term, "the snapshot's term is the entry's");
  state.snapshot = meta;
  const { log } = state;
  if (upTo !== undefined) {
    assert(upTo <= meta.index, "what is dropped is in the snapshot");
    logCompact(log, upTo);
    return;
  }
  const keep = state.config.keepEntries ?? KEEP_ENTRIES;
  let index: number = meta.index;
  let bytes = 0;
  while (index > log.offset && meta.index - index < keep) {
    bytes += entryBytes(entryAt(log, index));
    if (bytes > KEEP_BYTES) break;
    index--;
  }
  logCompact(log, toIndex(index));
}
