/**
 * Bytes of a log segment (FORMAT.md). A record's CRC-32C starts from a seed made of the segment's id and
 * the record's offset, so zeroes, and bytes that were valid elsewhere or in an earlier life of the file,
 * never validate.
 */

import { as, assert, ByteWriter, crc32c, decodeWith, unreachable } from "@blixard/std";
import type { ByteReader, LogIndex, PeerId, Term } from "@blixard/std";
import type { ConfState, Entry, EntryKind, HardState, SnapshotMeta } from "@blixard/raft";

import { RECORD_BYTES_MAX } from "../limits.ts";

export const SEGMENT_MAGIC = 0x4c575842; // "BXWL" in file order
/** 1: slots in the watermark file only. 2: three slots of its own behind the log area. */
export const SEGMENT_VERSION = 2;
export const SEGMENT_HEADER_BYTES = 36;
export const RECORD_HEADER_BYTES = 12;

export interface SegmentHeader {
  readonly segment: number;
  /** Index of the entry that came next when the segment was opened. */
  readonly firstIndex: number;
  /** Where the records of the segment before this one end; all of them were acknowledged. */
  readonly previousEnd: number;
}

/** A header as read: whether slots stand behind the segment's log area (version 2). */
export interface ReadHeader extends SegmentHeader {
  readonly hasSlots: boolean;
}

export type LogRecord =
  /** Contiguous; whatever the log held at or after the first one's index is replaced. */
  | { readonly kind: "entries"; readonly entries: readonly Entry[] }
  | { readonly kind: "hardState"; readonly hardState: HardState }
  /**
   * A durable snapshot file of this meta exists. "local": of this node's own applied state, the entries
   * stay. "installed": it came from a leader and replaces the whole log.
   */
  | {
      readonly kind: "snapshot";
      readonly origin: "local" | "installed";
      readonly meta: SnapshotMeta;
    };

const KIND_ENTRIES = 1;
const KIND_HARD_STATE = 2;
const KIND_SNAPSHOT = 3;
const ENTRY_KINDS: readonly EntryKind[] = ["command", "config", "noop"];
const ENTRY_FRAME_BYTES = 13;
const ENTRIES_FRAME_BYTES = 12;

/**
 * A CRC is a bijection of its seed for fixed bytes: stale bytes at the same offset of another segment,
 * or at another offset of the same one, fail with certainty, others with 1 - 2^-32.
 */
export function crcSeed(segment: number, offset: number): number {
  return (Math.imul(segment, 0x9e3779b1) ^ Math.imul(offset, 0x85ebca6b) ^ 0x5bd1e995) >>> 0;
}

export function segmentName(segment: number): string {
  return `seg-${segment.toString(16).padStart(16, "0")}`;
}

export function parseSegmentName(name: string): number | undefined {
  const match = /^seg-([0-9a-f]{16})$/.exec(name);
  if (match?.[1] === undefined) return undefined;
  const id = Number.parseInt(match[1], 16);
  return Number.isSafeInteger(id) && id > 0 ? id : undefined;
}

function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 4294967296, true);
  view.setUint32(at + 4, Math.floor(value / 4294967296), true);
}

function encodeHeader(header: SegmentHeader, out: Uint8Array): void {
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength);
  view.setUint32(0, SEGMENT_MAGIC, true);
  view.setUint32(4, SEGMENT_VERSION, true);
  setU64(view, 8, header.segment);
  setU64(view, 16, header.firstIndex);
  setU64(view, 24, header.previousEnd);
  const sum = crc32c(out.subarray(0, 32), crcSeed(header.segment, 0));
  view.setUint32(32, sum, true);
}

/** Undefined for anything but an intact header of this very segment. */
export function decodeHeader(bytes: Uint8Array, segment: number): ReadHeader | undefined {
  if (bytes.length < SEGMENT_HEADER_BYTES) return undefined;
  const decoded = decodeWith(bytes.subarray(0, SEGMENT_HEADER_BYTES), (reader) => ({
    magic: reader.u32(),
    version: reader.u32(),
    segment: reader.u64(),
    firstIndex: reader.u64(),
    previousEnd: reader.u64(),
    sum: reader.u32(),
  }));
  if (!decoded.ok) return undefined;
  const { magic, version, sum, ...header } = decoded.value;
  if (magic !== SEGMENT_MAGIC || header.segment !== segment) return undefined;
  if (sum !== crc32c(bytes.subarray(0, 32), crcSeed(segment, 0))) return undefined;
  // An intact header of a later version must stop the node rather than look like damage.
  if (version < 1 || version > SEGMENT_VERSION) throw new UnknownVersionError("segment", version);
  return { ...header, hasSlots: version >= 2 };
}

/** Written by a newer version of this software: neither rot nor a torn tail, and not to be touched. */
export class UnknownVersionError extends Error {
  override readonly name = "UnknownVersionError";

  constructor(what: string, version: number) {
    super(`${what} has format version ${version}, which this version cannot read`);
  }
}

function confBytes(conf: ConfState): number {
  const { voters, votersOutgoing, learners, learnersNext } = conf;
  const ids = voters.length + votersOutgoing.length + learners.length + learnersNext.length;
  return 4 * 4 + ids * 8 + 1;
}

export function writeConf(writer: ByteWriter, conf: ConfState): void {
  for (const ids of [conf.voters, conf.votersOutgoing, conf.learners, conf.learnersNext]) {
    writer.u32(ids.length);
    for (const id of ids) writer.u64(id);
  }
  writer.u8(conf.autoLeave ? 1 : 0);
}

export function readConf(reader: ByteReader): ConfState {
  const ids = (): PeerId[] => {
    const count = reader.u32();
    if (count * 8 > reader.remaining) throw new RangeError(`${count} peers do not fit`);
    return Array.from({ length: count }, () => as<PeerId>(reader.u64()));
  };
  const voters = ids();
  const votersOutgoing = ids();
  const learners = ids();
  const learnersNext = ids();
  const flag = reader.u8();
  if (flag > 1) throw new RangeError(`flag ${flag}`);
  return { voters, votersOutgoing, learners, learnersNext, autoLeave: flag === 1 };
}

/** Bytes of the record with its frame. */
export function recordBytes(record: LogRecord): number {
  if (record.kind === "hardState") return RECORD_HEADER_BYTES + 24;
  if (record.kind === "snapshot") return RECORD_HEADER_BYTES + 17 + confBytes(record.meta.conf);
  let bytes = RECORD_HEADER_BYTES + ENTRIES_FRAME_BYTES;
  for (const entry of record.entries) bytes += entryBytes(entry);
  return bytes;
}

/** Bytes that an entry takes within a record of entries. */
export function entryBytes(entry: Entry): number {
  return ENTRY_FRAME_BYTES + entry.data.length;
}

function fillEntries(entries: readonly Entry[], out: Uint8Array, view: DataView, from: number) {
  let at = from;
  setU64(view, at, entries[0]?.index ?? 0);
  view.setUint32(at + 8, entries.length, true);
  at += ENTRIES_FRAME_BYTES;
  for (const entry of entries) {
    setU64(view, at, entry.term);
    view.setUint8(at + 8, ENTRY_KINDS.indexOf(entry.kind));
    view.setUint32(at + 9, entry.data.length, true);
    out.set(entry.data, at + ENTRY_FRAME_BYTES);
    at += ENTRY_FRAME_BYTES + entry.data.length;
  }
}

function fillPayload(record: LogRecord, out: Uint8Array, view: DataView, at: number): number {
  switch (record.kind) {
    case "entries":
      fillEntries(record.entries, out, view, at);
      return KIND_ENTRIES;
    case "hardState":
      setU64(view, at, record.hardState.term);
      setU64(view, at + 8, record.hardState.vote);
      setU64(view, at + 16, record.hardState.commit);
      return KIND_HARD_STATE;
    case "snapshot": {
      const writer = new ByteWriter(64);
      writer.u8(record.origin === "local" ? 1 : 2);
      writer.u64(record.meta.index).u64(record.meta.term);
      writeConf(writer, record.meta.conf);
      out.set(writer.finish(), at);
      return KIND_SNAPSHOT;
    }
    default:
      return unreachable(record);
  }
}

/**
 * One batch as it stands in the file at `offset`; with `header`, the batch opens the segment. `allocate`
 * gives room of so many bytes, whose old content does not matter: all of it is overwritten.
 */
export function encodeBatch(
  segment: number,
  offset: number,
  records: readonly LogRecord[],
  header?: SegmentHeader,
  allocate: (bytes: number) => Uint8Array = (bytes) => new Uint8Array(bytes),
): Uint8Array {
  assert((header !== undefined) === (offset === 0), "the header is at offset 0 and only there");
  let total = header === undefined ? 0 : SEGMENT_HEADER_BYTES;
  for (const record of records) total += recordBytes(record);
  const out = allocate(total);
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength);
  let at = 0;
  if (header !== undefined) {
    encodeHeader(header, out);
    at = SEGMENT_HEADER_BYTES;
  }
  for (const record of records) {
    const end = at + recordBytes(record);
    view.setUint32(at, end - at - RECORD_HEADER_BYTES, true);
    view.setUint32(at + 4, fillPayload(record, out, view, at + RECORD_HEADER_BYTES), true);
    view.setUint32(at + 8, recordSum(out, at, end, segment, offset + at), true);
    at = end;
  }
  return out;
}

function recordSum(
  bytes: Uint8Array,
  from: number,
  end: number,
  segment: number,
  offset: number,
): number {
  const head = crc32c(bytes.subarray(from, from + 8), crcSeed(segment, offset));
  return crc32c(bytes.subarray(from + RECORD_HEADER_BYTES, end), head);
}

function readEntries(reader: ByteReader): Entry[] {
  const first = reader.u64();
  const count = reader.u32();
  if (first === 0 || count === 0) throw new RangeError("a record of entries is not empty");
  const entries: Entry[] = [];
  for (let i = 0; i < count; i++) {
    const term = as<Term>(reader.u64());
    const kind = ENTRY_KINDS[reader.u8()];
    if (kind === undefined) throw new RangeError("unknown kind of entry");
    // A copy: a view would keep the whole segment in memory for as long as the entry lives.
    const data = reader.bytes().slice();
    entries.push({ term, index: as<LogIndex>(first + i), kind, data });
  }
  return entries;
}

function readRecord(kind: number, reader: ByteReader): LogRecord {
  if (kind === KIND_ENTRIES) return { kind: "entries", entries: readEntries(reader) };
  if (kind === KIND_HARD_STATE) {
    const term = as<Term>(reader.u64());
    const vote = reader.u64();
    const commit = as<LogIndex>(reader.u64());
    const hardState = { term, vote: vote === 0 ? (0 as const) : as<PeerId>(vote), commit };
    return { kind: "hardState", hardState };
  }
  if (kind !== KIND_SNAPSHOT) throw new UnknownVersionError("record kind", kind);
  const origin = reader.u8();
  if (origin !== 1 && origin !== 2) throw new RangeError(`origin ${origin}`);
  const index = as<LogIndex>(reader.u64());
  const term = as<Term>(reader.u64());
  const meta = { index, term, conf: readConf(reader) };
  return { kind: "snapshot", origin: origin === 1 ? "local" : "installed", meta };
}

export interface ScannedRecord {
  readonly offset: number;
  readonly end: number;
  readonly record: LogRecord;
}

export interface Scan {
  readonly records: readonly ScannedRecord[];
  /** Where the first thing that is not an intact record begins. */
  readonly end: number;
}

/**
 * Reads records from `from` on until the first that does not validate. `bytes[0]` stands at offset
 * `base` of the segment.
 */
export function scanRecords(bytes: Uint8Array, segment: number, from: number, base = 0): Scan {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const records: ScannedRecord[] = [];
  let at = from - base;
  while (at + RECORD_HEADER_BYTES <= bytes.length) {
    const length = view.getUint32(at, true);
    const end = at + RECORD_HEADER_BYTES + length;
    if (length === 0 || length > RECORD_BYTES_MAX || end > bytes.length) break;
    const sum = recordSum(bytes, at, end, segment, base + at);
    if (sum !== view.getUint32(at + 8, true)) break;
    const kind = view.getUint32(at + 4, true);
    const payload = bytes.subarray(at + RECORD_HEADER_BYTES, end);
    if (kind < KIND_ENTRIES || kind > KIND_SNAPSHOT) {
      throw new UnknownVersionError("record kind", kind);
    }
    const decoded = decodeWith(payload, (reader) => readRecord(kind, reader));
    if (!decoded.ok) break;
    records.push({ offset: base + at, end: base + end, record: decoded.value });
    at = end;
  }
  return { records, end: base + at };
}
