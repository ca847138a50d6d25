/**
 * The durable watermark: what was acknowledged, kept apart from the log itself.
 *
 * The rule. A batch is acknowledged only when BOTH its bytes in the segment AND its slot are durable.
 * A slot stands behind the log area of the segment that it speaks of, so that one sync covers both;
 * those of a batch that opens a segment, or brings another term or vote, stand in the watermark file
 * as well, so that a segment lost as a whole is missed, and term and vote are not lost with it.
 * Slot n says: everything before (segment, offset) was acknowledged, because batch n was only
 * submitted after batch n-1 had been. It also carries a copy of batch n itself (the mirror). Hence
 * after a crash
 *   - below `offset`, a bad record is rot;
 *   - batch n bad in the segment but whole in the mirror: it is written back; whether it was torn (never
 *     acknowledged) or has rotted no longer matters, as completing a batch that was in flight is allowed;
 *   - batch n bad in the segment and the mirror torn: the slot never became durable, so the batch was
 *     never acknowledged: a torn tail, cut;
 *   - batch n good in the segment: kept.
 * There is no window between acknowledgement and watermark, and an honest crash is never taken for rot.
 * A batch too large for a slot is synced first, then its slot (without a mirror, `offset` at the batch's
 * end), then acknowledged: two syncs in a row, the same rule.
 *
 * Three slots are written in turn: a crash may tear the one being written and rot may take another, and
 * the third still stands (one batch older; the batch after it is then whole in the segment).
 *
 * Term and vote are in every slot, so that a rotten vote in the log is not forgotten. So is `damaged`:
 * a member that lost acknowledged entries stays damaged across restarts until it was repaired.
 */

import { as, assert, crc32c, decodeWith } from "@blixard/std";
import type { PeerId, Term } from "@blixard/std";

import { WATERMARK_SLOT_BYTES_MAX, WATERMARK_SLOT_BYTES_MIN, WATERMARK_SLOTS } from "../limits.ts";
import { UnknownVersionError } from "./format.ts";

export const WATERMARK_MAGIC = 0x4d575842; // "BXWM" in file order
export const WATERMARK_VERSION = 1;
export const SLOT_HEADER_BYTES = 64;
export const WATERMARK_NAME = "watermark";

export interface Slot {
  /** 1, 2, 3 ...: the newest intact slot counts. Slot number `sequence % WATERMARK_SLOTS`. */
  readonly sequence: number;
  /** Segments before it were given up; a file of one that a crash left behind is removed. */
  readonly firstSegment: number;
  readonly segment: number;
  /** Everything before this offset of `segment`, and all earlier segments, was acknowledged. */
  readonly offset: number;
  readonly damaged: boolean;
  readonly term: Term;
  readonly vote: PeerId | 0;
  /** The batch that was in flight; empty when there is none. May be torn: its records tell. */
  readonly mirror: Uint8Array;
  /** The mirrored batch opens the segment after `segment` instead of following `offset`. */
  readonly opensNext: boolean;
}

/** Where the mirrored batch stands in the log. */
export function mirrorPlace(slot: Slot): { readonly segment: number; readonly offset: number } {
  if (slot.opensNext) return { segment: slot.segment + 1, offset: 0 };
  return { segment: slot.segment, offset: slot.offset };
}

/** Small segments, as in the simulator, get small slots. */
export function slotBytesFor(segmentBytes: number): number {
  const quarter = Math.floor(segmentBytes / 4 / 4096) * 4096;
  return Math.min(WATERMARK_SLOT_BYTES_MAX, Math.max(WATERMARK_SLOT_BYTES_MIN, quarter));
}

/** A batch that was encoded into such room is written as a slot's mirror without being copied again. */
export class SlotRoom {
  #bytes = new Uint8Array(4096);

  /** Room for a batch; whatever was there before is gone. */
  batch(bytes: number): Uint8Array {
    const need = SLOT_HEADER_BYTES + bytes;
    if (need > this.#bytes.length) this.#bytes = new Uint8Array(need * 2);
    return this.#bytes.subarray(SLOT_HEADER_BYTES, need);
  }

  /** The slot, as encodeSlot would make it. */
  slot(slot: Slot): Uint8Array {
    const { mirror } = slot;
    const isHere = mirror.buffer === this.#bytes.buffer && mirror.byteOffset === SLOT_HEADER_BYTES;
    if (!isHere) return encodeSlot(slot);
    return fillSlot(slot, this.#bytes.subarray(0, SLOT_HEADER_BYTES + mirror.length));
  }
}

export function encodeSlot(slot: Slot): Uint8Array {
  const out = new Uint8Array(SLOT_HEADER_BYTES + slot.mirror.length);
  out.set(slot.mirror, SLOT_HEADER_BYTES);
  return fillSlot(slot, out);
}

/** Writes the header in front of the mirror. */
function fillSlot(slot: Slot, out: Uint8Array): Uint8Array {
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength);
  const u64 = (at: number, value: number): void => {
    view.setUint32(at, value % 4294967296, true);
    view.setUint32(at + 4, Math.floor(value / 4294967296), true);
  };
  view.setUint32(0, WATERMARK_MAGIC, true);
  view.setUint16(4, WATERMARK_VERSION, true);
  view.setUint16(6, (slot.damaged ? 1 : 0) | (slot.opensNext ? 2 : 0), true);
  u64(8, slot.sequence);
  u64(16, slot.firstSegment);
  u64(24, slot.segment);
  u64(32, slot.offset);
  view.setUint32(40, slot.mirror.length, true);
  u64(44, slot.term);
  u64(52, slot.vote);
  // Seeded with the slot's number: a slot written to the wrong place does not validate.
  view.setUint32(60, crc32c(out.subarray(0, 60), slot.sequence % WATERMARK_SLOTS), true);
  return out;
}

function decodeSlot(bytes: Uint8Array, number: number): Slot | undefined {
  const decoded = decodeWith(bytes.subarray(0, SLOT_HEADER_BYTES), (reader) => ({
    magic: reader.u32(),
    version: reader.u16(),
    flags: reader.u16(),
    sequence: reader.u64(),
    firstSegment: reader.u64(),
    segment: reader.u64(),
    offset: reader.u64(),
    mirrorBytes: reader.u32(),
    term: reader.u64(),
    vote: reader.u64(),
    sum: reader.u32(),
  }));
  if (!decoded.ok) return undefined;
  const raw = decoded.value;
  if (raw.magic !== WATERMARK_MAGIC || raw.sum !== crc32c(bytes.subarray(0, 60), number)) {
    return undefined;
  }
  if (raw.version !== WATERMARK_VERSION) throw new UnknownVersionError("watermark", raw.version);
  if (raw.sequence % WATERMARK_SLOTS !== number) return undefined;
  if (raw.mirrorBytes > bytes.length - SLOT_HEADER_BYTES) return undefined;
  return {
    sequence: raw.sequence,
    firstSegment: raw.firstSegment,
    segment: raw.segment,
    offset: raw.offset,
    damaged: (raw.flags & 1) === 1,
    term: as<Term>(raw.term),
    vote: raw.vote === 0 ? 0 : as<PeerId>(raw.vote),
    mirror: bytes.slice(SLOT_HEADER_BYTES, SLOT_HEADER_BYTES + raw.mirrorBytes),
    opensNext: (raw.flags & 2) === 2,
  };
}

export interface Watermark {
  readonly slotBytes: number;
  /** Intact slots, newest first. */
  readonly slots: readonly Slot[];
}

export function decodeWatermark(bytes: Uint8Array): Watermark {
  const slotBytes = Math.floor(bytes.length / WATERMARK_SLOTS);
  const slots: Slot[] = [];
  for (let number = 0; number < WATERMARK_SLOTS; number++) {
    const slot = decodeSlot(bytes.subarray(number * slotBytes, (number + 1) * slotBytes), number);
    if (slot !== undefined) slots.push(slot);
  }
  slots.sort((a, b) => b.sequence - a.sequence);
  return { slotBytes, slots };
}

/** Slots found behind the log area of segment `id`; `area` is that part of its file. */
export function decodeSegmentSlots(area: Uint8Array, id: number): readonly Slot[] {
  // Slots of another segment are bytes of a misdirected write, or of an earlier life of the file.
  return decodeWatermark(area).slots.filter(
    ({ segment, opensNext }) => segment === id || (opensNext && segment + 1 === id),
  );
}

/** Where the slot of this sequence number stands in the file. */
export function slotOffset(sequence: number, slotBytes: number): number {
  assert(slotBytes >= WATERMARK_SLOT_BYTES_MIN, "a slot has room for its header");
  return (sequence % WATERMARK_SLOTS) * slotBytes;
}
