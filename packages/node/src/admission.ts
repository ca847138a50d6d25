/** The join door: a ticket's secret admits a node; everything else is refused. */

import { createHash } from "node:crypto";
import { listNodes } from "@blixard/control";
import { nodeIdOf } from "@blixard/net";
import {
  BlixardError,
  fail,
  newTrace,
  type PublicKeyHex,
  type Random,
  utf8,
  utf8Text,
} from "@blixard/std";
import type { Consensus } from "./consensus.ts";
import { JoinRequest } from "./init.ts";
import { peerInfo } from "./member.ts";

export interface AdmissionDeps {
  readonly clusterId: string;
  readonly consensus: Consensus;
  readonly wallMs: () => number;
  readonly random: Random;
}

function refuse(reason: string): never {
  return fail(
    "Unauthorized",
    { reason },
    `Cannot join: ${reason}`,
    "make a new ticket with `blixard cluster ticket` on a running node",
  );
}

function parse(body: Uint8Array): JoinRequest {
  try {
    return JoinRequest.parse(JSON.parse(utf8Text(body)));
  } catch (caught) {
    throw new BlixardError(
      {
        code: "InvalidArgument",
        data: { field: "join", reason: "malformed" },
        message: "Malformed join request",
      },
      { cause: caught },
    );
  }
}

/** Answers a join request of the holder of `publicKey`, as the transport has verified it. */
export async function admit(
  deps: AdmissionDeps,
  publicKey: PublicKeyHex,
  body: Uint8Array,
): Promise<Uint8Array> {
  const request = parse(body);
  if (request.clusterId !== deps.clusterId) refuse("the ticket is for another cluster");
  await deps.consensus.readBarrier();
  const tokenHash = createHash("sha256").update(Buffer.from(request.secret, "hex")).digest("hex");
  const token = deps.consensus.state.joinTokens.get(tokenHash);
  if (token === undefined) refuse("the ticket is not known");
  if (token.expiresAtMs < deps.wallMs()) refuse("the ticket has expired");
  const { peerId } = await deps.consensus.propose(
    {
      kind: "admitNode",
      tokenHash,
      node: { id: nodeIdOf(publicKey), name: request.name, publicKey, address: request.address },
    },
    newTrace(deps.random),
  );
  const peers = listNodes(deps.consensus.state).map((node) => peerInfo(node));
  return utf8(JSON.stringify({ format: 1, peerId, peers }));
}
