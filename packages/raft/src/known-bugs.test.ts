/** What has gone wrong in other implementations, by name: each must not go wrong here. */

import assert from "node:assert/strict";
import test from "node:test";
import { advance, step } from "./index.ts";
import { Cluster, peer, votersOf } from "./testing/cluster.ts";
import { entry, index, Solo, term } from "./testing/solo.ts";

test("pre-vote deadlock: a higher term with a shorter log keeps nobody from leading", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.propose("x");
  cluster.settle();
  // Member 3 lost the last entries and has been in later terms; member 1 is gone.
  const third = cluster.member(3);
  third.disk.entries.length = 0;
  third.disk.hardState = { term: term(9), vote: 0, commit: index(1) };
  third.start();
  cluster.member(1).crash(0);
  cluster.until(() => cluster.leader?.id === 2, 100);
  assert.ok(cluster.lead().state.term > 9);
  assert.deepEqual(cluster.texts(3), ["x"]);
});

test("pre-vote deadlock: a pre-candidate of an earlier term is told the later one", () => {
  const solo = new Solo({ term: 9, log: [9] });
  const ask = { kind: "preVote", lastIndex: index(5), lastTerm: term(2), force: false } as const;
  solo.from(2, 4, ask);
  const [reply] = solo.take("preVoteReply");
  assert.deepEqual([reply?.granted, reply?.term], [false, 9]);
});

test("bad append after a read error: what is gone is never sent with a made-up term", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.isolate(3);
  for (let i = 0; i < 5; i++) cluster.propose(`${i}`);
  cluster.settle();
  cluster.lead().compact();
  const appends: number[] = [];
  cluster.blocked = (m) => {
    if (m.kind === "append" && m.to === 3) appends.push(m.prevTerm);
    return false;
  };
  cluster.tick(6);
  assert.equal(cluster.member(3).appliedIndex, cluster.lead().state.commit);
  assert.ok(appends.every((prevTerm) => prevTerm > 0));
});

test("purged-log stall: the log was compacted beyond the snapshot just installed", () => {
  const solo = new Solo({ config: { keepEntries: 0 } }).lead();
  const commitTo = (at: number): void => {
    step(solo.state, { kind: "propose", entries: [new Uint8Array(1)] });
    solo.sync();
    solo.accept(2, 2, at);
    solo.sync();
    advance(solo.state, { kind: "applied", index: index(at) });
    const meta = { index: index(at), term: term(2), conf: votersOf(1, 2, 3) };
    advance(solo.state, { kind: "compacted", meta });
  };
  solo.accept(2, 2, 2);
  commitTo(3);
  // Member 3 needs a snapshot; while it installs that, the leader drops more of its log.
  const refuse = { kind: "appendReply", rejected: true, repair: 0 } as const;
  solo.from(3, 2, { ...refuse, index: index(1), hintIndex: index(0), hintTerm: term(0) });
  solo.tick(2).from(3, 2, { kind: "heartbeatReply", readRound: 0, repair: 0 });
  assert.equal(solo.take("snapshot")[0]?.meta.index, 3);
  commitTo(4);
  commitTo(5);
  solo.accept(3, 2, 3);
  step(solo.state, { kind: "snapshotSent", peer: peer(3), ok: true });
  solo.drain().from(3, 2, { kind: "heartbeatReply", readRound: 0, repair: 0 });
  assert.equal(solo.take("snapshot")[0]?.meta.index, 5, "it gets another one");
});

test("a snapshot at the last index: the member replicates at once, not after a write", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.isolate(3);
  cluster.propose("x");
  cluster.settle();
  cluster.lead().compact();
  cluster.heal();
  cluster.tick(4);
  const progress = cluster.lead().state.progress.get(peer(3));
  assert.deepEqual([progress?.state, progress?.match], ["replicate", 3]);
});

test("commit without quorum: neither a removed leader nor a learner is counted", () => {
  const solo = new Solo({ conf: { ...votersOf(1, 2, 3), learners: [peer(4)] } }).lead();
  solo.accept(4, 2, 2);
  assert.equal(solo.state.commit, 1, "a learner's acknowledgement is none");
  const removed = new Cluster({ voters: 3, config: { onRemoval: "stay" } });
  const leader = removed.elect(1);
  removed.settle();
  removed.change("removeMember", 1);
  removed.settle();
  assert.deepEqual(leader.state.conf, votersOf(2, 3));
  removed.isolate(3);
  const { commit } = leader.state;
  removed.propose("2 alone is no majority of two", leader);
  removed.settle();
  assert.equal(leader.state.commit, commit);
});

test("commit without quorum: what a joint configuration decides takes both halves", () => {
  const conf = { ...votersOf(1, 2, 3), votersOutgoing: [peer(1), peer(4), peer(5)] };
  const solo = new Solo({ conf });
  step(solo.state, { kind: "campaign" });
  for (const id of [2, 4]) solo.drain().from(id, 2, { kind: "preVoteReply", granted: true });
  solo.sync();
  solo.vote(2, 2);
  assert.equal(solo.state.role, "candidate", "the incoming half alone does not elect");
  solo.vote(4, 2);
  solo.sync();
  assert.equal(solo.state.role, "leader");
  solo.accept(2, 2, 2);
  solo.accept(3, 2, 2);
  assert.equal(solo.state.commit, 1);
  solo.accept(5, 2, 2);
  assert.equal(solo.state.commit, 2);
});

test("self-demotion without leader: a leader that makes itself a learner hands over", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.settle();
  assert.equal(cluster.joint("l1", "implicit"), undefined);
  cluster.until(() => (cluster.leader?.id ?? 1) !== 1, 60);
  cluster.tick(6);
  assert.deepEqual(cluster.lead().state.conf, { ...votersOf(2, 3), learners: [1] });
  assert.equal(cluster.propose("goes on"), undefined);
  cluster.settle();
  assert.deepEqual(cluster.texts(1), ["goes on"]);
});

test("self-demotion without leader: the last voter is not demoted", () => {
  const cluster = new Cluster({ voters: 1 });
  cluster.elect(1);
  cluster.settle();
  assert.equal(cluster.joint("l1")?.code, "InvalidConfChange");
  assert.equal(cluster.change("removeMember", 1)?.code, "InvalidConfChange");
});

test("a leader with a hung disk counts nothing of its own, and can still hand over", () => {
  const solo = new Solo().lead();
  solo.accept(2, 2, 2);
  step(solo.state, { kind: "propose", entries: [new Uint8Array(1)] });
  solo.drain();
  solo.accept(2, 2, 3);
  assert.equal(solo.state.commit, 2, "one other is no majority");
  solo.accept(3, 2, 3);
  assert.equal(solo.state.commit, 3, "the others are");
  assert.ok(
    solo.committed.every(({ index: at }) => at <= 2),
    "nothing is applied before it is here",
  );
  // Its heartbeats do not depend on its disk: so its driver must be able to end this.
  assert.equal(step(solo.state, { kind: "transferLeader", to: peer(2) }), undefined);
  const [offer] = solo.drain().take("timeoutNow");
  assert.deepEqual([offer?.to, offer?.after], [2, 0]);
});

test("a candidate with a hung disk asks for no vote and leads nobody", () => {
  const solo = new Solo({ config: { preVote: false } });
  step(solo.state, { kind: "campaign" });
  const votes = solo.drain().take("vote");
  assert.ok(
    votes.every(({ after }) => after === 1),
    "each request waits for the term it is made in",
  );
  for (const id of [2, 3]) solo.vote(id, 2);
  assert.equal(solo.state.role, "candidate");
  solo.sync();
  assert.equal(solo.state.role, "leader");
});

test("an old leader's append does not overwrite what a newer one wrote meanwhile", () => {
  const solo = new Solo({ term: 1 });
  solo.append(3, 3, [1, 1], [entry(2, 3)], 2);
  solo.append(2, 2, [1, 1], [entry(2, 2), entry(3, 2)], 3);
  assert.deepEqual(
    solo.state.log.entries.map((each) => each.term),
    [3],
  );
});

test("an answer about nothing, from an earlier term's exchange, moves no progress", () => {
  const solo = new Solo().lead();
  solo.accept(2, 2, 2);
  const before = solo.state.progress.get(peer(2))?.match;
  solo.accept(2, 2, 0);
  assert.equal(solo.state.progress.get(peer(2))?.match, before);
});
