/**
 * The vocabulary of the protocol: plain data only. A caller drives one member like this:
 *
 *   step(state, input)            a message, a tick, a proposal, a read ...
 *   ready(state) -> Ready         what must now be persisted, sent, applied
 *   advance(state, done)          a persist became durable; entries were applied
 *
 * Nothing here performs I/O. Every message names the durable write it must wait for.
 */

import type { LogIndex, PeerId, Term } from "@blixard/std";

export type EntryKind = "command" | "config" | "noop";

export interface Entry {
  readonly term: Term;
  readonly index: LogIndex;
  readonly kind: EntryKind;
  /** Opaque for "command"; an encoded ConfChange for "config"; empty for "noop". */
  readonly data: Uint8Array;
}

/**
 * What a member must never forget (Raft paper, figure 2). `commit` is not needed for safety, but a
 * configuration takes effect only once a commit index that covers it is durable: keep all three.
 */
export interface HardState {
  readonly term: Term;
  /** 0 when no vote was given in `term`. */
  readonly vote: PeerId | 0;
  readonly commit: LogIndex;
}

/** Who decides. Joint while `votersOutgoing` has members: then both halves must agree. */
export interface ConfState {
  /** Who votes, ascending. */
  readonly voters: readonly PeerId[];
  /** The voters before the change that is under way, ascending; none outside of one. */
  readonly votersOutgoing: readonly PeerId[];
  /** Who gets the log and has no vote, ascending. */
  readonly learners: readonly PeerId[];
  /** Outgoing voters that become learners when the joint configuration is left. */
  readonly learnersNext: readonly PeerId[];
  /** The leader proposes to leave the joint configuration as soon as it has applied it. */
  readonly autoLeave: boolean;
}

/**
 * What a change does with a member. `addVoter` gives a learner its vote, `addLearner` takes a
 * voter's, `updateMember` changes the context only.
 */
export type ConfChangeOp = "addVoter" | "addLearner" | "removeMember" | "updateMember";

/** One change of the membership. */
export interface ConfChange {
  /** What is done. */
  readonly op: ConfChangeOp;
  /** With whom. */
  readonly peer: PeerId;
  /** Opaque to the protocol; raft-node keeps addresses and keys of members here. */
  readonly context: Uint8Array;
}

/** Several changes at once, through a joint configuration (Raft paper, section 6). */
export interface JointChange {
  /**
   * - `auto`: one change alone is made simply; more go through a joint configuration that is left
   *   by itself. No change at all leaves a joint configuration.
   * - `implicit`: always joint, left by itself
   * - `explicit`: always joint, left by a proposal of no change
   */
  readonly transition: "auto" | "implicit" | "explicit";
  /** Carried out in this order. */
  readonly changes: readonly ConfChange[];
}

/** One change, or several at once. */
export type AnyConfChange = ConfChange | JointChange;

/** Where a snapshot stands in the log. */
export interface SnapshotMeta {
  /** The last entry that it contains. */
  readonly index: LogIndex;
  /** Of that entry. */
  readonly term: Term;
  /** In force after that entry. */
  readonly conf: ConfState;
}

export type Message =
  | {
      readonly kind: "preVote" | "vote";
      readonly to: PeerId;
      readonly from: PeerId;
      readonly term: Term;
      readonly lastIndex: LogIndex;
      readonly lastTerm: Term;
      /** Set by leadership transfer: voters then ignore the lease of their leader. */
      readonly force: boolean;
    }
  | {
      readonly kind: "preVoteReply" | "voteReply";
      readonly to: PeerId;
      readonly from: PeerId;
      readonly term: Term;
      readonly granted: boolean;
    }
  | {
      readonly kind: "append";
      readonly to: PeerId;
      readonly from: PeerId;
      readonly term: Term;
      readonly prevIndex: LogIndex;
      readonly prevTerm: Term;
      readonly entries: readonly Entry[];
      readonly commit: LogIndex;
    }
  | {
      readonly kind: "appendReply";
      readonly to: PeerId;
      readonly from: PeerId;
      readonly term: Term;
      readonly rejected: boolean;
      /** Accepted: last index known to match. Rejected: the `prevIndex` that did not match. */
      readonly index: LogIndex;
      /** Rejected: where the follower's log may agree, for fast back-tracking. */
      readonly hintIndex: LogIndex;
      readonly hintTerm: Term;
      /** Nonce of a damaged member asking to be repaired; 0 when healthy (damaged.ts). */
      readonly repair: number;
    }
  | {
      readonly kind: "heartbeat";
      readonly to: PeerId;
      readonly from: PeerId;
      readonly term: Term;
      readonly commit: LogIndex;
      /** Latest pending ReadIndex round this heartbeat confirms; 0 for none. */
      readonly readRound: number;
      /** Echo of the receiver's `repair` nonce: it holds all it may have lost; 0 for none. */
      readonly repaired: number;
    }
  | {
      readonly kind: "heartbeatReply";
      readonly to: PeerId;
      readonly from: PeerId;
      readonly term: Term;
      readonly readRound: number;
      /** As in appendReply. */
      readonly repair: number;
    }
  | {
      /** Metadata only; the driver streams the snapshot's bytes beside it. */
      readonly kind: "snapshot";
      readonly to: PeerId;
      readonly from: PeerId;
      readonly term: Term;
      readonly meta: SnapshotMeta;
    }
  | {
      readonly kind: "timeoutNow";
      readonly to: PeerId;
      readonly from: PeerId;
      readonly term: Term;
    }
  // The kinds below are sent only where `RaftConfig.forwarding` says that every member knows them.
  | {
      /** Proposals on their way to the leader; of no term. */
      readonly kind: "propose";
      readonly to: PeerId;
      readonly from: PeerId;
      readonly term: Term;
      readonly proposals: readonly Proposal[];
    }
  | {
      /** A read on its way to the leader; of no term. */
      readonly kind: "readIndex";
      readonly to: PeerId;
      readonly from: PeerId;
      readonly term: Term;
      readonly context: number;
    }
  | {
      readonly kind: "readIndexReply";
      readonly to: PeerId;
      readonly from: PeerId;
      readonly term: Term;
      readonly context: number;
      readonly index: LogIndex;
    }
  | {
      /** Asks the leader to hand over; `from` is who shall lead, whoever asks. */
      readonly kind: "transferLeader";
      readonly to: PeerId;
      readonly from: PeerId;
      readonly term: Term;
    };

/** What a client wants in the log. */
export interface Proposal {
  readonly kind: "command" | "config";
  readonly data: Uint8Array;
}

/** The members of the union whose kind is, or may be, `K`. */
export type MessageOf<K extends Message["kind"], M = Message> = M extends {
  readonly kind: infer Kinds;
}
  ? [Extract<Kinds, K>] extends [never]
    ? never
    : M
  : never;

/** preCandidate: it asks whether an election would be won, before its term is raised. */
export type Role = "follower" | "preCandidate" | "candidate" | "leader";

/** What the protocol is told once. */
export interface RaftConfig {
  /** This member. */
  readonly id: PeerId;
  /** Ticks without hearing from a leader; the actual timeout is uniform in [n, 2n-1]. */
  readonly electionTicks: number;
  /** Ticks between two heartbeats of a leader. */
  readonly heartbeatTicks: number;
  /** Bytes of entries in one append (at least one entry goes regardless). */
  readonly maxAppendBytes: number;
  /** Appends in flight to one follower. */
  readonly maxInflight: number;
  /** Bytes of entries in flight to one follower; default: no bound but the number of appends. */
  readonly maxInflightBytes?: number;
  /**
   * Bytes of own-term entries not yet committed; proposals beyond are refused with "overloaded".
   */
  readonly maxUncommittedBytes: number;
  /** Bytes of committed entries handed out and not yet applied (at least one entry regardless). */
  readonly maxApplyBytes: number;
  /**
   * Entries kept in memory behind a compaction, for followers slightly behind. Default in
   * limits.ts.
   */
  readonly keepEntries?: number;
  /** Ask for votes before raising the term (thesis, 9.6). Default true. */
  readonly preVote?: boolean;
  /**
   * A leader that has not heard from a quorum for an election timeout steps down, and a member that
   * has heard from its leader within one ignores other candidates (thesis, 6.2). Default true.
   */
  readonly checkQuorum?: boolean;
  /**
   * safe: every read waits for a quorum round. lease: the leader answers at once within the lease
   * that the last round left it (read.ts); needs checkQuorum on every member. Default safe.
   */
  readonly reads?: "safe" | "lease";
  /**
   * What a leader does that is no voter any more. handOver: it leads on, without counting itself,
   * until the most advanced voter takes over. stepDown: at once. stay: until deposed. Default
   * handOver.
   */
  readonly onRemoval?: "handOver" | "stepDown" | "stay";
  /** Refuse configuration changes that cannot follow the one in force. Default true. */
  readonly checkConfChanges?: boolean;
  /** Followers pass proposals, reads and transfers on to the leader. Default false. */
  readonly forwarding?: boolean;
  /**
   * Whose decisions where ours differ (docs/adr, 0009): "etcd" for its transcripts and for drivers
   * written against it. Default ours.
   */
  readonly dialect?: "ours" | "etcd";
  /**
   * Dialect etcd only. sync: committed entries are handed out together with the persist that makes
   * them durable, which the driver completes first. Default async: once they are durable.
   */
  readonly storage?: "sync" | "async";
  /** Note in `RaftState.trace` why what was done (trace.ts); whoever asks for it empties it. */
  readonly trace?: boolean;
}

/**
 * What the durable log holds at start; `conf` and `applied` come from the snapshot. A founding
 * member starts from `bootstrap(conf)`, whose snapshot has index 1, so that a joiner (all zero,
 * empty conf) always receives the founding configuration in a snapshot.
 */
export interface Restored {
  /**
   * `term` and `vote` must be intact even when the log is damaged: a lost vote cannot be repaired
   * by the protocol.
   */
  readonly hardState: HardState;
  readonly snapshot: SnapshotMeta;
  /** Entries after the snapshot, contiguous. */
  readonly entries: readonly Entry[];
  /**
   * True when acknowledged log content was lost (rot): the member then neither votes nor campaigns
   * nor counts for commit until `advance({kind: "repaired"})`. `entries` are ignored: repair starts
   * from the snapshot. The driver keeps a durable mark of the damage until `Ready.repaired`.
   */
  readonly damaged: boolean;
}

export type Input =
  /**
   * `missed`: how many more ticks had gone by since the last one, by the driver's clock, as after a
   * pause. Only leases count them.
   */
  | { readonly kind: "tick"; readonly missed?: number }
  | { readonly kind: "message"; readonly message: Message }
  | { readonly kind: "propose"; readonly entries: readonly Uint8Array[] }
  | { readonly kind: "proposeConf"; readonly change: AnyConfChange }
  /**
   * A quorum round begun after this input; answered in `Ready.reads` with the same context. With
   * `RaftConfig.reads` "lease" answered at once while the lease lasts; `lateTicks` is how many
   * ticks have gone by since the last one, by the driver's clock: a lease ends in a pause, too.
   */
  | { readonly kind: "readIndex"; readonly context: number; readonly lateTicks?: number }
  | { readonly kind: "campaign" }
  /** A follower stops counting on its leader, and may vote before an election timeout is over. */
  | { readonly kind: "forgetLeader" }
  | { readonly kind: "transferLeader"; readonly to: PeerId }
  | { readonly kind: "unreachable"; readonly peer: PeerId }
  | { readonly kind: "snapshotSent"; readonly peer: PeerId; readonly ok: boolean };

export type StepError =
  | { readonly code: "NotLeader"; readonly leader: PeerId | 0 }
  | { readonly code: "Overloaded" }
  | { readonly code: "ConfChangeInFlight" }
  /** The leader has not yet committed an entry of its own term. */
  | { readonly code: "TermNotCommitted" }
  | { readonly code: "InvalidConfChange"; readonly reason: string }
  | { readonly code: "Transferring"; readonly to: PeerId }
  | { readonly code: "InvalidMessage"; readonly reason: string };

/**
 * To be written in this order: `snapshot`, `entries`, `hardState`. A crash may keep a first part of
 * it only. Hard state must not be durable before the entries beside it: its commit may cover them,
 * and would otherwise name the older ones that they were to replace. Entries without their hard
 * state do no harm: the driver raises the term to the last entry's (no vote of that term was sent yet).
 */
export interface Persist {
  /** 1, 2, 3 ... in the order in which the writes must become durable. */
  readonly seq: number;
  readonly hardState?: HardState;
  /**
   * Replaces the whole log: every entry before AND after its index is discarded; then come
   * `entries`. Once durable, the driver loads it into the state machine before it applies later
   * entries.
   */
  readonly snapshot?: SnapshotMeta;
  /** Contiguous; entries at or after the first one's index are truncated first. */
  readonly entries: readonly Entry[];
}

export interface Outgoing {
  readonly message: Message;
  /**
   * Send only once the persist of this sequence number (and all before it) is durable; 0: at once.
   */
  readonly after: number;
}

export interface ReadState {
  readonly context: number;
  /**
   * Reads at this index are linearizable once it is applied. Absent: leadership was lost; ask
   * again.
   */
  readonly index?: LogIndex;
}

export interface Ready {
  readonly persist?: Persist;
  readonly messages: readonly Outgoing[];
  /** Committed and locally durable, in order, each handed out once. */
  readonly committed: readonly Entry[];
  readonly reads: readonly ReadState[];
  /**
   * Set once, when a damaged member durably holds all it may have lost: the driver clears its
   * durable mark of the damage and then says `advance({kind: "repaired"})`.
   */
  readonly repaired?: true;
}

export type Advance =
  | { readonly kind: "persisted"; readonly seq: number }
  | { readonly kind: "applied"; readonly index: LogIndex }
  /**
   * The applied state up to `index` is in a durable snapshot: earlier entries may be dropped, those
   * up to `upTo` where the driver names it, else all but the tail that `keepEntries` keeps.
   */
  | { readonly kind: "compacted"; readonly meta: SnapshotMeta; readonly upTo?: LogIndex }
  /** Answer to `Ready.repaired`, once the durable mark of the damage is cleared. */
  | { readonly kind: "repaired" };

/** The protocol's view of one member, at one moment. */
export interface RaftStatus {
  /** This member. */
  readonly id: PeerId;
  /** What it is now. */
  readonly role: Role;
  /** The latest term that it knows. */
  readonly term: Term;
  /** The leader of that term; 0 when none is known. */
  readonly leader: PeerId | 0;
  /** Entries up to here are known committed. */
  readonly commit: LogIndex;
  /** Entries up to here are applied to the state machine here. */
  readonly applied: LogIndex;
  /** Of this member's log; what is beyond `commit` may be replaced. */
  readonly lastIndex: LogIndex;
  /** In force, as applied here. */
  readonly conf: ConfState;
  /** On the leader one for each member, itself included; elsewhere none. */
  readonly progress: readonly {
    /** Of whom this is known. */
    readonly peer: PeerId;
    /** It holds the leader's log up to here durably. */
    readonly match: LogIndex;
    /** The next entry to send to it. */
    readonly next: LogIndex;
    /** probe: where its log agrees is not known yet; snapshot: it is too far behind for entries. */
    readonly state: "probe" | "replicate" | "snapshot";
    /** It was heard within an election timeout. */
    readonly active: boolean;
    /** No entry is sent before the member answers, or a snapshot's fate is known. */
    readonly paused: boolean;
    /** Appends in flight. */
    readonly inflight: number;
    /** No more appends may be in flight. */
    readonly isFull: boolean;
    /** Index of the snapshot being sent, or 0. */
    readonly pendingSnapshot: LogIndex;
  }[];
}
