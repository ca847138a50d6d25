/** Which of the optional parts a member uses; the defaults are ours (types.ts, RaftConfig). */

import type { RaftState } from "./state.ts";

/**
 * Decides as etcd-io/raft does where ours differs (docs/adr, 0009): appends leave in the very step
 * that causes them, a member's acknowledgements of its own writes are messages to itself, every
 * commit index is persisted, and a refused configuration change leaves an empty entry.
 */
export function isEtcd(state: RaftState): boolean {
  return state.config.dialect === "etcd";
}

export function usesPreVote(state: RaftState): boolean {
  return state.config.preVote !== false;
}

export function checksQuorum(state: RaftState): boolean {
  return state.config.checkQuorum !== false;
}

export function leasesReads(state: RaftState): boolean {
  return state.config.reads === "lease";
}

export function handsOver(state: RaftState): boolean {
  return (state.config.onRemoval ?? "handOver") === "handOver";
}
