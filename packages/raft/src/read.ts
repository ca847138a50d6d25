/**
 * Linearizable reads (Raft thesis, section 6.4). ReadIndex: a read is linearizable at the commit
 * index if a quorum confirms, in a round begun after the read arrived, that this member still
 * leads.
 *
 * Lease: whoever confirmed a round sent at tick t votes for nobody else before it has counted an
 * election timeout from then on. Until a little before that the leader answers alone. It counts the
 * ticks it is given and those that its driver says it missed, so a pause does not stretch the
 * lease; clocks may differ in rate by LEASE_DRIFT. A lease ends when leadership is offered to
 * another member, whose votes go before any lease.
 */

import type { PeerId } from "@blixard/std";
import { leasesReads } from "./dialect.ts";
import { LEASE_DRIFT, LEASE_ROUNDS_MAX, MAX_PENDING_READS } from "./limits.ts";
import { ownTermCommitted } from "./leader-log.ts";
import { send } from "./outbox.ts";
import { quorumValue } from "./quorum.ts";
import { sendHeartbeats } from "./replication.ts";
import type { RaftState } from "./state.ts";
import type { MessageOf, StepError } from "./types.ts";

/** Leader: queues a read; its round begins at the next `ready`, shared with its neighbours. */
export function requestRead(
  state: RaftState,
  context: number,
  asker: { readonly from: PeerId | 0; readonly lateTicks: number },
): StepError | undefined {
  if (state.role !== "leader") return forwardRead(state, context);
  const { reads } = state;
  if (reads.pending.length + reads.answers.length >= MAX_PENDING_READS) {
    return { code: "Overloaded" };
  }
  const read = { context, round: 0, index: state.commit, from: asker.from };
  if (leaseHolds(state, asker.lateTicks)) answer(state, read);
  else reads.pending.push(read);
  return undefined;
}

function forwardRead(state: RaftState, context: number): StepError | undefined {
  const { leader, role } = state;
  if (state.config.forwarding !== true || role !== "follower" || leader === 0) {
    return { code: "NotLeader", leader };
  }
  const term = state.term;
  send(state, { kind: "readIndex", to: leader, from: state.id, term, context });
  return undefined;
}

/** Follower: the leader's answer to a forwarded read. */
export function onReadIndexReply(
  state: RaftState,
  message: MessageOf<"readIndexReply">,
): StepError | undefined {
  const { answers } = state.reads;
  if (answers.length >= MAX_PENDING_READS) return { code: "Overloaded" };
  answers.push({ context: message.context, index: message.index });
  return undefined;
}

/**
 * Begins one round for all reads that have none. They wait until an entry of this term is
 * committed: before that the leader does not know how far its predecessors had committed.
 */
export function flushReads(state: RaftState): void {
  const { reads } = state;
  if (state.role !== "leader" || reads.pending.at(-1)?.round !== 0) return;
  if (!ownTermCommitted(state)) return;
  const round = beginRound(state);
  for (let i = reads.pending.length - 1; i >= 0; i--) {
    const read = reads.pending[i];
    if (read === undefined || read.round !== 0) break;
    read.round = round;
    read.index = state.commit;
  }
  answerReads(state);
  if (reads.pending.length > 0) sendHeartbeats(state);
}

function beginRound(state: RaftState): number {
  const { reads } = state;
  reads.round++;
  if (leasesReads(state)) {
    reads.sent.push({ round: reads.round, tick: reads.tick });
    if (reads.sent.length > LEASE_ROUNDS_MAX) reads.sent.shift();
  }
  return reads.round;
}

/** Leader, when heartbeats are due: with leases each is a round of its own. */
export function beat(state: RaftState): void {
  if (leasesReads(state)) beginRound(state);
  sendHeartbeats(state);
}

function roundOf(state: RaftState, peer: PeerId): number {
  // The leader agrees with itself at once; alone it is its own majority.
  if (peer === state.id) return state.reads.round;
  return state.progress.get(peer)?.ackedRound ?? 0;
}

function confirmedRound(state: RaftState): number {
  return quorumValue(state.conf, (peer) => roundOf(state, peer));
}

/** Leader: somebody acknowledged a round; perhaps a quorum now has, and the lease begins there. */
export function noteRound(state: RaftState): void {
  const { reads } = state;
  if (reads.sent.length === 0) return;
  const confirmed = confirmedRound(state);
  for (let first = reads.sent[0]; first !== undefined; first = reads.sent[0]) {
    if (first.round > confirmed) break;
    reads.leaseFrom = first.tick;
    reads.sent.shift();
  }
}

function leaseHolds(state: RaftState, lateTicks: number): boolean {
  const { reads, transferee } = state;
  if (!leasesReads(state) || !ownTermCommitted(state)) return false;
  if (reads.leaseFrom < 0 || reads.leaseLost || transferee !== 0) return false;
  // One tick less: ours and theirs do not begin at the same instant.
  const ticks = Math.floor(state.config.electionTicks * (1 - LEASE_DRIFT)) - 1;
  return reads.tick + lateTicks - reads.leaseFrom < ticks;
}

/** Leader: answers reads whose round a quorum of voters has acknowledged. */
export function answerReads(state: RaftState): void {
  const { pending } = state.reads;
  if (pending.length === 0) return;
  const confirmed = confirmedRound(state);
  let count = 0;
  for (const read of pending) {
    if (read.round === 0 || read.round > confirmed) break;
    answer(state, read);
    count++;
  }
  pending.splice(0, count);
}

function answer(state: RaftState, read: RaftState["reads"]["pending"][number]): void {
  const { context, index, from } = read;
  if (from === 0) {
    state.reads.answers.push({ context, index });
    return;
  }
  const { id, term } = state;
  send(state, { kind: "readIndexReply", to: from, from: id, term, context, index });
}

/** Leadership is lost: nobody will confirm these reads. Who forwarded one asks again in time. */
export function dropReads(state: RaftState): void {
  const { reads } = state;
  for (const { context, from } of reads.pending) if (from === 0) reads.answers.push({ context });
  const { answers } = reads;
  state.reads = { ...newReads(), answers };
}

/** Of a member that does not lead, or does not yet. */
export function newReads(): RaftState["reads"] {
  return {
    round: 0,
    pending: [],
    answers: [],
    tick: 0,
    sent: [],
    leaseFrom: -1,
    leaseLost: false,
  };
}
