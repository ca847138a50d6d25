/** Sent and stored forms of messages and entries. Little-endian, version byte first. */

import {
  ByteWriter,
  decodeWith,
  unreachable,
  type ByteReader,
  type LogIndex,
  type PeerId,
  type Result,
  type Term,
} from "@blixard/std";
import {
  expectByte,
  FormatError,
  readConfState,
  readEnum,
  readFlag,
  readPeer,
  writeConfState,
} from "./conf-codec.ts";
import { toIndex, toTerm } from "./log.ts";
import { MAX_FORWARDED } from "./limits.ts";
import type { Entry, EntryKind, Message, Proposal } from "./types.ts";

const ENTRY_VERSION = 1;
const MESSAGE_VERSION = 1;
/** Term, kind and length of an entry inside an append. */
const ENTRY_HEAD_BYTES = 13;
const ENTRY_KINDS: readonly EntryKind[] = ["command", "config", "noop"];
/** Positions are part of the format: append only. */
const MESSAGE_KINDS: readonly Message["kind"][] = [
  "preVote",
  "vote",
  "preVoteReply",
  "voteReply",
  "append",
  "appendReply",
  "heartbeat",
  "heartbeatReply",
  "snapshot",
  "timeoutNow",
  "propose",
  "readIndex",
  "readIndexReply",
  "transferLeader",
];
const PROPOSAL_KINDS: readonly Proposal["kind"][] = ["command", "config"];
/** Kind and length of a proposal in a forwarded message. */
const PROPOSAL_HEAD_BYTES = 5;
const NOTHING = new Uint8Array(0);

function writeEntryBody(writer: ByteWriter, entry: Entry): void {
  writer.u64(entry.term).u8(ENTRY_KINDS.indexOf(entry.kind)).bytes(entry.data);
}

function readEntryBody(reader: ByteReader, index: LogIndex): Entry {
  const term = readTerm(reader);
  const kind = readEnum(reader, ENTRY_KINDS, "entry kind");
  return { term, index, kind, data: reader.bytes() };
}

function readTerm(reader: ByteReader): Term {
  return toTerm(reader.u64());
}

function readIndex(reader: ByteReader): LogIndex {
  return toIndex(reader.u64());
}

/** version u8, index u64, term u64, kind u8, data bytes. */
export function encodeEntry(entry: Entry): Uint8Array {
  const writer = new ByteWriter(32 + entry.data.length);
  writer.u8(ENTRY_VERSION).u64(entry.index);
  writeEntryBody(writer, entry);
  return writer.finish();
}

/** The data is a view of `bytes`, which must not change afterwards. */
export function decodeEntry(bytes: Uint8Array): Result<Entry, string> {
  return decodeWith(bytes, (reader) => {
    expectByte(reader, ENTRY_VERSION, "entry version");
    const index = readIndex(reader);
    if (index === 0) throw new FormatError("entry index 0");
    return readEntryBody(reader, index);
  });
}

/** Where a message's receiver stands in it, u32: the same bytes can go to several. */
export const MESSAGE_TO_OFFSET = 2;

/**
 * version u8, kind u8, to u32, from u32, term u64, then the fields of the kind as in types.ts. Behind
 * `head`, which a driver may put before it.
 */
export function encodeMessage(message: Message, head: Uint8Array = NOTHING): Uint8Array {
  let bytes = 96 + head.length;
  if (message.kind === "append") {
    for (const entry of message.entries) bytes += ENTRY_HEAD_BYTES + entry.data.length;
  }
  const writer = new ByteWriter(bytes).raw(head);
  writer.u8(MESSAGE_VERSION).u8(MESSAGE_KINDS.indexOf(message.kind));
  writer.u32(message.to).u32(message.from).u64(message.term);
  writeBody(writer, message);
  return writer.finish();
}

function writeBody(writer: ByteWriter, message: Message): void {
  switch (message.kind) {
    case "preVote":
    case "vote":
      writer
        .u64(message.lastIndex)
        .u64(message.lastTerm)
        .u8(message.force ? 1 : 0);
      break;
    case "preVoteReply":
    case "voteReply":
      writer.u8(message.granted ? 1 : 0);
      break;
    case "append":
      writer.u64(message.prevIndex).u64(message.prevTerm).u64(message.commit);
      writer.u32(message.entries.length);
      for (const entry of message.entries) writeEntryBody(writer, entry);
      break;
    case "appendReply":
      writer.u8(message.rejected ? 1 : 0).u64(message.index);
      writer.u64(message.hintIndex).u64(message.hintTerm).u32(message.repair);
      break;
    case "heartbeat":
      writer.u64(message.commit).u64(message.readRound).u32(message.repaired);
      break;
    case "heartbeatReply":
      writer.u64(message.readRound).u32(message.repair);
      break;
    case "snapshot":
      writer.u64(message.meta.index).u64(message.meta.term);
      writeConfState(writer, message.meta.conf);
      break;
    case "timeoutNow":
    case "transferLeader":
      break;
    case "propose":
      writer.u32(message.proposals.length);
      for (const { kind, data } of message.proposals) {
        writer.u8(PROPOSAL_KINDS.indexOf(kind)).bytes(data);
      }
      break;
    case "readIndex":
      writer.u64(message.context);
      break;
    case "readIndexReply":
      writer.u64(message.context).u64(message.index);
      break;
    default:
      unreachable(message);
  }
}

/**
 * Any bytes: a message, or why they are none. Entry data are views of `bytes`, which must not
 * change afterwards. Whether the fields make sense together is checked by `step`.
 */
export function decodeMessage(bytes: Uint8Array): Result<Message, string> {
  return decodeWith(bytes, (reader) => {
    expectByte(reader, MESSAGE_VERSION, "message version");
    const kind = readEnum(reader, MESSAGE_KINDS, "message kind");
    const head = { to: readPeer(reader), from: readPeer(reader), term: readTerm(reader) };
    return readBody(reader, kind, head);
  });
}

interface Head {
  readonly to: PeerId;
  readonly from: PeerId;
  readonly term: Term;
}

function readBody(reader: ByteReader, kind: Message["kind"], head: Head): Message {
  switch (kind) {
    case "preVote":
    case "vote": {
      const [lastIndex, lastTerm] = [readIndex(reader), readTerm(reader)];
      return { kind, ...head, lastIndex, lastTerm, force: readFlag(reader) };
    }
    case "preVoteReply":
    case "voteReply":
      return { kind, ...head, granted: readFlag(reader) };
    case "append":
      return readAppend(reader, head);
    case "appendReply": {
      const rejected = readFlag(reader);
      const [index, hintIndex, hintTerm] = [readIndex(reader), readIndex(reader), readTerm(reader)];
      return { kind, ...head, rejected, index, hintIndex, hintTerm, repair: reader.u32() };
    }
    case "heartbeat": {
      const [commit, readRound] = [readIndex(reader), reader.u64()];
      return { kind, ...head, commit, readRound, repaired: reader.u32() };
    }
    case "heartbeatReply": {
      const readRound = reader.u64();
      return { kind, ...head, readRound, repair: reader.u32() };
    }
    case "snapshot": {
      const [index, term] = [readIndex(reader), readTerm(reader)];
      return { kind, ...head, meta: { index, term, conf: readConfState(reader) } };
    }
    case "timeoutNow":
    case "transferLeader":
      return { kind, ...head };
    case "propose":
      return { kind, ...head, proposals: readProposals(reader) };
    case "readIndex":
      return { kind, ...head, context: reader.u64() };
    case "readIndexReply": {
      const context = reader.u64();
      return { kind, ...head, context, index: readIndex(reader) };
    }
    default:
      return unreachable(kind);
  }
}

function readAppend(reader: ByteReader, head: Head): Message {
  const [prevIndex, prevTerm, commit] = [readIndex(reader), readTerm(reader), readIndex(reader)];
  const count = reader.u32();
  // Bounds the loop by what was really sent, whatever the count claims.
  if (count * ENTRY_HEAD_BYTES > reader.remaining) throw new FormatError(`${count} entries`);
  if (!Number.isSafeInteger(prevIndex + count)) throw new FormatError("index beyond 2^53");
  const entries: Entry[] = [];
  for (let i = 1; i <= count; i++) entries.push(readEntryBody(reader, toIndex(prevIndex + i)));
  return { kind: "append", ...head, prevIndex, prevTerm, entries, commit };
}

function readProposals(reader: ByteReader): Proposal[] {
  const count = reader.u32();
  if (count > MAX_FORWARDED || count * PROPOSAL_HEAD_BYTES > reader.remaining) {
    throw new FormatError(`${count} proposals`);
  }
  const proposals: Proposal[] = [];
  for (let i = 0; i < count; i++) {
    const kind = readEnum(reader, PROPOSAL_KINDS, "proposal kind");
    proposals.push({ kind, data: reader.bytes() });
  }
  return proposals;
}
