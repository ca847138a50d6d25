/** What a membership entry says of a node, so that keys and addresses replicate with the membership. */

import type { Member } from "@blixard/raft-node";
import type { NodeId, PeerId, PublicKeyHex, Result } from "@blixard/std";
import { as, ByteWriter, decodeWith, err, ok } from "@blixard/std";
import type { PeerInfo } from "@blixard/net";

const MAGIC = 0x424d; // "MB"
const VERSION = 1;

export function encodeMember(info: Omit<PeerInfo, "peerId">): Uint8Array {
  const writer = new ByteWriter(192).u16(MAGIC).u8(VERSION);
  return writer.text(info.nodeId).text(info.publicKey).text(info.address).finish().slice();
}

export function decodeMember(member: Member): Result<PeerInfo, string> {
  const decoded = decodeWith(member.context, (reader) => {
    if (reader.u16() !== MAGIC) throw new Error("not a member record");
    const version = reader.u8();
    if (version !== VERSION) throw new Error(`member record version ${version} is unknown`);
    return { nodeId: reader.text(), publicKey: reader.text(), address: reader.text() };
  });
  if (!decoded.ok) return decoded;
  const { nodeId, publicKey, address } = decoded.value;
  if (!/^[0-9a-f]{32}$/.test(nodeId)) return err(`bad node id ${JSON.stringify(nodeId)}`);
  if (!/^[0-9a-f]{64}$/.test(publicKey)) return err("bad public key");
  return ok({
    peerId: member.peer,
    nodeId: as<NodeId>(nodeId),
    publicKey: as<PublicKeyHex>(publicKey),
    address,
  });
}

export function peerInfo(record: {
  id: NodeId;
  peerId: PeerId;
  publicKey: PublicKeyHex;
  address: string;
}): PeerInfo {
  const { id, peerId, publicKey, address } = record;
  return { peerId, nodeId: id, publicKey, address };
}
