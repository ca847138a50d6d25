/**
 * Datagrams between nodes: magic, version, kind, payload. Everything is validated here; what does not
 * decode is dropped by the caller.
 */

import { as, ByteWriter, crc32c, decodeWith, err, unreachable } from "@blixard/std";
import type { ByteReader, LogIndex, Result, Term } from "@blixard/std";

import { SNAPSHOT_CHUNK_BYTES } from "../limits.ts";
import { CHUNK_FRAME_BYTES } from "../snapshot/format.ts";

export const ENVELOPE_MAGIC = 0x4e52; // "RN"
export const ENVELOPE_VERSION = 1;
/** Bytes of a snapshot file in one datagram. */
export const TRANSFER_CHUNK_BYTES = SNAPSHOT_CHUNK_BYTES + CHUNK_FRAME_BYTES;
const ITEMS_MAX = 65_536;

export interface ForwardItem {
  readonly id: number;
  readonly kind: "command" | "config";
  readonly data: Uint8Array;
}

export type ForwardOutcome =
  | { readonly id: number; readonly kind: "accepted"; readonly index: LogIndex }
  /** Surely not in the log: `retry` when another attempt may succeed. */
  | {
      readonly id: number;
      readonly kind: "rejected";
      readonly retry: boolean;
      readonly reason: string;
    }
  /** The answering node no longer knows what became of it. */
  | { readonly id: number; readonly kind: "unknown" };

export type Envelope =
  | { readonly kind: "raft"; readonly message: Uint8Array }
  /** Only the leader of `term` may accept; `life` names the sender's process. */
  | {
      readonly kind: "forward";
      readonly life: number;
      readonly term: Term;
      readonly items: readonly ForwardItem[];
    }
  | {
      readonly kind: "forwardReply";
      readonly life: number;
      readonly term: Term;
      readonly outcomes: readonly ForwardOutcome[];
    }
  | { readonly kind: "readForward"; readonly life: number; readonly id: number }
  /** Index 0: the sender does not lead (any more). */
  | {
      readonly kind: "readReply";
      readonly life: number;
      readonly id: number;
      readonly index: LogIndex;
    }
  | {
      readonly kind: "snapshotOffer";
      readonly transfer: number;
      readonly sizeBytes: number;
      /** The encoded raft message that the snapshot belongs to. */
      readonly message: Uint8Array;
    }
  | {
      readonly kind: "snapshotChunk";
      readonly transfer: number;
      readonly offset: number;
      readonly bytes: Uint8Array;
    }
  | {
      readonly kind: "snapshotAck";
      readonly transfer: number;
      /** Bytes received in order so far. */
      readonly offset: number;
      readonly state: "partial" | "done" | "refused";
    };

const KINDS: readonly Envelope["kind"][] = [
  "raft",
  "forward",
  "forwardReply",
  "readForward",
  "readReply",
  "snapshotOffer",
  "snapshotChunk",
  "snapshotAck",
];
const ACK_STATES = ["partial", "done", "refused"] as const;
/** What stands before a message of the protocol. */
export const RAFT_ENVELOPE = encodeEnvelope({ kind: "raft", message: new Uint8Array(0) });

export function encodeEnvelope(envelope: Envelope): Uint8Array {
  const writer = new ByteWriter(
    envelope.kind === "snapshotChunk" ? 64 + envelope.bytes.length : 64,
  );
  writer.u16(ENVELOPE_MAGIC).u8(ENVELOPE_VERSION).u8(KINDS.indexOf(envelope.kind));
  switch (envelope.kind) {
    case "raft":
      writer.raw(envelope.message);
      break;
    case "forward":
      writer.u32(envelope.life).u64(envelope.term).u32(envelope.items.length);
      for (const { id, kind, data } of envelope.items) {
        writer
          .u64(id)
          .u8(kind === "command" ? 0 : 1)
          .bytes(data);
      }
      break;
    case "forwardReply":
      writer.u32(envelope.life).u64(envelope.term).u32(envelope.outcomes.length);
      for (const outcome of envelope.outcomes) writeOutcome(writer, outcome);
      break;
    case "readForward":
      writer.u32(envelope.life).u64(envelope.id);
      break;
    case "readReply":
      writer.u32(envelope.life).u64(envelope.id).u64(envelope.index);
      break;
    case "snapshotOffer":
      writer.u32(envelope.transfer).u64(envelope.sizeBytes).bytes(envelope.message);
      break;
    case "snapshotChunk":
      writer.u32(envelope.transfer).u64(envelope.offset);
      writer.u32(crc32c(envelope.bytes, envelope.transfer)).bytes(envelope.bytes);
      break;
    case "snapshotAck":
      writer.u32(envelope.transfer).u64(envelope.offset);
      writer.u8(ACK_STATES.indexOf(envelope.state));
      break;
    default:
      unreachable(envelope);
  }
  return writer.finish();
}

function writeOutcome(writer: ByteWriter, outcome: ForwardOutcome): void {
  writer.u64(outcome.id);
  if (outcome.kind === "accepted") writer.u8(0).u64(outcome.index);
  else if (outcome.kind === "rejected") writer.u8(outcome.retry ? 1 : 2).text(outcome.reason);
  else writer.u8(3);
}

function readOutcome(reader: ByteReader): ForwardOutcome {
  const id = reader.u64();
  const kind = reader.u8();
  if (kind === 0) return { id, kind: "accepted", index: as<LogIndex>(reader.u64()) };
  if (kind === 3) return { id, kind: "unknown" };
  if (kind > 3) throw new RangeError(`outcome ${kind}`);
  return { id, kind: "rejected", retry: kind === 1, reason: reader.text() };
}

function readList<T>(reader: ByteReader, read: () => T): T[] {
  const count = reader.u32();
  if (count > ITEMS_MAX) throw new RangeError(`${count} items`);
  const items: T[] = [];
  for (let i = 0; i < count; i++) items.push(read());
  return items;
}

function readItem(reader: ByteReader): ForwardItem {
  const id = reader.u64();
  const kind = reader.u8();
  if (kind > 1) throw new RangeError(`item kind ${kind}`);
  // Copied: the datagram's buffer is the transport's.
  return { id, kind: kind === 0 ? "command" : "config", data: reader.bytes().slice() };
}

function readChunk(reader: ByteReader): Envelope {
  const transfer = reader.u32();
  const offset = reader.u64();
  const sum = reader.u32();
  const bytes = reader.bytes().slice();
  if (bytes.length === 0 || bytes.length > TRANSFER_CHUNK_BYTES) {
    throw new RangeError(`a chunk of ${bytes.length} bytes`);
  }
  if (sum !== crc32c(bytes, transfer)) throw new RangeError("the chunk's checksum is wrong");
  return { kind: "snapshotChunk", transfer, offset, bytes };
}

function readPayload(kind: Envelope["kind"], reader: ByteReader): Envelope {
  switch (kind) {
    case "raft":
      return { kind, message: reader.raw(reader.remaining) };
    case "forward":
      return {
        kind,
        life: reader.u32(),
        term: as<Term>(reader.u64()),
        items: readList(reader, () => readItem(reader)),
      };
    case "forwardReply":
      return {
        kind,
        life: reader.u32(),
        term: as<Term>(reader.u64()),
        outcomes: readList(reader, () => readOutcome(reader)),
      };
    case "readForward":
      return { kind, life: reader.u32(), id: reader.u64() };
    case "readReply":
      return { kind, life: reader.u32(), id: reader.u64(), index: as<LogIndex>(reader.u64()) };
    case "snapshotOffer":
      return {
        kind,
        transfer: reader.u32(),
        sizeBytes: reader.u64(),
        message: reader.bytes().slice(),
      };
    case "snapshotChunk":
      return readChunk(reader);
    case "snapshotAck": {
      const transfer = reader.u32();
      const offset = reader.u64();
      const state = ACK_STATES[reader.u8()];
      if (state === undefined) throw new RangeError("unknown state of a transfer");
      return { kind, transfer, offset, state };
    }
    default:
      return unreachable(kind);
  }
}

export function decodeEnvelope(bytes: Uint8Array): Result<Envelope, string> {
  if (bytes.length < 4) return err("shorter than an envelope");
  return decodeWith(bytes, (reader) => {
    const magic = reader.u16();
    const version = reader.u8();
    if (magic !== ENVELOPE_MAGIC || version !== ENVELOPE_VERSION) {
      throw new RangeError(`envelope of version ${version}`);
    }
    const kind = KINDS[reader.u8()];
    if (kind === undefined) throw new RangeError("unknown kind of envelope");
    return readPayload(kind, reader);
  });
}
