import { createHash } from "node:crypto";
import assert from "node:assert/strict";
import { test } from "node:test";
import { as, type PeerId, type PublicKeyHex } from "@blixard/std";
import { createMemoryHub } from "./memory-transport.ts";
import { nodeIdOf } from "./public-key.ts";
import { failsWith } from "./test-support.ts";
import { transportCompliance } from "./transport-compliance.ts";

let serial = 0;

function nextKey(): PublicKeyHex {
  serial += 1;
  return as<PublicKeyHex>(createHash("sha256").update(`node ${serial}`).digest("hex"));
}

transportCompliance("memory", () => {
  const hub = createMemoryHub();
  return {
    node: async (peerId: PeerId, limits) => {
      const publicKey = nextKey();
      const address = `node-${serial}:1`;
      const transport = hub.createTransport({ publicKey, address, ...(limits && { limits }) });
      await transport.listen();
      return { transport, info: { peerId, nodeId: nodeIdOf(publicKey), publicKey, address } };
    },
  };
});

test("an address is listened on once", async () => {
  const hub = createMemoryHub();
  const address = "node:1";
  const first = hub.createTransport({ publicKey: nextKey(), address });
  const second = hub.createTransport({ publicKey: nextKey(), address });
  assert.equal(await first.listen(), address);
  await assert.rejects(second.listen(), failsWith("PortInUse"));
  await first.close();
  assert.equal(await second.listen(), address);
  await second.close();
});
