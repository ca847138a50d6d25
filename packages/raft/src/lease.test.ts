/** Reads on leases: what they rest on, and every way in which they end. */

import assert from "node:assert/strict";
import test from "node:test";
import { createRaft, step } from "./index.ts";
import { Cluster, peer, TEST_CONFIG, votersOf } from "./testing/cluster.ts";
import { index, Solo, term } from "./testing/solo.ts";

const LEASE = { reads: "lease" } as const;

/** Member 1 leads and a quorum has confirmed a round of its heartbeats. */
function leased(): Cluster {
  const cluster = new Cluster({ voters: 3, config: LEASE });
  // Who has just started may have promised a lease to somebody.
  cluster.tick(10);
  cluster.until(() => cluster.leader !== undefined);
  cluster.lead().step({ kind: "transferLeader", to: peer(1) });
  cluster.settle();
  cluster.tick(4);
  assert.equal(cluster.lead().id, 1);
  return cluster;
}

test("within the lease a read is answered at once, at the commit index", () => {
  const cluster = leased();
  cluster.propose("x");
  cluster.settle();
  const { read } = cluster.ask(cluster.lead());
  assert.equal(read.answer?.index, cluster.lead().state.commit);
});

test("without confirmation the lease runs out; then reads take a quorum round again", () => {
  const cluster = leased();
  const leader = cluster.lead();
  cluster.isolate(1);
  cluster.tick(8, [leader]);
  assert.equal(leader.state.role, "leader");
  const { read } = cluster.ask(leader);
  const isAnswered = (): boolean => read.answer?.index !== undefined;
  assert.equal(isAnswered(), false);
  cluster.heal();
  cluster.tick(2);
  assert.equal(isAnswered(), true);
});

/** Member 1 stands still while the others elect another leader, which commits something. */
function deposedInItsSleep(): Cluster {
  const cluster = leased();
  cluster.isolate(1);
  const others = cluster.members.slice(1);
  for (let i = 0; i < 60 && cluster.lead().id === 1; i++) cluster.tick(1, others);
  cluster.propose("news");
  cluster.settle();
  assert.equal(cluster.member(1).state.role, "leader");
  return cluster;
}

test("a stale leader after a pause: its driver says how long, and it asks the others", () => {
  const cluster = deposedInItsSleep();
  const { read } = cluster.ask(cluster.member(1), 30);
  assert.equal(read.answer, undefined);
  // The same where the driver notices with its next tick.
  cluster.member(1).step({ kind: "tick", missed: 30 });
  assert.equal(cluster.ask(cluster.member(1)).read.answer, undefined);
});

test("a stale leader after a pause: a driver that hides it is noticed", () => {
  const cluster = deposedInItsSleep();
  assert.throws(() => cluster.ask(cluster.member(1), 0), /stale read/);
});

test("leadership offered to another ends the lease for good: its votes go before any lease", () => {
  const cluster = leased();
  const leader = cluster.lead();
  cluster.blocked = (message) => message.kind === "timeoutNow";
  leader.step({ kind: "transferLeader", to: peer(2) });
  cluster.settle();
  assert.equal(cluster.ask(leader).read.answer, undefined);
  leader.step({ kind: "transferLeader", to: peer(1) });
  cluster.tick(4);
  assert.equal(leader.state.transferee, 0);
  // The offer may still be on its way.
  const { read } = cluster.ask(leader);
  const isAnswered = (): boolean => read.answer?.index !== undefined;
  assert.equal(isAnswered(), false);
  cluster.settle();
  assert.equal(isAnswered(), true);
});

test("a new leader reads nothing before it has committed an entry of its own", () => {
  const solo = new Solo({ config: LEASE }).lead();
  const beat = { kind: "heartbeatReply", readRound: 1, repair: 0 } as const;
  solo.tick(2).from(2, 2, beat);
  step(solo.state, { kind: "readIndex", context: 1 });
  solo.drain();
  assert.deepEqual(solo.reads, []);
  solo.accept(2, 2, 2);
  step(solo.state, { kind: "readIndex", context: 2 });
  solo.drain();
  assert.deepEqual(solo.reads, [{ context: 2, index: 2 }]);
});

test("the lease counts from when the round was sent, however late its confirmation comes", () => {
  const solo = new Solo({ config: LEASE }).lead();
  solo.accept(2, 2, 2);
  const [first] = solo.tick(2).take("heartbeat");
  assert.equal(first?.readRound, 1);
  solo.tick(5).from(2, 2, { kind: "heartbeatReply", readRound: 1, repair: 0 });
  const answered = (): number => {
    step(solo.state, { kind: "readIndex", context: 1 });
    // Not drained: what is not answered now waits for a round.
    return solo.state.reads.answers.length;
  };
  assert.equal(answered(), 1, "tick 7, a lease of 8 ticks from tick 2 on");
  solo.tick(3);
  assert.equal(answered(), 0, "tick 10");
});

test("rounds that nobody confirms are forgotten in the end", () => {
  const solo = new Solo({ config: { ...LEASE, electionTicks: 500, heartbeatTicks: 1 } });
  step(solo.state, { kind: "campaign" });
  for (const id of [2, 3]) solo.drain().from(id, 2, { kind: "preVoteReply", granted: true });
  solo.sync();
  for (const id of [2, 3]) solo.vote(id, 2);
  solo.sync().tick(200);
  assert.equal(solo.state.reads.sent.length, 64);
});

test("a member that has just started votes for nobody for as long as it may have promised", () => {
  const solo = new Solo({ config: LEASE });
  const vote = { kind: "vote", lastIndex: index(9), lastTerm: term(1), force: false } as const;
  solo.from(2, 5, vote);
  assert.deepEqual([solo.take("voteReply"), solo.state.term], [[], 1]);
  // Leadership handed over goes before any lease.
  solo.from(3, 6, { ...vote, force: true });
  assert.equal(solo.take("voteReply")[0]?.granted, true);
  const later = new Solo({ config: LEASE });
  for (let i = 0; i < 10; i++) step(later.state, { kind: "tick" });
  later.drain().take("vote");
  later.from(2, 5, vote);
  assert.equal(later.take("voteReply")[0]?.granted, true);
});

test("a leader is not forgotten where it may hold a lease, and leases need check-quorum", () => {
  const solo = new Solo({ config: LEASE });
  solo.append(2, 1, [1, 1], []);
  assert.equal(step(solo.state, { kind: "forgetLeader" })?.code, "InvalidMessage");
  assert.equal(solo.state.leader, 2);
  const config = { ...TEST_CONFIG, ...LEASE, checkQuorum: false, id: peer(1) };
  const restored = {
    hardState: { term: term(1), vote: 0, commit: index(1) },
    snapshot: { index: index(1), term: term(1), conf: votersOf(1) },
    entries: [],
    damaged: false,
  } as const;
  assert.throws(() => createRaft(config, restored, { u32: () => 1 }), /checkQuorum/);
});
