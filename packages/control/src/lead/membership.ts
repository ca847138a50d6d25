/** Which step brings the members of the consensus group closer to the admitted nodes. */

import type { PeerId } from "@blixard/std";
import { listNodes } from "../lookup.ts";
import type { ControlState } from "../state.ts";
import type { NodeRecord } from "../types.ts";

/** A learner this close to the leader's log may become a voter. */
const PROMOTE_LAG_ENTRIES = 100;

/** What the leader knows of the group; as the protocol's status has it. */
export interface LeaderStatus {
  readonly role: string;
  readonly term: number;
  readonly commit: number;
  readonly conf: { readonly voters: readonly PeerId[]; readonly learners: readonly PeerId[] };
  readonly progress: readonly {
    readonly peer: PeerId;
    readonly match: number;
    readonly active: boolean;
  }[];
}

export interface MembershipChange {
  readonly op: "addVoter" | "addLearner" | "removeMember";
  readonly peer: PeerId;
  readonly context: Uint8Array;
}

/**
 * One step towards: members = admitted nodes, each first a learner, then a voter. `contextOf` gives
 * what a membership entry says of a node.
 */
export function nextMembershipChange(
  status: LeaderStatus,
  state: ControlState,
  contextOf: (node: NodeRecord) => Uint8Array,
): MembershipChange | undefined {
  const { conf, progress, commit } = status;
  const nodes = listNodes(state);
  for (const node of nodes) {
    const peer = node.peerId;
    if (conf.voters.includes(peer)) continue;
    if (!conf.learners.includes(peer)) {
      return { op: "addLearner", peer, context: contextOf(node) };
    }
    const follower = progress.find((row) => row.peer === peer);
    // A young log is short: being near its end says nothing of one that never answered, and a voter
    // that is not there yet could cost the quorum.
    const hasAnswered = follower?.active === true && follower.match > 0;
    if (hasAnswered && follower.match + PROMOTE_LAG_ENTRIES >= commit) {
      return { op: "addVoter", peer, context: contextOf(node) };
    }
  }
  // The first node's record appears only after its first command: never remove by an empty list.
  if (nodes.length === 0) return undefined;
  const stale = [...conf.voters, ...conf.learners].find(
    (peer) => !nodes.some((node) => node.peerId === peer),
  );
  if (stale === undefined) return undefined;
  return { op: "removeMember", peer: stale, context: new Uint8Array(0) };
}
