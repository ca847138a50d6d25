/**
 * Lease datagrams: magic "BXL", version, kind, node id (16 bytes), request id, lease epoch; a
 * refusal adds the current epoch and a reason. Integers little-endian, eight bytes. See
 * docs/formats.md.
 */

import {
  as,
  ByteWriter,
  decodeWith,
  fromHex,
  present,
  toHex,
  utf8,
  type ByteReader,
  type NodeId,
  type Result,
} from "@blixard/std";
import type { GrantorReply, RefusalReason } from "./grantor.ts";

export type LeaseMessage =
  | {
      readonly kind: "renew";
      readonly nodeId: NodeId;
      readonly requestId: number;
      readonly leaseEpoch: number;
    }
  | GrantorReply;

const MAGIC = utf8("BXL");
const VERSION = 1;
const NODE_ID_BYTES = 16;

const KINDS = ["renew", "granted", "refused"] as const;
const REASONS = ["unknownNode", "wrongEpoch", "lost", "expiring"] as const;

/** Fails to compile when a reason is missing from the list above. */
const REASON_CODES: { readonly [R in RefusalReason]: number } = {
  unknownNode: 0,
  wrongEpoch: 1,
  lost: 2,
  expiring: 3,
};

export function encodeLeaseMessage(message: LeaseMessage): Uint8Array {
  const writer = new ByteWriter(64).raw(MAGIC).u8(VERSION).u8(KINDS.indexOf(message.kind));
  writer.raw(present(fromHex(message.nodeId), "node id in hex"));
  writer.u64(message.requestId).u64(message.leaseEpoch);
  if (message.kind === "refused") {
    writer.u64(message.currentEpoch).u8(REASON_CODES[message.reason]);
  }
  return writer.finish().slice();
}

function known<T>(table: readonly T[], code: number, what: string): T {
  const value = table[code];
  if (value === undefined) throw new RangeError(`unknown ${what} ${code}`);
  return value;
}

function read(reader: ByteReader): LeaseMessage {
  if (toHex(reader.raw(MAGIC.length)) !== toHex(MAGIC)) throw new RangeError("wrong magic");
  const version = reader.u8();
  if (version !== VERSION) throw new RangeError(`unknown version ${version}`);
  const kind = known(KINDS, reader.u8(), "kind");
  const nodeId = as<NodeId>(toHex(reader.raw(NODE_ID_BYTES)));
  const requestId = reader.u64();
  const leaseEpoch = reader.u64();
  if (kind !== "refused") return { kind, nodeId, requestId, leaseEpoch };
  const currentEpoch = reader.u64();
  const reason = known(REASONS, reader.u8(), "reason");
  return { kind, nodeId, requestId, leaseEpoch, currentEpoch, reason };
}

/** Any bytes; the error says what is wrong with them. */
export function decodeLeaseMessage(bytes: Uint8Array): Result<LeaseMessage, string> {
  return decodeWith(bytes, read);
}
