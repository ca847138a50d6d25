/**
 * The whole state of one member as plain data: cloneable, hashable, without closures or classes.
 */

import { assert, type LogIndex, type PeerId, type Random, type Term } from "@blixard/std";
import { entryBytes, logLast, toIndex, toTerm, type RaftLog } from "./log.ts";
import type { Progress } from "./progress.ts";
import type { Traced } from "./trace.ts";
import type {
  ConfState,
  Entry,
  HardState,
  Outgoing,
  RaftConfig,
  ReadState,
  Restored,
  Role,
  SnapshotMeta,
} from "./types.ts";

/** A persist handed out and not yet durable. */
export interface OutstandingPersist {
  readonly seq: number;
  /** Entries up to here are durable with it; lowered when later truncated (the ABA problem). */
  upTo: number;
  readonly snapshotIndex: number;
  /** Commit index in its hard state, or 0. */
  readonly commit: number;
}

export interface Durability {
  /** Sequence number of the next persist. */
  nextSeq: number;
  durableSeq: number;
  /** The log up to here was handed out in some persist. */
  handedIndex: number;
  /** The log as it now stands is durable up to here. */
  durableIndex: number;
  /** The persist that carries the current term and vote. */
  hardSeq: number;
  handedHard: HardState;
  /** The highest commit index in a durable hard state. */
  durableCommit: number;
  /** A received snapshot, not yet handed out. */
  snapshot: SnapshotMeta | undefined;
  outstanding: OutstandingPersist[];
}

export interface PendingRead {
  readonly context: number;
  /** 0 until its quorum round has begun. */
  round: number;
  index: LogIndex;
  /** Who forwarded it, or 0. */
  readonly from: PeerId | 0;
}

export interface Reads {
  /** Latest round begun in this leadership. */
  round: number;
  pending: PendingRead[];
  answers: ReadState[];
  /** Leader: ticks since it leads. */
  tick: number;
  /** With leases: rounds not yet confirmed, and when each was sent. */
  sent: { readonly round: number; readonly tick: number }[];
  /** The tick at which the latest confirmed round was sent, or -1. */
  leaseFrom: number;
  /** Leadership was offered to another member. */
  leaseLost: boolean;
}

/** A damaged member's side of a repair (damaged.ts). */
export interface Damage {
  /** Names this life of the member; 0 when healthy. */
  nonce: number;
  /** waiting: for a leader; whole: to be told to the driver; told: waiting for its answer. */
  phase: "waiting" | "whole" | "told";
}

export interface RaftState {
  readonly config: RaftConfig;
  readonly id: PeerId;
  /** State of the generator behind election timeouts. */
  seed: number;
  term: Term;
  vote: PeerId | 0;
  commit: LogIndex;
  /** Entries up to here were handed out in Ready.committed. */
  handedApply: LogIndex;
  applied: LogIndex;
  role: Role;
  leader: PeerId | 0;
  conf: ConfState;
  log: RaftLog;
  snapshot: SnapshotMeta;
  /** Indexes of config entries in the log not yet given to applyConfChange; ascending. */
  configs: number[];
  /** Leader: no configuration beyond this index is in its log. */
  pendingConfig: LogIndex;
  /** Bytes of entries handed out and not yet applied; whether more must wait for that. */
  applyingBytes: number;
  applyPaused: boolean;
  /** With leases: who was started less than an election timeout ago may have promised one. */
  justStarted: boolean;
  electionElapsed: number;
  heartbeatElapsed: number;
  electionTimeout: number;
  votes: Map<PeerId, boolean>;
  /** Whether the running campaign was ordered by a leadership transfer. */
  forced: boolean;
  /** Leader only; one per member, itself included. */
  progress: Map<PeerId, Progress>;
  /** Leader only: appends may be due. */
  sendDue: boolean;
  /** Leader only: bytes of own-term entries not yet committed. */
  uncommittedBytes: number;
  transferee: PeerId | 0;
  reads: Reads;
  io: Durability;
  damage: Damage;
  outbox: Outgoing[];
  /** What was done and why, where that was asked for; no part of the state that is hashed. */
  trace: Traced[] | undefined;
}

export const EMPTY_CONF: ConfState = {
  voters: [],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};

/** A configuration without members: such a node never campaigns; it waits to be joined. */
export function emptyConf(): ConfState {
  return EMPTY_CONF;
}

/** What a founding member starts from; the same on every founder. */
export function bootstrap(conf: ConfState): Restored {
  const one = toIndex(1);
  return {
    hardState: { term: toTerm(1), vote: 0, commit: one },
    snapshot: { index: one, term: toTerm(1), conf },
    entries: [],
    damaged: false,
  };
}

/** An empty member that waits to be joined to a cluster. */
export function joiner(): Restored {
  const zero = toIndex(0);
  return {
    hardState: { term: toTerm(0), vote: 0, commit: zero },
    snapshot: { index: zero, term: toTerm(0), conf: EMPTY_CONF },
    entries: [],
    damaged: false,
  };
}

function assertConfig(config: RaftConfig): void {
  assert(config.id > 0, "a member's id is positive");
  assert(config.heartbeatTicks >= 1, "heartbeatTicks is at least 1");
  assert(config.electionTicks > config.heartbeatTicks, "elections are slower than heartbeats");
  assert(config.maxInflight >= 1, "maxInflight is at least 1");
  assert(
    config.reads !== "lease" || config.checkQuorum !== false,
    "a lease rests on members that ignore other candidates: it needs checkQuorum",
  );
}

function assertRestored(restored: Restored, isEtcd: boolean): void {
  const { snapshot, hardState, entries, damaged } = restored;
  assert(
    snapshot.index > 0 || snapshot.conf.voters.length === 0,
    "a configuration comes with a snapshot of index 1 or more (see bootstrap)",
  );
  // Those who found a cluster of etcd's begin with a snapshot of term 1, in term 0.
  const isFounder = isEtcd && hardState.term === 0;
  assert(hardState.term >= snapshot.term || isFounder, "the term is at least the snapshot's");
  if (damaged) return;
  let index: number = snapshot.index;
  let term: number = snapshot.term;
  for (const entry of entries) {
    assert(entry.index === index + 1, `restored entry ${entry.index} follows ${index}`);
    assert(entry.term >= term, "restored terms never decrease");
    index = entry.index;
    term = entry.term;
  }
  assert(hardState.term >= term || isFounder, "the term is at least the last entry's");
}

/**
 * A follower as restored from disk. Asserts that what was restored is well formed: the driver has
 * checked it. One number is drawn from `random`; everything later follows from it.
 */
export function createRaft(config: RaftConfig, restored: Restored, random: Random): RaftState {
  assertConfig(config);
  assertRestored(restored, config.dialect === "etcd");
  const { hardState, snapshot, damaged } = restored;
  const seed = random.u32();
  const entries = damaged ? [] : [...restored.entries];
  const last = snapshot.index + entries.length;
  // A hint read from a damaged log may name entries that are not those once committed.
  const hint = damaged ? 0 : Math.min(hardState.commit, last);
  const state: RaftState = {
    config,
    id: config.id,
    seed,
    term: hardState.term,
    vote: hardState.vote,
    commit: toIndex(Math.max(hint, snapshot.index)),
    handedApply: snapshot.index,
    applied: snapshot.index,
    role: "follower",
    leader: 0,
    conf: snapshot.conf,
    log: { offset: snapshot.index, offsetTerm: snapshot.term, entries },
    snapshot,
    configs: entries.filter((e) => e.kind === "config").map((e) => e.index),
    pendingConfig: toIndex(0),
    applyingBytes: 0,
    applyPaused: false,
    justStarted: config.reads === "lease" && config.dialect !== "etcd",
    electionElapsed: 0,
    heartbeatElapsed: 0,
    electionTimeout: config.electionTicks,
    votes: new Map(),
    forced: false,
    progress: new Map(),
    sendDue: false,
    uncommittedBytes: 0,
    transferee: 0,
    reads: {
      round: 0,
      pending: [],
      answers: [],
      tick: 0,
      sent: [],
      leaseFrom: -1,
      leaseLost: false,
    },
    io: {
      nextSeq: 1,
      durableSeq: 0,
      handedIndex: last,
      durableIndex: last,
      hardSeq: 0,
      handedHard: damaged ? { ...hardState, commit: toIndex(0) } : hardState,
      durableCommit: damaged ? 0 : hardState.commit,
      snapshot: undefined,
      outstanding: [],
    },
    // Never 0, which means healthy; the seed is new with every life of the process.
    damage: { nonce: damaged ? seed || 1 : 0, phase: "waiting" },
    outbox: [],
    trace: config.trace === true ? [] : undefined,
  };
  resetElectionTimeout(state);
  inferCommit(state);
  return state;
}

/** Uniform in [electionTicks, 2 * electionTicks - 1]; splitmix32, as in std's Prng. */
export function resetElectionTimeout(state: RaftState): void {
  state.seed = (state.seed + 0x9e3779b9) >>> 0;
  let z = state.seed;
  z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
  const draw = (z ^ (z >>> 15)) >>> 0;
  const n = state.config.electionTicks;
  state.electionTimeout = n + Math.floor((draw / 4294967296) * n);
}

export function lastIndex(state: RaftState): LogIndex {
  return logLast(state.log);
}

export function isVoter(state: RaftState, peer: PeerId): boolean {
  const { voters, votersOutgoing } = state.conf;
  return voters.includes(peer) || votersOutgoing.includes(peer);
}

/**
 * Raises the commit index. On a leader, entries of its term that become committed no longer count
 * as uncommitted bytes.
 */
export function commitTo(state: RaftState, index: number): void {
  if (index <= state.commit) return;
  assert(index <= lastIndex(state), `commit ${index} beyond the last index`);
  if (state.role === "leader") {
    for (let i = state.commit + 1; i <= index; i++) {
      const entry: Entry | undefined = state.log.entries[i - state.log.offset - 1];
      if (entry?.term === state.term) state.uncommittedBytes -= entryBytes(entry);
    }
    state.sendDue = true;
  }
  state.commit = toIndex(index);
}

/**
 * A leader proposes a configuration only after it has applied every earlier one. So when two are in
 * a log, the first is committed, even if the commit index that said so was lost in a crash. Without
 * this, a member two configurations behind could win an election with a majority that no longer
 * overlaps the current one.
 */
export function inferCommit(state: RaftState): void {
  // Its leaders may propose sooner.
  if (state.config.dialect === "etcd" || state.config.checkConfChanges === false) return;
  const before = state.configs.at(-2);
  if (before !== undefined) commitTo(state, before);
}
