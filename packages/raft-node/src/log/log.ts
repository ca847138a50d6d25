/**
 * The durable log: appends in batches, one in flight at a time (group commit), reported durable by the
 * rule in watermark.ts. Segments are preallocated ahead of need, so a full disk shows before anything
 * has to be acknowledged.
 */

import { assert, present } from "@blixard/std";
import type { DiskError, DiskOp } from "@blixard/std";
import type { Entry, HardState, Persist, SnapshotMeta } from "@blixard/raft";

import { joinPath, removeFile } from "../io.ts";
import type { DiskIo, IoResult } from "../io.ts";
import { BATCH_BYTES_MAX, RECORD_BYTES_TARGET } from "../limits.ts";
import { encodeBatch, entryBytes, recordBytes, SEGMENT_HEADER_BYTES } from "./format.ts";
import { segmentName } from "./format.ts";
import type { LogRecord } from "./format.ts";
import { createSegment, removeSegments, withSync } from "./segment-files.ts";
import type { WriteOp } from "./segment-files.ts";
import type { RecoveredLog, SegmentInfo } from "./recovery.ts";
import { SLOT_HEADER_BYTES, slotOffset, SlotRoom, WATERMARK_NAME } from "./watermark.ts";
import type { Slot } from "./watermark.ts";

export interface LogDeps {
  readonly io: DiskIo;
  readonly dir: string;
  readonly segmentBytes: number;
  /** A write or sync failed: what the disk holds is unknown, and the log takes nothing more. */
  readonly onFatal: (error: DiskError) => void;
}

interface Pending {
  readonly record: LogRecord;
  readonly bytes: number;
  /** Called when this record, and all before it, are durable; on the last record of an append. */
  readonly done: (() => void) | undefined;
}

interface Batch {
  readonly segment: Segment;
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly items: readonly Pending[];
  readonly maxIndex: number;
  /** What was acknowledged when the batch was gathered: where the log ended before it. */
  readonly after: Pick<Slot, "segment" | "offset" | "opensNext">;
  readonly waiters: readonly (() => void)[];
}

type Segment = { -readonly [K in keyof SegmentInfo]: SegmentInfo[K] };

const NO_MIRROR = new Uint8Array(0);

export class Log {
  readonly #deps: LogDeps;
  readonly #slotBytes: number;
  readonly #room = new SlotRoom();
  readonly #segments: Segment[];
  #slot: Slot;
  #hardState: HardState;
  #snapshot: SnapshotMeta | undefined;
  #lastIndex: number;
  #queue: Pending[] = [];
  #head = 0;
  #queuedBytes = 0;
  #flushing = false;
  /** The newest segment must repeat hard state and snapshot before older ones may go. */
  #needsCheckpoint = true;
  /** The slot must be written even without a batch. */
  #slotWanted = false;
  #slotWaiters: (() => void)[] = [];
  #spare: Segment | undefined;
  #spareState: "none" | "creating" | "ready" | "full" = "none";
  /** Given-up segments, removed once every slot has forgotten them. */
  #doomed: { readonly segment: number; readonly sequence: number }[] = [];
  #removing = false;
  /** The last attempt to make a segment, or to write, found no room; also while it is repeated. */
  #spareFull = false;
  #writeFull = false;
  /** Set while a write waits for room. */
  #resume: (() => void) | undefined;
  #failed = false;

  constructor(deps: LogDeps, recovered: RecoveredLog) {
    this.#deps = deps;
    this.#slotBytes = recovered.slotBytes;
    this.#segments = recovered.segments.map((segment) => ({ ...segment }));
    this.#slot = recovered.slot;
    this.#hardState = recovered.contents.hardState;
    this.#snapshot = recovered.contents.snapshot;
    this.#lastIndex = recovered.contents.entries.at(-1)?.index ?? 0;
    for (const segment of recovered.leftovers) {
      this.#doomed.push({ segment, sequence: recovered.slot.sequence });
    }
  }

  /** Nothing queued and nothing in flight. */
  get idle(): boolean {
    return !this.#flushing && this.#head === this.#queue.length && !this.#slotWanted;
  }

  /** Bytes of records not yet durable. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** The disk is full: nothing can be made durable until a `retry` succeeds. */
  get stalled(): boolean {
    if (this.#writeFull) return true;
    return this.#spareFull && this.#head < this.#queue.length && !this.#flushing;
  }

  /** Changes whenever something became durable while more waits; 0 when nothing waits. */
  get flushUnderWay(): number {
    return this.idle ? 0 : this.#slot.sequence + 1;
  }

  get damaged(): boolean {
    return this.#slot.damaged;
  }

  /** Queues what the protocol asks for; `done` is called once it, and all before it, is durable. */
  append(persist: Omit<Persist, "seq">, done: () => void): void {
    const records: LogRecord[] = [];
    const { hardState, snapshot, entries } = persist;
    if (snapshot !== undefined) {
      records.push({ kind: "snapshot", origin: "installed", meta: snapshot });
    }
    this.#cut(entries, records);
    // Last: its commit may cover these entries, and must not be durable where they are not.
    if (hardState !== undefined) records.push({ kind: "hardState", hardState });
    this.#enqueue(records, done);
  }

  /** Records that a snapshot file of the node's own state is durable. */
  markSnapshot(meta: SnapshotMeta, done: () => void): void {
    this.#enqueue([{ kind: "snapshot", origin: "local", meta }], done);
  }

  /** Remembers, across restarts, that acknowledged content was lost. */
  markDamage(done: () => void): void {
    this.#slot = { ...this.#slot, damaged: true };
    this.#wantSlot(done);
  }

  /** What was lost is back: the member counts again, also after a restart. */
  clearDamage(done: () => void): void {
    this.#slot = { ...this.#slot, damaged: false };
    this.#wantSlot(done);
  }

  /** Gives up segments whose entries all have an index at or below `index`. */
  release(index: number): void {
    let count = 0;
    while (count < this.#segments.length - 1) {
      if (present(this.#segments[count], "a segment").maxIndex > index) break;
      count++;
    }
    if (count === 0) return;
    const gone = this.#segments.splice(0, count);
    const firstSegment = present(this.#segments[0], "the active segment").segment;
    this.#slot = { ...this.#slot, firstSegment };
    // The next slot is the first to say so.
    const sequence = this.#slot.sequence + (this.#flushing ? 2 : 1);
    for (const { segment } of gone) this.#doomed.push({ segment, sequence });
    this.#wantSlot(() => undefined);
  }

  /** Tries again after the disk was full. */
  retry(): void {
    if (this.#spareState === "full") {
      this.#spareState = "none";
      this.#prepareSpare();
    }
    if (this.#resume !== undefined) {
      const resume = this.#resume;
      this.#resume = undefined;
      resume();
    }
  }

  #wantSlot(done: () => void): void {
    this.#slotWanted = true;
    this.#slotWaiters.push(done);
    this.#kick();
  }

  /** Cuts entries into records of a size that batches and mirrors well. */
  #cut(entries: readonly Entry[], records: LogRecord[]): void {
    const target = Math.min(RECORD_BYTES_TARGET, Math.floor(this.#deps.segmentBytes / 4));
    let from = 0;
    let bytes = 0;
    for (let i = 0; i < entries.length; i++) {
      const size = entryBytes(present(entries[i], "an entry"));
      if (i > from && bytes + size > target) {
        records.push({ kind: "entries", entries: entries.slice(from, i) });
        from = i;
        bytes = 0;
      }
      bytes += size;
    }
    if (from < entries.length) {
      records.push({ kind: "entries", entries: from === 0 ? entries : entries.slice(from) });
    }
  }

  #enqueue(records: readonly LogRecord[], done: () => void): void {
    assert(records.length > 0, "a persist holds something");
    for (let i = 0; i < records.length; i++) {
      const record = present(records[i], "a record");
      const bytes = recordBytes(record);
      this.#queuedBytes += bytes;
      this.#queue.push({ record, bytes, done: i === records.length - 1 ? done : undefined });
    }
    this.#kick();
  }

  #kick(): void {
    if (this.#flushing || this.#failed) return;
    const first = this.#queue[this.#head];
    if (first !== undefined || (this.#needsCheckpoint && this.#slotWanted)) {
      const segment = this.#segmentFor(first?.bytes ?? 0);
      if (segment !== undefined) this.#flush(this.#gather(segment));
    } else if (this.#slotWanted) {
      this.#writeSlotOnly();
    }
  }

  #checkpoint(): LogRecord[] {
    const records: LogRecord[] = [{ kind: "hardState", hardState: this.#hardState }];
    if (this.#snapshot !== undefined) {
      records.push({ kind: "snapshot", origin: "local", meta: this.#snapshot });
    }
    return records;
  }

  #checkpointBytes(): number {
    let bytes = SEGMENT_HEADER_BYTES;
    for (const record of this.#checkpoint()) bytes += recordBytes(record);
    return bytes;
  }

  /** The segment that takes `bytes` more, or undefined when a new one must first be made. */
  #segmentFor(bytes: number): Segment | undefined {
    const active = this.#segments.at(-1);
    const extra = this.#needsCheckpoint ? this.#checkpointBytes() : 0;
    if (active !== undefined && active.end + bytes + extra <= active.sizeBytes) return active;
    const need = bytes + this.#checkpointBytes();
    const spare = this.#spare;
    if (spare === undefined || this.#spareState !== "ready") {
      if (this.#spareState === "none") this.#prepareSpare(need);
      return undefined;
    }
    if (spare.sizeBytes < need) {
      this.#replaceSpare(need);
      return undefined;
    }
    this.#spare = undefined;
    this.#spareState = "none";
    this.#segments.push(spare);
    return spare;
  }

  /** As many queued records as fit into the segment and a batch. */
  #gather(segment: Segment): Batch {
    const records: LogRecord[] = [];
    const items: Pending[] = [];
    const offset = segment.end;
    const firstIndex = this.#lastIndex + 1;
    let bytes = offset === 0 ? SEGMENT_HEADER_BYTES : 0;
    if (offset === 0 || this.#needsCheckpoint) {
      for (const record of this.#checkpoint()) {
        records.push(record);
        bytes += recordBytes(record);
      }
      this.#needsCheckpoint = false;
    }
    let maxIndex = 0;
    while (this.#head < this.#queue.length) {
      const item = present(this.#queue[this.#head], "a queued record");
      if (offset + bytes + item.bytes > segment.sizeBytes) break;
      if (items.length > 0 && bytes + item.bytes > BATCH_BYTES_MAX) break;
      this.#head++;
      bytes += item.bytes;
      items.push(item);
      records.push(item.record);
      maxIndex = Math.max(maxIndex, this.#note(item.record));
    }
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
    }
    const encoded = this.#encode(segment, records, firstIndex, bytes);
    assert(encoded.length === bytes, "record sizes are exact");
    const previous = this.#segments.at(-2);
    const after =
      offset > 0
        ? { segment: segment.segment, offset, opensNext: false }
        : { segment: segment.segment - 1, offset: previous?.end ?? 0, opensNext: true };
    const waiters = this.#takeWaiters();
    return { segment, offset, bytes: encoded, items, maxIndex, after, waiters };
  }

  /** One batch is in flight at a time, so that one room is enough for all that a mirror can hold. */
  #encode(
    { segment, end }: Segment,
    records: readonly LogRecord[],
    firstIndex: number,
    bytes: number,
  ): Uint8Array {
    const isMirrored = bytes <= this.#slotBytes - SLOT_HEADER_BYTES;
    const allocate = isMirrored ? (count: number) => this.#room.batch(count) : undefined;
    const previousEnd = this.#segments.at(-2)?.end ?? 0;
    const header = end > 0 ? undefined : { segment, firstIndex, previousEnd };
    return encodeBatch(segment, end, records, header, allocate);
  }

  /** Follows the latest hard state and snapshot; returns the record's largest index. */
  #note(record: LogRecord): number {
    if (record.kind === "hardState") this.#hardState = record.hardState;
    if (record.kind === "snapshot") {
      this.#snapshot = record.meta;
      if (record.origin === "installed") this.#lastIndex = record.meta.index;
    }
    if (record.kind !== "entries") return 0;
    this.#lastIndex = record.entries.at(-1)?.index ?? this.#lastIndex;
    return this.#lastIndex;
  }

  #flush(batch: Batch): void {
    this.#flushing = true;
    const { segment, offset, bytes } = batch;
    const path = joinPath(this.#deps.dir, segmentName(segment.segment));
    const write = { kind: "write", path, offset, data: bytes } as const;
    const sync = { kind: "sync", path } as const;
    const mirrored = bytes.length <= this.#slotBytes - SLOT_HEADER_BYTES;
    const end = { segment: segment.segment, offset: offset + bytes.length, opensNext: false };
    const slot = this.#nextSlot(mirrored ? { ...batch.after, mirror: bytes } : end);
    const slots = mirrored ? this.#slotWrites(slot, segment, offset === 0) : [];
    const own = slots.filter((op) => op.path === path);
    const others = slots.filter((op) => op.path !== path);
    // The batch before its slot: whatever goes astray on the way, they are not both hit.
    const ops: DiskOp[] = [write, ...own, sync, ...others.flatMap(withSync)];
    this.#deps.io.submitAll(ops, (results) => {
      if (!this.#check(ops, results, () => this.#flush(batch))) return;
      if (mirrored) this.#flushed(batch, slot);
      else this.#submitSlot(slot, segment, offset === 0, () => this.#flushed(batch, slot));
    });
  }

  #nextSlot(where: Partial<Slot>): Slot {
    const { term, vote } = this.#hardState;
    const sequence = this.#slot.sequence + 1;
    return { ...this.#slot, mirror: NO_MIRROR, opensNext: false, ...where, sequence, term, vote };
  }

  /**
   * A slot stands behind the segment that it speaks of. In the watermark file it stands as well where
   * a segment is opened or term or vote are new: they survive the loss of the segment as a whole.
   */
  #slotWrites(slot: Slot, home: Segment | undefined, isOpening: boolean): WriteOp[] {
    const data = this.#room.slot(slot);
    const at = slotOffset(slot.sequence, this.#slotBytes);
    const writes: WriteOp[] = [];
    if (home?.hasSlots === true) {
      const path = joinPath(this.#deps.dir, segmentName(home.segment));
      writes.push({ kind: "write", path, offset: home.sizeBytes + at, data });
    }
    const isVote = slot.term !== this.#slot.term || slot.vote !== this.#slot.vote;
    if (home?.hasSlots !== true || isOpening || isVote) {
      const path = joinPath(this.#deps.dir, WATERMARK_NAME);
      writes.push({ kind: "write", path, offset: at, data });
    }
    return writes;
  }

  #submitSlot(slot: Slot, home: Segment | undefined, isOpening: boolean, done: () => void): void {
    const ops = this.#slotWrites(slot, home, isOpening).flatMap(withSync);
    this.#deps.io.submitAll(ops, (results) => {
      const again = (): void => this.#submitSlot(slot, home, isOpening, done);
      if (this.#check(ops, results, again)) done();
    });
  }

  #writeSlotOnly(): void {
    const active = this.#segments.at(-1);
    this.#flushing = true;
    const where = active === undefined ? {} : { segment: active.segment, offset: active.end };
    const waiters = this.#takeWaiters();
    const slot = this.#nextSlot(where);
    this.#submitSlot(slot, active, false, () => this.#settled(slot, waiters));
  }

  #takeWaiters(): (() => void)[] {
    const waiters = this.#slotWaiters;
    this.#slotWaiters = [];
    this.#slotWanted = false;
    return waiters;
  }

  /**
   * False when the operations failed. A write without room is tried again by `retry`, as nothing of it
   * was reported; after a failed sync nobody knows what the disk holds, so it is never tried again.
   */
  #check(ops: readonly DiskOp[], results: readonly IoResult[], again: () => void): boolean {
    const failed = results.filter((result) => !result.ok).map((result) => result.error);
    if (failed.length === 0) return true;
    const worst = failed.find((error) => error.code !== "NoSpace");
    const synced = results.every((result, at) => ops[at]?.kind !== "sync" || result.ok);
    if (worst === undefined && synced) {
      this.#writeFull = true;
      this.#resume = again;
      return false;
    }
    this.#fail(worst ?? present(failed[0], "the failure"));
    return false;
  }

  #fail(error: DiskError): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#deps.onFatal(error);
  }

  #flushed(batch: Batch, slot: Slot): void {
    batch.segment.end = batch.offset + batch.bytes.length;
    batch.segment.maxIndex = Math.max(batch.segment.maxIndex, batch.maxIndex);
    const done = [...batch.waiters];
    for (const item of batch.items) {
      this.#queuedBytes -= item.bytes;
      if (item.done !== undefined) done.push(item.done);
    }
    this.#settled(slot, done);
  }

  #settled(slot: Slot, done: readonly (() => void)[]): void {
    const { firstSegment, damaged } = this.#slot;
    this.#writeFull = false;
    this.#slot = { ...slot, mirror: NO_MIRROR, firstSegment, damaged };
    this.#flushing = false;
    // The next batch goes out before the callbacks, which may take a while.
    this.#kick();
    for (const call of done) call();
    this.#prepareSpare();
    this.#removeDoomed();
  }

  #nextSegmentId(): number {
    const active = this.#segments.at(-1);
    return active === undefined ? Math.max(1, this.#slot.segment) : active.segment + 1;
  }

  #prepareSpare(need = 0): void {
    if (this.#spareState !== "none" || this.#failed) return;
    const segment = this.#nextSegmentId();
    const sizeBytes = Math.max(this.#deps.segmentBytes, need);
    this.#spareState = "creating";
    const task = createSegment(this.#deps.dir, segment, sizeBytes, this.#slotBytes);
    this.#deps.io.run(task, (result) => {
      if (result.ok && result.value === "created") {
        this.#spare = { segment, sizeBytes, hasSlots: true, end: 0, maxIndex: 0 };
        this.#spareState = "ready";
        this.#spareFull = false;
        this.#kick();
      } else if (result.ok) {
        this.#spareState = "full";
        this.#spareFull = true;
      } else {
        this.#fail(result.error);
      }
    });
  }

  /** An entry larger than a segment gets a segment of its own size. */
  #replaceSpare(need: number): void {
    const spare = present(this.#spare, "the spare segment");
    this.#spareState = "creating";
    this.#spare = undefined;
    const path = joinPath(this.#deps.dir, segmentName(spare.segment));
    this.#deps.io.run(removeFile(path), (result) => {
      if (!result.ok) {
        this.#fail(result.error);
        return;
      }
      this.#spareState = "none";
      this.#prepareSpare(need);
    });
  }

  #removeDoomed(): void {
    // Older slots still name them: were they gone and the newest slot rotten, they would be missed.
    const ripe = this.#doomed.filter(({ sequence }) => this.#slot.sequence >= sequence + 2);
    if (ripe.length === 0 || this.#removing || this.#failed) return;
    this.#removing = true;
    this.#deps.io.run(removeSegments(this.#deps.dir, ripe), (result) => {
      this.#removing = false;
      if (result.ok) this.#doomed = this.#doomed.filter((doomed) => !ripe.includes(doomed));
      else this.#fail(result.error);
    });
  }
}
