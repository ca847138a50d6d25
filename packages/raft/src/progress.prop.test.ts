/** What a leader knows of a member stays within its invariants, whatever the member answers. */

import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import {
  backTrack,
  canTellCommit,
  forgetMatch,
  freeInflight,
  isFull,
  isPaused,
  newProgress,
  noteSent,
  toProbe,
  toReplicate,
  toSnapshot,
  updateMatch,
  type Progress,
  type Window,
} from "./progress.ts";
import { peer } from "./testing/cluster.ts";
import { index } from "./testing/solo.ts";

const LAST = 40;

function check(progress: Progress, window: Window): void {
  const { match, next, inflight, inflightSizes, inflightBytes, state } = progress;
  assert.ok(match >= 0 && match < next, `match ${match} below next ${next}`);
  assert.equal(inflight.length, inflightSizes.length);
  assert.equal(
    inflightBytes,
    inflightSizes.reduce((sum, bytes) => sum + bytes, 0),
  );
  for (const [i, at] of inflight.entries()) {
    assert.ok(at > (inflight[i - 1] ?? 0) && at < next, "in flight ascends below next");
  }
  assert.ok(inflight.length <= window.maxInflight);
  if (state !== "replicate") assert.equal(inflight.length, 0);
  if (state === "snapshot") assert.ok(isPaused(progress) && progress.pendingSnapshot > 0);
  else assert.equal(progress.pendingSnapshot, 0);
}

const event = fc.record({
  kind: fc.constantFrom(
    "send" as const,
    "send" as const,
    "accept" as const,
    "accept" as const,
    "reject" as const,
    "heartbeat" as const,
    "probe" as const,
    "snapshot" as const,
    "damaged" as const,
  ),
  at: fc.integer({ min: 0, max: LAST }),
  size: fc.integer({ min: 0, max: 5 }),
});

function follow(
  progress: Progress,
  { kind, at, size }: { kind: string; at: number; size: number },
  window: Window,
): void {
  if (kind === "send") {
    if (isPaused(progress)) return;
    const room = progress.state === "replicate" && isFull(progress, window) ? 0 : size;
    const count = Math.max(0, Math.min(room, LAST - progress.next + 1));
    noteSent(progress, count, count * 10, window);
  } else if (kind === "accept") {
    // A member acknowledges no more than it was sent.
    const upTo = index(Math.min(at, progress.next - 1));
    if (!updateMatch(progress, upTo)) return;
    if (progress.state === "replicate") freeInflight(progress, upTo);
    else toReplicate(progress);
  } else if (kind === "reject") {
    // Every other one is about what was really asked.
    const rejected = at % 2 === 0 ? progress.next - 1 : at;
    backTrack(progress, rejected, Math.min(at, size));
  } else if (kind === "heartbeat") progress.paused = false;
  else if (kind === "probe") toProbe(progress);
  else if (kind === "snapshot") toSnapshot(progress, index(Math.max(1, at)));
  else forgetMatch(progress);
}

test("property: match < next, the window holds what lies between, and never too much", () => {
  const windows = fc.record({
    maxInflight: fc.integer({ min: 1, max: 4 }),
    maxInflightBytes: fc.constantFrom(Infinity, 10, 60),
  });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), windows, (events, window) => {
      const progress = newProgress(peer(2), index(5), true);
      for (const each of events) {
        const { match } = progress;
        follow(progress, each, window);
        check(progress, window);
        if (each.kind !== "damaged") assert.ok(progress.match >= match, "match went back");
        assert.ok(!canTellCommit(progress, 0), "0 is known to everybody");
      }
    }),
    { seed: 21, numRuns: 400 },
  );
});

test("property: probes move towards the member's end, and find it", () => {
  const seed = 22;
  fc.assert(
    fc.property(fc.nat({ max: LAST }), fc.integer({ min: 1, max: LAST + 1 }), (end, start) => {
      const progress = newProgress(peer(2), index(start), true);
      let rounds = 0;
      // The member holds entries up to `end`, all as the leader's.
      while (progress.next - 1 > end) {
        const before = progress.next;
        assert.equal(backTrack(progress, progress.next - 1, end), true);
        assert.ok(progress.next < before, "no progress");
        rounds++;
      }
      assert.ok(rounds <= 1);
      assert.equal(backTrack(progress, LAST + 5, end), false, "a stale refusal");
    }),
    { seed, numRuns: 200 },
  );
});

test("bytes in flight fill a window as well as appends do", () => {
  const window = { maxInflight: 9, maxInflightBytes: 100 };
  const progress = newProgress(peer(2), index(1), true);
  toReplicate(progress);
  noteSent(progress, 2, 60, window);
  assert.deepEqual([isFull(progress, window), isPaused(progress)], [false, false]);
  noteSent(progress, 1, 60, window);
  assert.deepEqual([isFull(progress, window), isPaused(progress)], [true, true]);
  updateMatch(progress, index(2));
  freeInflight(progress, index(2));
  assert.deepEqual([isFull(progress, window), progress.inflightBytes], [false, 60]);
  assert.throws(() => {
    toSnapshot(progress, index(3));
    noteSent(progress, 1, 1, window);
  }, /snapshot/);
});
