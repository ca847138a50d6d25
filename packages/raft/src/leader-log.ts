/** The leader's own log: appending to it and counting what is committed. */

import { assert, type PeerId } from "@blixard/std";
import { isEtcd } from "./dialect.ts";
import { entryBytes, logAppend, termAt, toIndex } from "./log.ts";
import { sendAccepted } from "./outbox.ts";
import { countedMatch } from "./progress.ts";
import { quorumIndex } from "./quorum.ts";
import { commitTo, lastIndex, type RaftState } from "./state.ts";
import type { EntryKind } from "./types.ts";

/** Appends an entry of the leader's term; it is sent and written at the next `ready`. */
export function appendOwn(state: RaftState, kind: EntryKind, data: Uint8Array): void {
  assert(state.role === "leader", "only a leader appends");
  const index = toIndex(lastIndex(state) + 1);
  const entry = { term: state.term, index, kind, data };
  logAppend(state.log, entry);
  if (kind === "config") {
    state.configs.push(index);
    state.pendingConfig = index;
  }
  state.uncommittedBytes += entryBytes(entry);
  state.sendDue = true;
}

/** Dialect of etcd: the leader acknowledges its own entries, once durable, by a message. */
export function acknowledgeOwn(state: RaftState): void {
  if (isEtcd(state)) sendAccepted(state, state.id, lastIndex(state));
}

function counted(state: RaftState, peer: PeerId): number {
  const progress = state.progress.get(peer);
  return progress === undefined ? 0 : countedMatch(progress);
}

/**
 * Commits what a quorum of voters holds, but only by counting an entry of the leader's own term
 * (Raft paper, figure 8). A leader that is no voter does not count itself.
 * @returns whether the commit index has moved: everybody is to be told.
 */
export function maybeCommit(state: RaftState): boolean {
  const index = quorumIndex(state.conf, (peer) => counted(state, peer));
  if (index <= state.commit || termAt(state.log, index) !== state.term) return false;
  commitTo(state, index);
  return true;
}

/** An entry of the leader's own term is committed, so everything before it is. */
export function ownTermCommitted(state: RaftState): boolean {
  return termAt(state.log, state.commit) === state.term;
}
