/** Membership of nodes: who may join, under which peer id, with what capacity. */

import { err, failure, ok, type NodeId } from "@blixard/std";
import { JOIN_TOKENS_MAX } from "../limits.ts";
import { nodeJson } from "../records.ts";
import {
  dropNode,
  dropToken,
  nextPeerId,
  readNode,
  readToken,
  writeNode,
  writeToken,
  type Outcome,
  type Transaction,
} from "../transaction.ts";
import type { Capacity, Command, JoinTokenRecord, NodeRegistrationBase } from "../types.ts";
import { conflict, noSuchNode } from "./refuse.ts";
import { unplace, vmsOf } from "./unplace.ts";

type CommandOf<K extends Command["kind"]> = Extract<Command, { readonly kind: K }>;

const NO_CAPACITY: Capacity = Object.freeze({ vcpus: 0, memoryBytes: 0, diskBytes: 0 });

/** Until it registers, nothing is known of a new node's software: it counts as the oldest. */
const OLDEST_COMMAND_VERSION = 1;

function nameTaken(tx: Transaction, name: string, by: NodeId): Outcome | undefined {
  const holder = tx.state.index.nodeByName.get(name);
  if (holder === undefined || holder === by) return undefined;
  const message = `There already is a node ${JSON.stringify(name)}: ${holder}`;
  return err(failure("AlreadyExists", { kind: "node", name }, message, "choose another node name"));
}

function otherKey(known: NodeRegistrationBase, asked: NodeRegistrationBase): Outcome | undefined {
  if (known.publicKey === asked.publicKey) return undefined;
  return conflict(`Node ${known.id} is known with another public key`);
}

/** A node describes itself; its place in the cluster (peer id, lease) stays as it is. */
export function registerNode(tx: Transaction, { node }: CommandOf<"registerNode">): Outcome {
  const taken = nameTaken(tx, node.name, node.id);
  if (taken !== undefined) return taken;
  const before = readNode(tx, node.id);
  if (before === undefined) {
    if (node.peerId <= tx.lastPeerId) {
      return conflict(
        `Peer id ${node.peerId} was given before and is never given again`,
        "blixard cluster join",
      );
    }
    tx.lastPeerId = node.peerId;
    const after = writeNode(tx, {
      ...node,
      state: "joining",
      leaseEpoch: tx.leaseEpochFloor,
      createdRevision: tx.revision,
    });
    return ok({ node: after, peerId: after.peerId });
  }
  if (before.peerId !== node.peerId) {
    return conflict(`Node ${before.name} has peer id ${before.peerId}, not ${node.peerId}`);
  }
  const foreign = otherKey(before, node);
  if (foreign !== undefined) return foreign;
  const { state, maintenance, vmBounds, leaseEpoch, createdRevision, modifiedRevision } = before;
  const sameDrivers = node.drivers.join() === before.drivers.join();
  const kept = {
    state,
    ...(maintenance === undefined ? {} : { maintenance }),
    ...(vmBounds === undefined || !sameDrivers ? {} : { vmBounds }),
    leaseEpoch,
    createdRevision,
  };
  const again = { ...node, ...kept, modifiedRevision };
  if (nodeJson(again) === nodeJson(before)) return ok({ node: before, peerId: before.peerId });
  const after = writeNode(tx, { ...node, ...kept });
  return ok({ node: after, peerId: after.peerId });
}

/** Says the same twice: one revision. Refused only when there is no such node. */
export function setVmBounds(
  tx: Transaction,
  { nodeId, vmBounds }: CommandOf<"setVmBounds">,
): Outcome {
  const node = readNode(tx, nodeId);
  if (node === undefined) return noSuchNode(nodeId);
  const after = { ...node, vmBounds };
  if (nodeJson(after) === nodeJson(node)) return ok({ node });
  return ok({ node: writeNode(tx, after) });
}

/** Refused while VMs may run there: a node that is lost runs none, one that is up must be empty. */
export function removeNode(tx: Transaction, { nodeId }: CommandOf<"removeNode">): Outcome {
  const node = readNode(tx, nodeId);
  if (node === undefined) return noSuchNode(nodeId);
  const vms = vmsOf(tx, nodeId);
  if (node.state === "up" && vms.length > 0) {
    return conflict(
      `Node ${node.name} is up and has ${vms.length} VM${vms.length === 1 ? "" : "s"}`,
      `drain it (blixard node drain ${node.name}) or stop the node, then remove it`,
    );
  }
  for (const vm of vms) unplace(tx, vm, `node ${node.name} was removed`);
  dropNode(tx, node);
  return ok({ node });
}

/** What may be forgotten first: a used-up token, then the one that runs out first. */
function forgetsBefore(a: JoinTokenRecord, b: JoinTokenRecord): boolean {
  if ((a.usesLeft === 0) !== (b.usesLeft === 0)) return a.usesLeft === 0;
  if (a.expiresAtMs !== b.expiresAtMs) return a.expiresAtMs < b.expiresAtMs;
  return a.hash < b.hash;
}

/** A token made twice stays as it is: a delayed copy of the command gives no uses back. */
export function createJoinToken(
  tx: Transaction,
  { hash, uses, expiresAtMs }: CommandOf<"createJoinToken">,
): Outcome {
  if (readToken(tx, hash) !== undefined) return ok({});
  if (tx.state.joinTokens.size >= JOIN_TOKENS_MAX) {
    let first: JoinTokenRecord | undefined;
    for (const token of tx.state.joinTokens.values()) {
      if (first === undefined || forgetsBefore(token, first)) first = token;
    }
    if (first !== undefined) dropToken(tx, first.hash);
  }
  writeToken(tx, { hash, usesLeft: uses, expiresAtMs, createdRevision: tx.revision });
  return ok({});
}

/** Whether the token is still in time is the leader's business before it proposes this. */
export function admitNode(tx: Transaction, { tokenHash, node }: CommandOf<"admitNode">): Outcome {
  const known = readNode(tx, node.id);
  if (known !== undefined) {
    return otherKey(known, node) ?? ok({ node: known, peerId: known.peerId });
  }
  const token = readToken(tx, tokenHash);
  if (token === undefined || token.usesLeft === 0) {
    const reason = token === undefined ? "the join token is unknown" : "the join token is used up";
    const message = `Cannot join: ${reason}`;
    return err(failure("Unauthorized", { reason }, message, "blixard cluster ticket"));
  }
  const taken = nameTaken(tx, node.name, node.id);
  if (taken !== undefined) return taken;
  writeToken(tx, { ...token, usesLeft: token.usesLeft - 1 });
  const after = writeNode(tx, {
    ...node,
    peerId: nextPeerId(tx),
    capacity: NO_CAPACITY,
    drivers: Object.freeze([]),
    labels: Object.freeze({}),
    commandVersion: OLDEST_COMMAND_VERSION,
    state: "joining",
    leaseEpoch: tx.leaseEpochFloor,
    createdRevision: tx.revision,
  });
  return ok({ node: after, peerId: after.peerId });
}
