/**
 * ReadIndex (Raft thesis, section 6.4): a read is linearizable at the commit index if a majority
 * confirms, in a round begun after the read arrived, that this member still leads.
 */

import type { PeerId } from "@blixard/std";
import { MAX_PENDING_READS } from "./limits.ts";
import { toIndex } from "./log.ts";
import { ownTermCommitted } from "./leader-log.ts";
import { majorityValue } from "./quorum.ts";
import { sendHeartbeats } from "./replication.ts";
import type { RaftState } from "./state.ts";
import type { StepError } from "./types.ts";

/** Leader: queues a read; its round begins at the next `ready`, shared with its neighbours. */
export function requestRead(state: RaftState, context: number): StepError | undefined {
  if (state.role !== "leader") return { code: "NotLeader", leader: state.leader };
  const { reads } = state;
  if (reads.pending.length + reads.answers.length >= MAX_PENDING_READS) {
    return { code: "Overloaded" };
  }
  reads.pending.push({ context, round: 0, index: toIndex(0) });
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
  const round = reads.round + 1;
  reads.round = round;
  for (let i = reads.pending.length - 1; i >= 0; i--) {
    const read = reads.pending[i];
    if (read === undefined || read.round !== 0) break;
    read.round = round;
    read.index = state.commit;
  }
  answerReads(state);
  if (reads.pending.length > 0) sendHeartbeats(state);
}

function roundOf(state: RaftState, peer: PeerId): number {
  // The leader agrees with itself at once; alone it is its own majority.
  if (peer === state.id) return state.reads.round;
  return state.progress.get(peer)?.ackedRound ?? 0;
}

/** Leader: answers reads whose round a majority of voters has acknowledged. */
export function answerReads(state: RaftState): void {
  const { pending, answers } = state.reads;
  if (pending.length === 0) return;
  const confirmed = majorityValue(state.conf.voters.map((peer) => roundOf(state, peer)));
  let count = 0;
  for (const read of pending) {
    if (read.round === 0 || read.round > confirmed) break;
    answers.push({ context: read.context, index: read.index });
    count++;
  }
  pending.splice(0, count);
}

/** Leadership is lost: nobody will confirm these reads. */
export function dropReads(state: RaftState): void {
  const { reads } = state;
  for (const read of reads.pending) reads.answers.push({ context: read.context });
  reads.pending = [];
  reads.round = 0;
}
