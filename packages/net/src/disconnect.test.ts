/** What a transport tells when a peer's process goes away; memory and TLS alike. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { as, type PeerId, type PublicKeyHex } from "@blixard/std";
import { createIdentity } from "./identity.ts";
import { createMemoryHub } from "./memory-transport.ts";
import { nodeIdOf } from "./public-key.ts";
import { eventually } from "./test-support.ts";
import { createTlsTransport } from "./tls-transport.ts";
import type { PeerInfo, Transport } from "./types.ts";

interface TestNode {
  readonly transport: Transport;
  readonly info: PeerInfo;
}

async function tlsNode(peerId: PeerId): Promise<TestNode> {
  const identity = await createIdentity();
  const transport = createTlsTransport({ identity, listen: { host: "127.0.0.1", port: 0 } });
  const address = await transport.listen();
  const { nodeId, publicKey } = identity;
  return { transport, info: { peerId, nodeId, publicKey, address } };
}

const hub = createMemoryHub();

async function memoryNode(peerId: PeerId): Promise<TestNode> {
  const publicKey = as<PublicKeyHex>(peerId.toString(16).padStart(64, "0"));
  const address = `node-${peerId}:1`;
  const transport = hub.createTransport({ publicKey, address });
  await transport.listen();
  return { transport, info: { peerId, nodeId: nodeIdOf(publicKey), publicKey, address } };
}

for (const [name, make] of Object.entries({ tls: tlsNode, memory: memoryNode })) {
  test(`${name}: a peer that goes away is told of, one that is removed is not`, async () => {
    const one = await make(as<PeerId>(1));
    const two = await make(as<PeerId>(2));
    const three = await make(as<PeerId>(3));
    const all = [one, two, three];
    const heard = new Set<string>();
    const lost: PeerId[] = [];
    one.transport.onDisconnect((peer) => lost.push(peer));
    for (const { transport, info } of all) {
      transport.onMessage("raft", (from) => heard.add(`${from}-${info.peerId}`));
      transport.setPeers(all.map((node) => node.info));
    }
    await eventually(() => {
      for (const other of [two, three]) {
        one.transport.channel("raft").send(other.info.peerId, new Uint8Array(1));
        other.transport.channel("raft").send(one.info.peerId, new Uint8Array(1));
      }
      return heard.size === 4;
    }, "everybody is heard");
    one.transport.setPeers([one.info, two.info]);
    await two.transport.close();
    await eventually(() => lost.length > 0, "the loss is told");
    assert.deepEqual([...new Set(lost)], [2]);
    await one.transport.close();
    await three.transport.close();
    assert.deepEqual([...new Set(lost)], [2]);
  });
}
