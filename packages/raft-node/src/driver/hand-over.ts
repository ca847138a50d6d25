/** Whom a leader that must go hands over to. */

import type { PeerId } from "@blixard/std";
import { allVoters, step } from "@blixard/raft";
import type { RaftState } from "@blixard/raft";

/**
 * Asks the most advanced voter, of either half of a joint configuration, to lead; of equals one that
 * stays a voter. False when `state` does not lead or nobody else can.
 */
export function handOver(state: RaftState): boolean {
  if (state.role !== "leader") return false;
  const voters = new Set(allVoters(state.conf));
  const stays = new Set(state.conf.voters);
  let best: { peer: PeerId; rank: number } | undefined;
  for (const { peer, match, active, repair } of state.progress.values()) {
    // A damaged member cannot be elected, whatever it holds.
    if (peer === state.id || !active || !voters.has(peer) || repair !== 0) continue;
    const rank = 2 * match + (stays.has(peer) ? 1 : 0);
    if (best === undefined || rank > best.rank) best = { peer, rank };
  }
  if (best === undefined) return false;
  return step(state, { kind: "transferLeader", to: best.peer }) === undefined;
}
