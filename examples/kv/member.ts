/** One member: the store, its consensus, and the door for clients. */

import { createTlsTransport, loadOrCreateIdentity } from "@blixard/net";
import type { PeerInfo } from "@blixard/net";
import { openClientDoor, peerTransport, raftCluster, sha256Hex } from "@blixard/raft-node";
import type { ClientDoor, Member, RaftCluster } from "@blixard/raft-node";
import { as, utf8, utf8Text } from "@blixard/std";
import type { NodeId, PeerId, PublicKeyHex } from "@blixard/std";

import { dirOf, readConfig } from "./config.ts";
import type { MemberConfig } from "./config.ts";
import { Store } from "./store.ts";
import type { Command, Response } from "./store.ts";

export interface RunningMember {
  readonly cluster: RaftCluster<Command, Response, string, Uint8Array | undefined>;
  readonly door: ClientDoor;
}

/** Keys and addresses travel in the members' contexts, so that every member knows all the others. */
function toMember({ id, ...context }: MemberConfig): Member {
  return { peer: as<PeerId>(id), context: utf8(JSON.stringify(context)) };
}

function toPeer({ peer, context }: Member): PeerInfo {
  // Safe: this program alone writes contexts.
  const config = JSON.parse(utf8Text(context)) as Omit<MemberConfig, "id">;
  return {
    peerId: peer,
    nodeId: as<NodeId>(config.nodeId),
    publicKey: as<PublicKeyHex>(config.publicKey),
    address: config.peers,
  };
}

function listenAt(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(":");
  return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
}

export async function runMember(file: string, id: number): Promise<RunningMember> {
  const { members, token, preset, tune } = readConfig(file);
  const own = members.find((member) => member.id === id);
  if (own === undefined) throw new Error(`${file} has no member ${id}`);
  const dir = dirOf(file, id);
  const identity = await loadOrCreateIdentity(dir);
  const network = createTlsTransport({ identity, listen: listenAt(own.listen ?? own.peers) });
  await network.listen();
  const store = new Store();
  const cluster = await raftCluster(store)
    .preset(preset)
    .tune(tune)
    .id(id)
    .dir(`${dir}/raft`)
    .transport(peerTransport(network, toPeer))
    .founders(members.map(toMember))
    .on("role", ({ role, term, leader }) => console.log(JSON.stringify({ role, term, leader })))
    .on("fatal", ({ reason }) => {
      console.error(reason);
      process.exit(1);
    })
    .start();
  const tokens = [{ sha256: sha256Hex(token), role: "admin" as const }];
  const door = await openClientDoor(cluster, store, { ...listenAt(own.door), tokens });
  return { cluster, door };
}
