/** From a folder to what the protocol and the state machine start from. */

import { as, assert } from "@blixard/std";
import type { LogIndex, PeerId, Term } from "@blixard/std";
import { allVoters, changeConf, decodeAnyChange, emptyConf } from "@blixard/raft";
import type { ConfState, Entry, HardState, Restored, SnapshotMeta } from "@blixard/raft";

import { joinPath } from "../io.ts";
import type { IoTask } from "../io.ts";
import { segmentName } from "../log/format.ts";
import { recoverLog } from "../log/recovery.ts";
import type { RecoveredLog } from "../log/recovery.ts";
import type { LogContents } from "../log/replay.ts";
import { snapshotName } from "../snapshot/format.ts";
import type { SnapshotId } from "../snapshot/format.ts";
import { listSnapshots, readSnapshot } from "../snapshot/store.ts";
import type { LoadedSnapshot } from "../snapshot/store.ts";

export interface RecoveredNode {
  readonly log: RecoveredLog;
  readonly restored: Restored;
  /** What the state machine is restored from; absent on a node that has never had a snapshot. */
  readonly snapshot: LoadedSnapshot | undefined;
  /** Files by name, newest first, without the rotten ones. */
  readonly snapshots: readonly SnapshotId[];
  readonly rotten: readonly SnapshotId[];
  /** Why acknowledged state was lost, with its place; undefined when nothing was. */
  readonly damage: string | undefined;
  /** The membership as far as it is known, for the question whether anybody could repair this node. */
  readonly conf: ConfState | undefined;
  /** True when the folder holds nothing of a cluster yet. */
  readonly empty: boolean;
}

const NO_SNAPSHOT: SnapshotMeta = {
  index: as<LogIndex>(0),
  term: as<Term>(0),
  conf: emptyConf(),
};

/** Leaves a damaged folder as it is when nobody could repair it (`log.untouched`). */
export function* recoverNode(id: PeerId, dir: string, segmentBytes: number): IoTask<RecoveredNode> {
  const snapshots = yield* listSnapshots(dir);
  const rotten: SnapshotId[] = [];
  const reasons: string[] = [];
  let at = 0;
  function* nextIntact(): IoTask<LoadedSnapshot | undefined> {
    for (let id = snapshots[at++]; id !== undefined; id = snapshots[at++]) {
      const path = joinPath(dir, snapshotName(id));
      const loaded = yield* readSnapshot(path, true);
      if (loaded.ok && isNamed(loaded.value.meta, id)) return loaded.value;
      rotten.push(id);
      reasons.push(`${path}: ${loaded.ok ? "it is not what its name says" : loaded.error}`);
    }
    return undefined;
  }
  const newest = yield* nextIntact();
  const log = yield* recoverLog(dir, segmentBytes, {
    ...(newest === undefined ? {} : { covered: newest.meta.index }),
    mayGiveUp: (read) => isRepairable(knownConf(newest?.meta, read), id),
  });
  const { contents } = log;
  let chosen = newest;
  while (chosen !== undefined && !completes(chosen.meta, contents)) chosen = yield* nextIntact();
  const complete = chosen !== undefined || completes(NO_SNAPSHOT, contents);
  chosen ??= newest;
  const damage = describeDamage(dir, log, complete, reasons);
  const base = chosen?.meta ?? NO_SNAPSHOT;
  const entries = damage === undefined ? entriesAfter(base, contents.entries) : [];
  const hardState = restoredHardState(contents.hardState, base, entries);
  return {
    log,
    restored: { hardState, snapshot: base, entries, damaged: damage !== undefined },
    snapshot: chosen,
    snapshots: snapshots.filter((id) => !rotten.includes(id)),
    rotten,
    damage,
    conf: knownConf(chosen?.meta, contents),
    empty: damage === undefined && isEmpty(contents) && snapshots.length === 0,
  };
}

function isNamed(meta: SnapshotMeta, id: SnapshotId): boolean {
  return meta.index === id.index && meta.term === id.term;
}

function isEmpty(contents: LogContents): boolean {
  const { hardState, entries, snapshot } = contents;
  return hardState.term === 0 && entries.length === 0 && snapshot === undefined;
}

/** Whether a snapshot and the log's entries together hold everything that the log ever promised. */
function completes(base: SnapshotMeta, contents: LogContents): boolean {
  const { entries, snapshot } = contents;
  const first = entries[0]?.index ?? base.index + 1;
  const last = Math.max(base.index, entries.at(-1)?.index ?? 0);
  return first <= base.index + 1 && last >= (snapshot?.index ?? 0);
}

/** Entries behind the snapshot, none when they disagree with it: a snapshot is committed state. */
function entriesAfter(base: SnapshotMeta, entries: readonly Entry[]): readonly Entry[] {
  const first = entries[0]?.index;
  if (first === undefined) return [];
  if (base.index >= first) {
    const same = entries[base.index - first];
    if (same === undefined || same.term !== base.term) return [];
  }
  const after = entries.slice(Math.max(0, base.index + 1 - first));
  let term: number = base.term;
  for (const entry of after) {
    assert(entry.term >= term, `the term of entry ${entry.index} is below the one before it`);
    term = entry.term;
  }
  return after;
}

/** A snapshot received but not yet named by the log may come from a later term than the log knows. */
function restoredHardState(
  found: HardState,
  base: SnapshotMeta,
  entries: readonly Entry[],
): HardState {
  const term = Math.max(base.term, entries.at(-1)?.term ?? 0);
  if (found.term >= term) return found;
  return { term: as<Term>(term), vote: 0, commit: found.commit };
}

function describeDamage(
  dir: string,
  log: RecoveredLog,
  complete: boolean,
  reasons: readonly string[],
): string | undefined {
  if (log.damage !== undefined) {
    const { segment, offset, reason } = log.damage;
    return `segment ${joinPath(dir, segmentName(segment))} at offset ${offset}: ${reason}`;
  }
  if (complete) return undefined;
  if (reasons.length > 0) return reasons.join("; ");
  return "the log begins behind the newest snapshot";
}

function knownConf(base: SnapshotMeta | undefined, contents: LogContents): ConfState | undefined {
  const named = contents.snapshot;
  const from = named !== undefined && named.index > (base?.index ?? -1) ? named : base;
  if (from === undefined) return undefined;
  let conf = from.conf;
  for (const entry of contents.entries) {
    if (entry.kind !== "config" || entry.index <= from.index) continue;
    const change = decodeAnyChange(entry.data);
    if (change.ok) conf = changeConf(conf, change.value);
  }
  return conf;
}

/** Whether other members could repair this one: only then does a damaged node start. */
export function isRepairable(conf: ConfState | undefined, id: PeerId): boolean {
  return conf !== undefined && allVoters(conf).some((peer) => peer !== id);
}
