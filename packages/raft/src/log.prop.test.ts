/** The log against plain arrays, and back-tracking against trying every index. */

import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import {
  entryBytes,
  findByTerm,
  logAppend,
  logCompact,
  logLast,
  logSlice,
  logTruncate,
  termAt,
  type RaftLog,
} from "./log.ts";
import { entry, index, term } from "./testing/solo.ts";

function logOf(offset: number, offsetTerm: number, steps: readonly number[]): RaftLog {
  const log: RaftLog = { offset: index(offset), offsetTerm: term(offsetTerm), entries: [] };
  let inTerm = offsetTerm;
  for (const [i, step] of steps.entries()) {
    inTerm += step;
    logAppend(log, entry(offset + 1 + i, inTerm));
  }
  return log;
}

const steps = fc.array(fc.constantFrom(0, 0, 0, 1, 2), { maxLength: 20 });
const offset = fc.nat({ max: 5 });

test("property: appended, cut and compacted like an array", () => {
  const action = fc.record({
    kind: fc.constantFrom("append" as const, "truncate" as const, "compact" as const),
    at: fc.nat({ max: 30 }),
  });
  fc.assert(
    fc.property(offset, steps, fc.array(action, { maxLength: 15 }), (start, terms, actions) => {
      const log = logOf(start, 1, terms);
      const model = new Map(log.entries.map((each) => [each.index, each.term]));
      for (const { kind, at } of actions) {
        const last = logLast(log);
        if (kind === "append") {
          const inTerm = (termAt(log, last) ?? 0) + (at % 2);
          logAppend(log, entry(last + 1, inTerm));
          model.set(index(last + 1), term(inTerm));
        } else if (kind === "truncate" && at > log.offset) {
          logTruncate(log, at);
          for (const key of model.keys()) if (key >= at) model.delete(key);
        } else if (kind === "compact" && at <= last) {
          logCompact(log, index(at));
          for (const key of model.keys()) if (key <= at) model.delete(key);
        }
        assert.deepEqual(
          log.entries.map((each) => [each.index, each.term]),
          [...model].sort(([a], [b]) => a - b),
        );
      }
    }),
    { seed: 31, numRuns: 300 },
  );
});

test("property: a slice is the longest that fits, and never nothing", () => {
  fc.assert(
    fc.property(steps, fc.nat({ max: 200 }), fc.nat({ max: 30 }), (terms, maxBytes, from) => {
      const log = logOf(0, 1, terms);
      const first = Math.min(Math.max(1, from), Math.max(1, logLast(log)));
      if (logLast(log) === 0) return;
      const slice = logSlice(log, first, logLast(log), maxBytes);
      const bytes = slice.reduce((sum, each) => sum + entryBytes(each), 0);
      assert.ok(slice.length === 1 || bytes <= maxBytes);
      const next = log.entries[first - 1 + slice.length];
      if (next !== undefined) assert.ok(bytes + entryBytes(next) > maxBytes);
    }),
    { seed: 32, numRuns: 300 },
  );
});

test("property: findByTerm finds what trying every index finds", () => {
  fc.assert(
    fc.property(offset, steps, fc.nat({ max: 30 }), fc.nat({ max: 20 }), (start, terms, at, t) => {
      const log = logOf(start, 3, terms);
      const found = findByTerm(log, at, t);
      if (at < start) {
        assert.equal(found, at);
        return;
      }
      let expected = Math.min(at, logLast(log));
      while (expected > start && (termAt(log, expected) ?? 0) > t) expected--;
      if (expected === start && log.offsetTerm > t) expected = Math.max(start - 1, 0);
      assert.equal(found, expected);
    }),
    { seed: 33, numRuns: 400 },
  );
});
