import { as, type PeerId } from "@blixard/std";
import { createIdentity } from "./identity.ts";
import { createTlsTransport } from "./tls-transport.ts";
import { transportCompliance } from "./transport-compliance.ts";

transportCompliance("tls", () => ({
  node: async (peerId: PeerId, limits) => {
    const identity = await createIdentity();
    const transport = createTlsTransport({
      identity,
      listen: { host: "127.0.0.1", port: 0 },
      ...(limits && { limits }),
    });
    const address = await transport.listen();
    const { nodeId, publicKey } = identity;
    return { transport, info: { peerId: as<PeerId>(peerId), nodeId, publicKey, address } };
  },
}));
