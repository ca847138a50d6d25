/** Whom a leader that must go hands over to. */

import type { PeerId } from "@blixard/std";
import { step } from "@blixard/raft";
import type { RaftState } from "@blixard/raft";

/** Asks the most advanced voter to lead; false when `state` does not lead or nobody else can. */
export function handOver(state: RaftState): boolean {
  if (state.role !== "leader") return false;
  const { voters } = state.conf;
  let best: { peer: PeerId; match: number } | undefined;
  for (const { peer, match, active } of state.progress.values()) {
    if (peer === state.id || !active || !voters.includes(peer)) continue;
    if (best === undefined || match > best.match) best = { peer, match };
  }
  if (best === undefined) return false;
  return step(state, { kind: "transferLeader", to: best.peer }) === undefined;
}
