/** Any transport between nodes that speaks in channels and peers (such as @blixard/net) for a cluster. */

import type { Network, PeerId } from "@blixard/std";

import type { ClusterTransport } from "../cluster/types.ts";
import type { Member } from "../types.ts";

/** What is asked of a network between nodes: a structural part of @blixard/net's Transport. */
export interface PeerNetwork<Peer> {
  /** Sends datagrams of that channel. */
  channel(channel: "raft"): Network;
  /** Whom datagrams of that channel go to; set once. */
  onMessage(channel: "raft", listener: (from: PeerId, message: Uint8Array) => void): void;
  /** Optional: told when the connection with a peer breaks. */
  onDisconnect?(listener: (peer: PeerId) => void): void;
  /** Whom to connect with from now on, and how. */
  setPeers(peers: readonly Peer[]): void;
  /** Ends all connections. */
  close(): Promise<void>;
}

/**
 * A cluster's transport over such a network. `peerOf` reads a peer's key and address from the
 * member's context, which replicates with the membership; undefined for a context that does not
 * tell.
 */
export function peerTransport<Peer>(
  network: PeerNetwork<Peer>,
  peerOf: (member: Member) => Peer | undefined,
): ClusterTransport {
  return {
    network: network.channel("raft"),
    onMessage: (listener) => network.onMessage("raft", listener),
    onDisconnect: (listener) => network.onDisconnect?.(listener),
    setMembers: (members) => {
      const peers = members.map(peerOf);
      network.setPeers(peers.filter((peer) => peer !== undefined));
    },
    close: () => network.close(),
  };
}
