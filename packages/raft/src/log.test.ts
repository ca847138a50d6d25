import assert from "node:assert/strict";
import test from "node:test";
import {
  findByTerm,
  logAppend,
  logCompact,
  logLast,
  logLastTerm,
  logSlice,
  logTruncate,
  termAt,
  type RaftLog,
} from "./log.ts";
import { entry, index, term } from "./testing/solo.ts";

/** Entries of the given terms after index 5, term 2. */
function log(...terms: number[]): RaftLog {
  const entries = terms.map((each, i) => entry(6 + i, each));
  return { offset: index(5), offsetTerm: term(2), entries };
}

test("terms are known from the offset to the last index", () => {
  const l = log(3, 3, 4);
  assert.deepEqual(
    [4, 5, 6, 8, 9].map((at) => termAt(l, at)),
    [undefined, 2, 3, 4, undefined],
  );
  assert.deepEqual([logLast(l), logLastTerm(l)], [8, 4]);
  assert.deepEqual([logLast(log()), logLastTerm(log())], [5, 2]);
});

test("append and truncate keep the log contiguous and its terms ascending", () => {
  const l = log(3);
  assert.throws(() => logAppend(l, entry(8, 3)), /contiguous/);
  assert.throws(() => logAppend(l, entry(7, 2)), /never decrease/);
  logAppend(l, entry(7, 3));
  logTruncate(l, 7);
  assert.equal(logLast(l), 6);
  logTruncate(l, 60);
  assert.equal(logLast(l), 6);
  assert.throws(() => logTruncate(l, 5), /compacted/);
});

test("slices are limited in bytes and checked", () => {
  const l = log(3, 3, 3);
  assert.equal(logSlice(l, 6, 8, 1).length, 1);
  assert.equal(logSlice(l, 6, 8, 70).length, 2);
  assert.equal(logSlice(l, 6, 8, Infinity).length, 3);
  assert.throws(() => logSlice(l, 5, 8, 1), /below/);
  assert.throws(() => logSlice(l, 6, 9, 1), /beyond/);
});

test("compaction drops a prefix once", () => {
  const l = log(3, 3, 4);
  logCompact(l, index(7));
  assert.deepEqual([l.offset, l.offsetTerm, l.entries.length], [7, 3, 1]);
  logCompact(l, index(6));
  assert.equal(l.offset, 7);
});

test("findByTerm bisects to the last entry that is not newer", () => {
  const l = log(3, 3, 4, 7, 7);
  const found = (at: number, inTerm: number): number => findByTerm(l, at, inTerm);
  assert.equal(found(10, 9), 10);
  assert.equal(found(99, 9), 10);
  assert.equal(found(10, 6), 8);
  assert.equal(found(10, 3), 7);
  assert.equal(found(10, 2), 5);
  assert.equal(found(6, 4), 6);
  assert.equal(found(10, 1), 4, "older than all that is retained");
  assert.equal(found(3, 1), 3, "below all that is retained");
  assert.equal(findByTerm({ offset: index(0), offsetTerm: term(1), entries: [] }, 0, 0), 0);
});
