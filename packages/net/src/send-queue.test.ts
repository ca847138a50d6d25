import assert from "node:assert/strict";
import { test } from "node:test";
import { FRAME, encodeFrame } from "./frame.ts";
import { FrameParser } from "./frame-parser.ts";
import { netLimits } from "./limits.ts";
import { Reassembler } from "./reassembler.ts";
import { SendQueue } from "./send-queue.ts";
import { bytes, pattern } from "./test-support.ts";

const MIB = 1024 * 1024;

/** What one batch holds, in order: kind and payload length of each frame. */
function contents(batch: Uint8Array | undefined): [number, number][] {
  const out: [number, number][] = [];
  const parser = new FrameParser(
    { [FRAME.raft]: MIB, [FRAME.lease]: MIB, [FRAME.request]: 4 * MIB },
    (kind, _flags, payload) => out.push([kind, payload.length]),
  );
  assert.ok(parser.push(batch ?? new Uint8Array(0)).ok && parser.end().ok);
  return out;
}

test("nothing waits, nothing is written", () => {
  assert.equal(new SendQueue(netLimits()).nextBatch(), undefined);
});

test("small messages of one turn leave in one write, leases first", () => {
  const queue = new SendQueue(netLimits());
  queue.pushDatagram("raft", bytes("vote"));
  queue.pushCall(encodeFrame(FRAME.request, bytes("request")));
  queue.pushDatagram("lease", bytes("renew!"));
  queue.pushDatagram("raft", bytes("append"));
  assert.deepEqual(contents(queue.nextBatch()), [
    [FRAME.lease, 6],
    [FRAME.raft, 4],
    [FRAME.raft, 6],
    [FRAME.request, 7],
  ]);
  assert.equal(queue.nextBatch(), undefined);
});

test("a lease and a vote overtake an eight-megabyte snapshot after one batch", () => {
  const limits = netLimits();
  const queue = new SendQueue(limits);
  assert.equal(queue.pushDatagram("raft", pattern(8 * MIB)), true);
  const first = queue.nextBatch();
  assert.ok(first !== undefined && first.length < 2 * limits.writeBatchBytes);
  queue.pushDatagram("raft", bytes("vote"));
  queue.pushDatagram("lease", bytes("renew"));
  const second = contents(queue.nextBatch());
  assert.deepEqual(second.slice(0, 2), [
    [FRAME.lease, 5],
    [FRAME.raft, 4],
  ]);
});

test("no lane starves: every batch carries some of each", () => {
  const queue = new SendQueue(netLimits());
  queue.pushDatagram("raft", pattern(2 * MIB));
  for (let i = 0; i < 2000; i++) queue.pushDatagram("raft", pattern(4000));
  for (let i = 0; i < 60; i++) queue.pushDatagram("lease", pattern(4000));
  for (let i = 0; i < 20; i++) queue.pushCall(encodeFrame(FRAME.request, pattern(MIB)));
  const kinds = new Set(contents(queue.nextBatch()).map(([kind, length]) => `${kind} ${length}`));
  assert.ok(kinds.has(`${FRAME.lease} 4000`));
  assert.ok(kinds.has(`${FRAME.raft} 4000`));
  assert.ok(kinds.has(`${FRAME.request} ${MIB}`));
  assert.ok(kinds.has(`${FRAME.raft} ${64 * 1024 + 8}`));
});

test("long messages keep their order and come out whole", () => {
  const queue = new SendQueue(netLimits());
  const sizes = [200_000, 5000, 65_536, 65_537, 1_000_000];
  for (const size of sizes) assert.equal(queue.pushDatagram("raft", pattern(size)), true);
  const whole = new Reassembler(8 * MIB);
  const got: number[] = [];
  const parser = new FrameParser({ [FRAME.raft]: MIB }, (_kind, flags, payload) => {
    const pushed = flags === 0 ? { ok: true as const, value: payload } : whole.push(payload);
    assert.ok(pushed.ok);
    if (pushed.value === undefined) return;
    assert.deepEqual(Buffer.from(pushed.value), Buffer.from(pattern(pushed.value.length)));
    got.push(pushed.value.length);
  });
  for (let batch = queue.nextBatch(); batch !== undefined; batch = queue.nextBatch()) {
    assert.ok(parser.push(batch).ok);
  }
  assert.deepEqual(got, sizes);
});

test("bounds by frames and by bytes, each channel its own; room comes back", () => {
  const limits = netLimits({ raftQueueFrames: 3, leaseQueueBytes: 300, leaseQueueFrames: 100 });
  const queue = new SendQueue(limits);
  const sent = [1, 2, 3, 4].map(() => queue.pushDatagram("raft", bytes("x")));
  assert.deepEqual(sent, [true, true, true, false]);
  assert.equal(queue.pushDatagram("lease", pattern(200)), true);
  assert.equal(queue.pushDatagram("lease", pattern(200)), false);
  // A long message is admitted whole or not at all.
  assert.equal(queue.pushDatagram("raft", pattern(300_000)), false);
  queue.nextBatch();
  assert.equal(queue.pushDatagram("raft", bytes("x")), true);
  queue.clear();
  assert.equal(queue.nextBatch(), undefined);
  assert.equal(queue.pushDatagram("raft", pattern(3 * 64 * 1024)), true);
});

test("answers are bounded by bytes", () => {
  const queue = new SendQueue(netLimits());
  const frame = encodeFrame(FRAME.response, new Uint8Array(4 * MIB));
  let accepted = 0;
  while (queue.pushCall(frame)) accepted += 1;
  assert.equal(accepted, 7);
});
