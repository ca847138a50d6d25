import assert from "node:assert/strict";
import test from "node:test";
import { advance, status, step } from "./index.ts";
import { Cluster, peer, votersOf } from "./testing/cluster.ts";
import { entry, index, Solo, term } from "./testing/solo.ts";

const meta = (at: number, inTerm: number, ...voters: number[]) => ({
  index: index(at),
  term: term(inTerm),
  conf: votersOf(...voters),
});

test("a member that needs compacted entries gets a snapshot, then appends", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.isolate(3);
  for (let i = 0; i < 10; i++) cluster.propose(`${i}`);
  cluster.settle();
  for (const id of [1, 2]) cluster.member(id).compact();
  assert.equal(cluster.member(1).state.log.entries.length, 0);
  cluster.heal();
  cluster.propose("after");
  cluster.tick(6);
  const { state, appliedIndex } = cluster.member(3);
  assert.equal(state.snapshot.index, 12);
  assert.equal(appliedIndex, 13);
  assert.deepEqual(cluster.texts(3), ["after"]);
  assert.equal(cluster.lead().state.progress.get(peer(3))?.state, "replicate");
});

test("compaction keeps a tail for members slightly behind", () => {
  const cluster = new Cluster({ voters: 3, config: { keepEntries: 4 } });
  cluster.elect(1);
  for (let i = 0; i < 10; i++) cluster.propose(`${i}`);
  cluster.settle();
  cluster.member(1).compact();
  assert.equal(cluster.member(1).state.log.entries.length, 4);
  assert.equal(cluster.member(1).state.snapshot.index, 12);
  // Entries too large to be kept go, however few.
  const big = new Cluster({ voters: 1, config: { keepEntries: 4 } });
  big.elect(1).step({ kind: "propose", entries: [new Uint8Array(5_000_000)] });
  big.settle();
  big.member(1).compact();
  assert.equal(big.member(1).state.log.entries.length, 0);
});

test("a restored snapshot replaces log and configuration; its acknowledgement waits for it", () => {
  const solo = new Solo({ log: [2, 2, 2], term: 3, commit: 2 }).drain();
  solo.from(2, 3, { kind: "snapshot", meta: meta(9, 3, 1, 2) });
  const [reply] = solo.take("appendReply");
  assert.deepEqual([reply?.index, reply?.rejected, reply?.after], [9, false, 1]);
  assert.deepEqual(solo.persists[0]?.snapshot, meta(9, 3, 1, 2));
  assert.deepEqual(solo.persists[0]?.entries, []);
  const { commit, applied, lastIndex, conf } = status(solo.state);
  assert.deepEqual([commit, applied, lastIndex, conf.voters], [9, 1, 9, [1, 2]]);
  // Entries that follow before it is durable are not applied before it.
  solo.append(2, 3, [9, 3], [entry(10, 3)], 10);
  assert.deepEqual(
    solo.committed.map((e) => e.index),
    [2],
  );
  solo.sync();
  assert.equal(status(solo.state).applied, 9);
  assert.equal(solo.committed.at(-1)?.index, 10);
});

test("an old persist does not make entries durable that a snapshot has replaced", () => {
  const solo = new Solo({ term: 2 });
  solo.append(2, 2, [1, 1], [entry(2, 2), entry(3, 2), entry(4, 2)]);
  solo.from(3, 3, { kind: "snapshot", meta: meta(3, 3, 1, 2, 3) });
  solo.append(3, 3, [3, 3], [entry(4, 3)], 4);
  advance(solo.state, { kind: "persisted", seq: 1 });
  solo.drain();
  assert.equal(solo.committed.length, 0);
  assert.ok(solo.state.io.durableIndex < 3);
  solo.sync();
  assert.deepEqual(
    solo.committed.map((e) => [e.index, e.term]),
    [[4, 3]],
  );
});

test("a snapshot of what is there already only moves the commit index", () => {
  const solo = new Solo({ log: [2, 2, 2], term: 3 });
  solo.from(2, 3, { kind: "snapshot", meta: meta(3, 2, 1, 2, 3) });
  assert.deepEqual([solo.state.commit, solo.state.log.entries.length], [3, 3]);
  assert.equal(solo.take("appendReply")[0]?.index, 3);
  assert.equal(solo.persists[0]?.snapshot, undefined);
  solo.from(2, 3, { kind: "snapshot", meta: meta(2, 2, 1, 2, 3) });
  assert.equal(solo.take("appendReply")[0]?.index, 3);
});

test("a snapshot waits while a configuration that was handed out is not yet applied", () => {
  const solo = new Solo({ term: 2 });
  solo.append(2, 2, [1, 1], [entry(2, 2, "config")], 2);
  solo.sync();
  // Once more: its commit index had to become durable first.
  solo.sync();
  assert.equal(solo.committed.length, 1);
  solo.take("appendReply");
  solo.from(2, 2, { kind: "snapshot", meta: meta(9, 2, 1, 2) });
  assert.deepEqual(solo.sent, []);
  assert.equal(solo.state.commit, 2);
});

test("snapshots go only to members that are heard; their fate decides what follows", () => {
  const solo = new Solo({ log: [1, 1, 1], commit: 4, config: { keepEntries: 0 } }).lead();
  solo.accept(2, 2, 5);
  advance(solo.state, { kind: "applied", index: index(5) });
  advance(solo.state, { kind: "compacted", meta: meta(5, 2, 1, 2, 3) });
  advance(solo.state, { kind: "compacted", meta: meta(3, 1, 1, 2, 3) });
  solo.take("snapshot");
  const refuse = { kind: "appendReply", rejected: true, repair: 0 } as const;
  solo.from(3, 2, { ...refuse, index: index(4), hintIndex: index(1), hintTerm: term(1) });
  assert.equal(solo.take("snapshot")[0]?.meta.index, 5);
  const progress = solo.state.progress.get(peer(3));
  assert.equal(progress?.state, "snapshot");
  step(solo.state, { kind: "propose", entries: [new Uint8Array(1)] });
  solo.drain();
  assert.deepEqual(
    solo.take("append").map((m) => m.to),
    [2],
  );
  step(solo.state, { kind: "snapshotSent", peer: peer(3), ok: false });
  assert.deepEqual([progress?.state, progress?.next], ["probe", 1]);
  solo.from(3, 2, { kind: "heartbeatReply", readRound: 0, repair: 0 });
  assert.equal(solo.take("snapshot").length, 1);
  step(solo.state, { kind: "snapshotSent", peer: peer(3), ok: true });
  assert.deepEqual([progress?.state, progress?.next], ["probe", 6]);
  step(solo.state, { kind: "snapshotSent", peer: peer(3), ok: true });
  solo.accept(3, 2, 5);
  assert.equal(progress?.state, "replicate");
  // A silent member gets none.
  if (progress !== undefined) Object.assign(progress, { state: "probe", next: 1, active: false });
  solo.state.sendDue = true;
  solo.take("snapshot");
  solo.drain();
  assert.deepEqual(solo.take("snapshot"), []);
});
