import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32c } from "@blixard/std";
import { Violation } from "../world/world.ts";
import { holdUnwritten } from "./log-tail.ts";

const SEGMENT_BYTES = 16 * 1024;
const SLOTS_BYTES = 3 * 4096;
const HEADER_BYTES = 36;
const RECORD_BYTES = 20;

/** Segment 1 with `count` records of 20 bytes behind its header. */
function segment(count: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(SEGMENT_BYTES + SLOTS_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.fill(9, 0, HEADER_BYTES);
  for (let n = 0; n < count; n++) {
    const at = HEADER_BYTES + n * RECORD_BYTES;
    view.setUint32(at, 8, true);
    view.setUint32(at + 4, 1, true);
    bytes.fill(n + 1, at + 12, at + RECORD_BYTES);
    // As FORMAT.md has it, for segment 1.
    const seed = (0x9e3779b1 ^ Math.imul(at, 0x85ebca6b) ^ 0x5bd1e995) >>> 0;
    const head = crc32c(bytes.subarray(at, at + 8), seed);
    view.setUint32(at + 8, crc32c(bytes.subarray(at + 12, at + RECORD_BYTES), head), true);
  }
  return bytes;
}

function isFound(bytes: Uint8Array): boolean {
  const path = "raft/seg-0000000000000001";
  try {
    holdUnwritten(1, { paths: () => [path, "raft/LOCK"], contents: () => bytes }, SEGMENT_BYTES);
    return false;
  } catch (caught) {
    if (caught instanceof Violation && caught.invariant === "what was cut is gone") return true;
    throw caught;
  }
}

test("records, then zeroes, then slots: nothing to find", () => {
  assert.equal(isFound(new Uint8Array(SEGMENT_BYTES + SLOTS_BYTES)), false);
  for (const count of [0, 1, 3]) assert.equal(isFound(segment(count)), false);
  const slotted = segment(2);
  slotted.fill(7, SEGMENT_BYTES);
  assert.equal(isFound(slotted), false);
});

test("anything behind the last record is found: a byte, a broken record, a record beyond it", () => {
  const stray = segment(2);
  stray[HEADER_BYTES + 2 * RECORD_BYTES + 100] = 1;
  assert.equal(isFound(stray), true);
  for (const at of [0, 4, 8, 12, 19]) {
    const broken = segment(3);
    const place = HEADER_BYTES + RECORD_BYTES + at;
    broken[place] = (broken[place] ?? 0) ^ 0x40;
    assert.equal(isFound(broken), true, `byte ${at}`);
  }
  const unopened = new Uint8Array(SEGMENT_BYTES + SLOTS_BYTES);
  unopened[SEGMENT_BYTES - 1] = 1;
  assert.equal(isFound(unopened), true);
});
