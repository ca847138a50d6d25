/**
 * Opening the log after a stop of any kind (the rule is in watermark.ts). Reads every live segment,
 * writes back a mirrored batch that is bad in its segment, cuts a torn tail, and leaves the folder in a
 * state in which whatever was read is durable.
 */

import { as, assert } from "@blixard/std";
import type { Term } from "@blixard/std";
import type { DiskOp } from "@blixard/std";

import { fileSize, joinPath, listNames, perform, readRange, removeFile } from "../io.ts";
import type { IoTask } from "../io.ts";
import { WATERMARK_SLOT_BYTES_MIN, WATERMARK_SLOTS } from "../limits.ts";
import {
  decodeHeader,
  parseSegmentName,
  scanRecords,
  SEGMENT_HEADER_BYTES,
  segmentName,
} from "./format.ts";
import type { LogRecord, ReadHeader } from "./format.ts";
import { laterHardState, Replay } from "./replay.ts";
import type { LogContents } from "./replay.ts";
import {
  decodeSegmentSlots,
  decodeWatermark,
  encodeSlot,
  mirrorPlace,
  slotBytesFor,
  slotOffset,
  WATERMARK_NAME,
} from "./watermark.ts";
import type { Slot, Watermark } from "./watermark.ts";

const READ_BYTES = 4 * 1024 * 1024;

export interface Damage {
  readonly segment: number;
  readonly offset: number;
  readonly reason: string;
}

export interface SegmentInfo {
  readonly segment: number;
  /** Of its log area. */
  readonly sizeBytes: number;
  /** Slots stand behind the log area. */
  readonly hasSlots: boolean;
  /** Where the next record goes. */
  readonly end: number;
  /** Largest index of an entry in it, 0 for none. */
  readonly maxIndex: number;
}

export interface RecoveredLog {
  readonly contents: LogContents;
  /** Acknowledged records were lost here, now or in an earlier start (then without a place). */
  readonly damage: Damage | undefined;
  readonly segments: readonly SegmentInfo[];
  readonly slotBytes: number;
  /** The newest slot, which this recovery wrote. */
  readonly slot: Slot;
  /** Segments given up before the crash whose files still exist. */
  readonly leftovers: readonly number[];
  /** True when the folder held no log at all. */
  readonly fresh: boolean;
  /** Nothing was accepted and nothing erased: whoever restores what is damaged finds all the rest. */
  readonly untouched: boolean;
}

export interface RecoverOptions {
  /** The index of the newest intact snapshot; what it replaces may have rotted. */
  readonly covered?: number;
  /**
   * Asked when acknowledged records were lost: whether the rest may be given up, because others have
   * all of it. Without: yes.
   */
  readonly mayGiveUp?: (contents: LogContents) => boolean;
}

interface Loaded {
  readonly segment: number;
  /** The log area. */
  readonly bytes: Uint8Array;
  readonly header: ReadHeader | undefined;
}

/** What tells how far the log was acknowledged. */
interface Marks extends Watermark {
  /** Of these, the watermark file holds so many that validate; undefined: there is no such file. */
  readonly inFile: number | undefined;
  /** Segments behind whose log area a slot validates. */
  readonly inSegments: ReadonlySet<number>;
}

export function* recoverLog(
  dir: string,
  segmentBytes: number,
  options: RecoverOptions = {},
): IoTask<RecoveredLog> {
  const names = yield* listNames(dir);
  const ids: number[] = [];
  for (const name of names) {
    const id = parseSegmentName(name);
    if (id !== undefined) ids.push(id);
  }
  ids.sort((a, b) => a - b);
  const marks = yield* readMarks(dir, ids, names.includes(WATERMARK_NAME), segmentBytes);
  if (marks.slots.length === 0 && (yield* looksFresh(dir, ids, names))) {
    return yield* formatLog(dir, segmentBytes, ids, marks.inFile !== undefined);
  }
  return yield* recoverExisting(dir, options, ids, marks);
}

/** The slots of the watermark file and of all segments, newest first. */
function* readMarks(
  dir: string,
  ids: readonly number[],
  hasFile: boolean,
  segmentBytes: number,
): IoTask<Marks> {
  const file = hasFile
    ? decodeWatermark(yield* readWhole(joinPath(dir, WATERMARK_NAME)))
    : undefined;
  const isSized = file !== undefined && file.slotBytes >= WATERMARK_SLOT_BYTES_MIN;
  const slotBytes = isSized ? file.slotBytes : slotBytesFor(segmentBytes);
  const areaBytes = slotBytes * WATERMARK_SLOTS;
  const slots: Slot[] = [...(file?.slots ?? [])];
  const inSegments = new Set<number>();
  for (const id of ids) {
    const path = joinPath(dir, segmentName(id));
    const size = yield* fileSize(path);
    if (size <= areaBytes) continue;
    const found = decodeSegmentSlots(yield* readRange(path, size - areaBytes, areaBytes), id);
    slots.push(...found);
    if (found.length > 0) inSegments.add(id);
  }
  slots.sort((a, b) => b.sequence - a.sequence);
  return { slotBytes, slots, inFile: file?.slots.length, inSegments };
}

/** A crash during the very first start leaves no slot, and neither a record nor a snapshot. */
function* looksFresh(
  dir: string,
  ids: readonly number[],
  names: readonly string[],
): IoTask<boolean> {
  if (names.some((name) => name.startsWith("snap-"))) return false;
  for (const id of ids) {
    const head = yield* readRange(joinPath(dir, segmentName(id)), 0, SEGMENT_HEADER_BYTES);
    if (head.some((byte) => byte !== 0)) return false;
  }
  return true;
}

function* formatLog(
  dir: string,
  segmentBytes: number,
  ids: readonly number[],
  hasWatermark: boolean,
): IoTask<RecoveredLog> {
  for (const id of ids) yield* removeFile(joinPath(dir, segmentName(id)));
  if (hasWatermark) yield* removeFile(joinPath(dir, WATERMARK_NAME));
  const slotBytes = slotBytesFor(segmentBytes);
  const slot = yield* createWatermark(dir, slotBytes, {
    sequence: 1,
    firstSegment: 1,
    segment: 1,
    offset: 0,
    damaged: false,
    term: as<Term>(0),
    vote: 0,
    mirror: new Uint8Array(0),
    opensNext: false,
  });
  return {
    contents: new Replay().contents(),
    damage: undefined,
    segments: [],
    slotBytes,
    slot,
    leftovers: [],
    fresh: true,
    untouched: false,
  };
}

function* createWatermark(dir: string, slotBytes: number, slot: Slot): IoTask<Slot> {
  const path = joinPath(dir, WATERMARK_NAME);
  yield* perform(
    { kind: "create", path, sizeBytes: slotBytes * WATERMARK_SLOTS },
    { kind: "write", path, offset: slotOffset(slot.sequence, slotBytes), data: encodeSlot(slot) },
    { kind: "sync", path },
  );
  yield* perform({ kind: "syncDir", dir });
  return slot;
}

function* readWhole(path: string): IoTask<Uint8Array> {
  const size = yield* fileSize(path);
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += READ_BYTES) {
    const part = yield* readRange(path, at, Math.min(READ_BYTES, size - at));
    bytes.set(part, at);
  }
  return bytes;
}

/** True when every byte of the mirrored batch validates as records of its place. */
function wholeMirror(slot: Slot): boolean {
  if (slot.mirror.length === 0) return false;
  const { segment, offset } = mirrorPlace(slot);
  if (offset === 0 && decodeHeader(slot.mirror, segment) === undefined) return false;
  const from = offset === 0 ? SEGMENT_HEADER_BYTES : offset;
  return scanRecords(slot.mirror, segment, from, offset).end === offset + slot.mirror.length;
}

/** How far the log must be intact; beyond it, what does not validate was never acknowledged. */
function acknowledged(slot: Slot): { readonly segment: number; readonly offset: number } {
  if (!wholeMirror(slot)) return { segment: slot.segment, offset: slot.offset };
  const { segment, offset } = mirrorPlace(slot);
  return { segment, offset: offset + slot.mirror.length };
}

/** Puts the mirrored batch where it belongs; false when the segment already holds it. */
function* writeBack(dir: string, slot: Slot, loaded: Uint8Array): IoTask<boolean> {
  const { segment, offset } = mirrorPlace(slot);
  const there = loaded.subarray(offset, offset + slot.mirror.length);
  if (there.length === slot.mirror.length && there.every((b, i) => b === slot.mirror[i])) {
    return false;
  }
  const path = joinPath(dir, segmentName(segment));
  yield* perform({ kind: "write", path, offset, data: slot.mirror }, { kind: "sync", path });
  return true;
}

function* loadSegment(
  dir: string,
  id: number,
  { slots: [newest], slotBytes }: Watermark,
): IoTask<Loaded> {
  const path = joinPath(dir, segmentName(id));
  let bytes = yield* readWhole(path);
  if (newest !== undefined && mirrorPlace(newest).segment === id && wholeMirror(newest)) {
    if (yield* writeBack(dir, newest, bytes)) bytes = yield* readWhole(path);
  }
  const header = decodeHeader(bytes, id);
  const end = bytes.length - (header?.hasSlots === true ? slotBytes * WATERMARK_SLOTS : 0);
  return { segment: id, bytes: bytes.subarray(0, end), header };
}

interface Walk {
  readonly replay: Replay;
  readonly segments: SegmentInfo[];
  /** The segment that the walk began at, and the index that came next when it was opened. */
  readonly first: number;
  firstIndex: number;
  damage: Damage | undefined;
}

/** Records of one segment into the replay; returns where they end, or where they stop making sense. */
function replaySegment(walk: Walk, loaded: Loaded): { end: number; reason: string | undefined } {
  const scan = scanRecords(loaded.bytes, loaded.segment, SEGMENT_HEADER_BYTES);
  let maxIndex = 0;
  let end = scan.end;
  let reason: string | undefined;
  for (const { offset, record } of scan.records) {
    reason = walk.replay.add(record);
    if (reason !== undefined) {
      end = offset;
      break;
    }
    maxIndex = Math.max(maxIndex, lastIndexOf(record));
  }
  walk.segments.push({
    segment: loaded.segment,
    sizeBytes: loaded.bytes.length,
    hasSlots: loaded.header?.hasSlots === true,
    end,
    maxIndex,
  });
  return { end, reason };
}

function lastIndexOf(record: LogRecord): number {
  return record.kind === "entries" ? (record.entries.at(-1)?.index ?? 0) : 0;
}

function* walkSegments(
  dir: string,
  ids: readonly number[],
  first: number,
  marks: Marks,
): IoTask<Walk> {
  const [slot] = marks.slots;
  const walk: Walk = {
    replay: new Replay(),
    segments: [],
    first,
    firstIndex: 0,
    damage: undefined,
  };
  const bad = (segment: number, offset: number, reason: string): Walk => {
    walk.damage = { segment, offset, reason };
    return walk;
  };
  const present = new Set(ids);
  const acked = slot === undefined ? { segment: 0, offset: 0 } : acknowledged(slot);
  const through = acked.offset > 0 ? acked.segment : acked.segment - 1;
  let loaded: Loaded | undefined;
  for (let id = first; ; id++) {
    if (!present.has(id)) {
      if (id <= through) return bad(id, 0, "the segment is missing");
      return walk;
    }
    loaded ??= yield* loadSegment(dir, id, marks);
    if (loaded.header === undefined) {
      if (id <= through) return bad(id, 0, "the segment's header does not validate");
      return walk;
    }
    if (id === first) walk.firstIndex = loaded.header.firstIndex;
    const next: Loaded | undefined = present.has(id + 1)
      ? yield* loadSegment(dir, id + 1, marks)
      : undefined;
    const { end, reason } = replaySegment(walk, loaded);
    if (reason !== undefined) return bad(id, end, reason);
    // A header is written with its segment's first batch, so all before it had been acknowledged.
    const here = loaded.segment === acked.segment ? acked.offset : 0;
    if (end < (next?.header?.previousEnd ?? here)) {
      return bad(id, end, "a record below the durable watermark does not validate");
    }
    // The segment's opening batch was acknowledged, so its slot stands here, and what follows came with
    // another: one of them may be torn, not both.
    const isBeyond = id === acked.segment && acked.offset > 0 && end > acked.offset;
    if (isBeyond && loaded.header.hasSlots && !marks.inSegments.has(id)) {
      return bad(id, end, "no slot behind the segment validates");
    }
    loaded = next;
  }
}

/**
 * Rot in segments that an intact snapshot has made superfluous loses nothing: the log then begins behind
 * them. It does when the first entry behind the rot, or the one that was to come next, follows the
 * snapshot or lies within it; hard state and snapshot stand at each segment's beginning.
 */
function* walkBehindRot(
  dir: string,
  ids: readonly number[],
  first: number,
  marks: Marks,
  covered: number,
): IoTask<Walk> {
  const whole = yield* walkSegments(dir, ids, first, marks);
  if (covered === 0) return whole;
  let damage = whole.damage;
  while (damage !== undefined && ids.includes(damage.segment + 1)) {
    const rest = yield* walkSegments(dir, ids, damage.segment + 1, marks);
    damage = rest.damage;
    if (damage !== undefined) continue;
    const begins = rest.replay.contents().entries[0]?.index ?? rest.firstIndex;
    return rest.segments.length > 0 && begins <= covered + 1 ? rest : whole;
  }
  return whole;
}

function* recoverExisting(
  dir: string,
  { covered = 0, mayGiveUp = () => true }: RecoverOptions,
  ids: readonly number[],
  marks: Marks,
): IoTask<RecoveredLog> {
  const [newest] = marks.slots;
  const live = newest?.firstSegment ?? startOfLastRun(ids);
  const walk = yield* walkBehindRot(dir, ids, live, marks, covered);
  const { first } = walk;
  if (newest === undefined && walk.damage === undefined) {
    const last = walk.segments.at(-1);
    const where = { segment: last?.segment ?? first, offset: last?.end ?? 0 };
    walk.damage = { ...where, reason: "no slot of the watermark validates" };
  }
  const read = walk.replay.contents();
  const hardState = newest === undefined ? read.hardState : laterHardState(read.hardState, newest);
  const segments = walk.segments;
  const last = segments.at(-1);
  const slot: Slot = {
    sequence: (newest?.sequence ?? 0) + 1,
    firstSegment: first,
    segment: last?.segment ?? first,
    offset: last?.end ?? 0,
    damaged: walk.damage !== undefined || newest?.damaged === true,
    term: hardState.term,
    vote: hardState.vote,
    mirror: new Uint8Array(0),
    opensNext: false,
  };
  const contents = { ...read, hardState };
  const untouched = slot.damaged && !mayGiveUp(contents);
  if (!untouched) yield* settle(dir, ids, slot, last, marks);
  const earlier = {
    segment: slot.segment,
    offset: slot.offset,
    reason: "lost in an earlier start",
  };
  return {
    contents,
    damage: walk.damage ?? (slot.damaged ? earlier : undefined),
    segments,
    slotBytes: marks.slotBytes,
    slot,
    leftovers: ids.filter((id) => id < first),
    fresh: false,
    untouched,
  };
}

/** Makes what was read durable and what was not accepted vanish, the verdict before the erasure. */
function* settle(
  dir: string,
  ids: readonly number[],
  slot: Slot,
  last: SegmentInfo | undefined,
  { slotBytes, inFile }: Marks,
): IoTask<void> {
  const isKept = last !== undefined && slot.offset > 0;
  const path = isKept ? joinPath(dir, segmentName(last.segment)) : "";
  // Read from the page cache of a killed process, perhaps: acknowledged only once it is durable.
  if (isKept) yield* perform({ kind: "sync", path });
  if (inFile === undefined || inFile === 0) {
    if (inFile === 0) yield* removeFile(joinPath(dir, WATERMARK_NAME));
    yield* createWatermark(dir, slotBytes, slot);
  } else {
    const watermark = joinPath(dir, WATERMARK_NAME);
    const offset = slotOffset(slot.sequence, slotBytes);
    yield* perform(
      { kind: "write", path: watermark, offset, data: encodeSlot(slot) },
      { kind: "sync", path: watermark },
    );
  }
  if (isKept && last.hasSlots) {
    const offset = last.sizeBytes + slotOffset(slot.sequence, slotBytes);
    yield* perform({ kind: "write", path, offset, data: encodeSlot(slot) }, { kind: "sync", path });
  }
  for (const id of ids) {
    const gone = id > slot.segment || (id === slot.segment && slot.offset === 0);
    if (gone) yield* removeFile(joinPath(dir, segmentName(id)));
  }
  yield* perform({ kind: "syncDir", dir });
  if (isKept) yield* eraseTail(path, last.sizeBytes, slot.offset);
}

/** Zeroes, durably, everything after the last accepted record, so that stale bytes never come back. */
function* eraseTail(path: string, sizeBytes: number, end: number): IoTask<void> {
  const bytes = (yield* readWhole(path)).subarray(0, sizeBytes);
  let last = bytes.length;
  while (last > end && bytes[last - 1] === 0) last--;
  const ops: DiskOp[] = [];
  for (let at = end; at < last; at += READ_BYTES) {
    const data = new Uint8Array(Math.min(READ_BYTES, last - at));
    ops.push({ kind: "write", path, offset: at, data });
  }
  if (ops.length === 0) return;
  yield* perform(...ops, { kind: "sync", path });
}

function startOfLastRun(ids: readonly number[]): number {
  let first = ids.at(-1) ?? 1;
  assert(Number.isSafeInteger(first), "segment ids are safe integers");
  while (ids.includes(first - 1)) first--;
  return first;
}
