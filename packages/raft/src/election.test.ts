import assert from "node:assert/strict";
import test from "node:test";
import { Prng } from "@blixard/std";
import { createRaft, emptyConf, joiner, ready, step, type RaftState } from "./index.ts";
import { Cluster, peer, TEST_CONFIG, votersOf } from "./testing/cluster.ts";
import { entry, index, Solo, term } from "./testing/solo.ts";

const request = (lastIndex: number, lastTerm: number, force = false) =>
  ({
    kind: "vote",
    lastIndex: index(lastIndex),
    lastTerm: term(lastTerm),
    force,
  }) as const;

test("three members elect one leader, which commits a noop of its term", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.until(() => cluster.leader !== undefined);
  cluster.tick(3);
  const leaders = cluster.members.filter((m) => m.state.role === "leader");
  assert.equal(leaders.length, 1);
  for (const member of cluster.members) {
    assert.equal(member.state.commit, 2);
    assert.equal(member.state.log.entries.length, 1);
    assert.equal(member.state.leader, leaders[0]?.id);
  }
});

test("timeouts are uniform in [n, 2n-1] and follow from the seed", () => {
  const seen = new Set<number>();
  for (let seed = 0; seed < 200; seed++) {
    const { state } = new Solo({ seed });
    assert.equal(new Solo({ seed }).state.electionTimeout, state.electionTimeout);
    seen.add(state.electionTimeout);
  }
  assert.deepEqual(
    [...seen].sort((a, b) => a - b),
    Array.from({ length: 10 }, (_, i) => 10 + i),
  );
});

test("the only voter leads once its vote for itself is durable", () => {
  const solo = new Solo({ conf: votersOf(1) });
  step(solo.state, { kind: "campaign" });
  solo.drain();
  assert.equal(solo.state.role, "candidate");
  assert.equal(solo.persists[0]?.hardState?.vote, 1);
  solo.sync();
  assert.equal(solo.state.role, "leader");
  // The noop commits with its own persist, not before.
  assert.equal(solo.state.commit, 1);
  solo.sync();
  assert.equal(solo.state.commit, 2);
  assert.deepEqual(
    solo.committed.map((e) => e.kind),
    ["noop"],
  );
});

test("a member without configuration, a learner and a stranger never campaign", () => {
  const config = { ...TEST_CONFIG, id: peer(1) };
  const waiting = createRaft(config, joiner(), new Prng(1));
  const learner = new Solo({ conf: { ...votersOf(2, 3), learners: [peer(1)] } }).state;
  const stranger = new Solo({ conf: votersOf(2, 3) }).state;
  for (const state of [waiting, learner, stranger] satisfies RaftState[]) {
    for (let i = 0; i < 100; i++) step(state, { kind: "tick" });
    assert.equal(ready(state), undefined);
    assert.deepEqual(step(state, { kind: "campaign" }), { code: "NotLeader", leader: 0 });
  }
  assert.deepEqual(emptyConf().voters, []);
});

test("vote requests and grants wait for the vote to be durable", () => {
  const candidate = new Solo();
  step(candidate.state, { kind: "campaign" });
  candidate.drain();
  candidate.from(2, 2, { kind: "preVoteReply", granted: true });
  assert.equal(candidate.state.role, "candidate");
  const votes = candidate.take("vote");
  assert.equal(votes.length, 2);
  for (const vote of votes) assert.equal(vote.after, candidate.persists.at(-1)?.seq);

  const voter = new Solo();
  voter.from(2, 2, request(1, 1));
  const [reply] = voter.take("voteReply");
  assert.equal(reply?.granted, true);
  assert.equal(reply.after, 1);
  assert.deepEqual(voter.persists[0]?.hardState, { term: 2, vote: 2, commit: 1 });
});

test("one vote in a term, repeated to the same candidate, kept over a restart", () => {
  const voter = new Solo({ term: 5, vote: 2 });
  voter.from(3, 5, request(1, 1));
  assert.equal(voter.take("voteReply")[0]?.granted, false);
  voter.from(2, 5, request(1, 1));
  assert.equal(voter.take("voteReply")[0]?.granted, true);
});

test("a candidate whose log is behind is refused", () => {
  for (const [lastIndex, lastTerm, granted] of [
    [9, 2, false],
    [2, 3, false],
    [3, 3, true],
    [2, 4, true],
  ] as const) {
    const voter = new Solo({ log: [3, 3] });
    voter.from(2, 9, request(lastIndex, lastTerm));
    assert.equal(voter.take("voteReply")[0]?.granted, granted, `${lastIndex}/${lastTerm}`);
  }
});

test("a majority of refusals ends a campaign; late and foreign answers change nothing", () => {
  const solo = new Solo();
  step(solo.state, { kind: "campaign" });
  solo.drain();
  solo.from(2, 1, { kind: "preVoteReply", granted: false });
  solo.from(2, 2, { kind: "preVoteReply", granted: true });
  solo.vote(3, 1);
  assert.equal(solo.state.role, "preCandidate");
  solo.from(9, 2, { kind: "preVoteReply", granted: true });
  assert.equal(solo.state.role, "preCandidate", "9 is no voter");
  solo.from(3, 1, { kind: "preVoteReply", granted: false });
  assert.equal(solo.state.role, "follower");
  assert.equal(solo.state.term, 1);
});

test("a candidate follows a leader of its term, and anyone follows a later term", () => {
  const solo = new Solo();
  step(solo.state, { kind: "campaign" });
  solo.drain();
  solo.from(2, 2, { kind: "preVoteReply", granted: true });
  assert.equal(solo.state.role, "candidate");
  solo.append(3, 2, [1, 1], [entry(2, 2)]);
  assert.deepEqual([solo.state.role, solo.state.leader], ["follower", 3]);
  solo.vote(2, 7, false);
  assert.deepEqual([solo.state.term, solo.state.leader], [7, 0]);
});

test("campaign on a leader is a no-op", () => {
  const solo = new Solo().lead();
  assert.equal(step(solo.state, { kind: "campaign" }), undefined);
  assert.equal(solo.state.role, "leader");
});

test("a member does not campaign while a committed configuration waits to be applied", () => {
  const solo = new Solo({ log: [1, 1], commit: 3 });
  solo.state.configs.push(3);
  assert.deepEqual(step(solo.state, { kind: "campaign" }), { code: "NotLeader", leader: 0 });
});

test("pre-vote: an isolated member keeps its term and disturbs nobody on its return", () => {
  const cluster = new Cluster({ voters: 3 });
  const leader = cluster.elect(1);
  const { term: before } = leader.state;
  cluster.isolate(3);
  cluster.tick(100);
  assert.equal(cluster.member(3).state.role, "preCandidate");
  assert.equal(cluster.member(3).state.term, before);
  cluster.heal();
  cluster.tick(20);
  assert.equal(leader.state.role, "leader");
  assert.equal(leader.state.term, before);
  assert.equal(cluster.member(3).state.leader, 1);
});

test("lease: votes are ignored while a leader is heard, unless forced", () => {
  for (const kind of ["vote", "preVote"] as const) {
    const solo = new Solo();
    solo.append(2, 1, [1, 1], []);
    solo.take("appendReply");
    solo.from(3, 9, { ...request(5, 5), kind });
    assert.deepEqual(solo.sent, []);
    assert.equal(solo.state.term, 1);
    solo.tick(10);
    solo.from(3, 9, { ...request(5, 5), kind });
    assert.equal(solo.take(`${kind}Reply`)[0]?.granted, true, "the lease has run out");
  }
  const solo = new Solo();
  solo.append(2, 1, [1, 1], []);
  solo.from(3, 9, request(5, 5, true));
  assert.equal(solo.take("voteReply")[0]?.granted, true);
});

test("a learner's lease on a dead leader does not begin anew", () => {
  const solo = new Solo({ conf: { ...votersOf(2, 3), learners: [peer(1)] } });
  solo.append(2, 1, [1, 1], []);
  solo.tick(45).take("appendReply");
  solo.from(3, 2, { ...request(1, 1), kind: "preVote" });
  assert.equal(solo.take("preVoteReply")[0]?.granted, true);
});

test("a pre-vote of an earlier term is refused with our term, and the sender catches up", () => {
  const solo = new Solo({ term: 7 });
  solo.from(2, 3, { ...request(1, 1), kind: "preVote" });
  const [reply] = solo.take("preVoteReply");
  assert.deepEqual([reply?.granted, reply?.term], [false, 7]);

  const stale = new Solo({ term: 2 });
  step(stale.state, { kind: "campaign" });
  stale.drain();
  stale.from(2, 7, { kind: "preVoteReply", granted: false });
  assert.deepEqual([stale.state.role, stale.state.term], ["follower", 7]);
});

test("a leader of an earlier term learns of a later one and steps down", () => {
  const solo = new Solo({ term: 7 });
  solo.append(2, 3, [1, 1], []);
  solo.from(2, 3, { kind: "heartbeat", commit: index(1), readRound: 0, repaired: 0 });
  const meta = { index: index(9), term: term(3), conf: votersOf(2) };
  solo.from(2, 3, { kind: "snapshot", meta });
  for (const late of ["vote", "appendReply", "timeoutNow"] as const) {
    if (late === "vote") solo.from(2, 3, request(1, 1));
    else if (late === "timeoutNow") solo.from(2, 3, { kind: late });
    else solo.accept(2, 3, 1);
  }
  assert.equal(solo.sent.length, 3);
  for (const reply of solo.take("appendReply")) assert.equal(reply.term, 7);

  const leader = new Solo().lead();
  leader.from(2, 7, { kind: "heartbeatReply", readRound: 0, repair: 0 });
  assert.deepEqual([leader.state.role, leader.state.term], ["follower", 7]);
});

test("a member stuck in a higher term is taken back in", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.isolate(3);
  // It got the votes for a real campaign just before it was cut off.
  const stuck = cluster.member(3);
  stuck.step({ kind: "message", message: timeoutNow(cluster.member(1).state.term) });
  cluster.settle();
  assert.equal(stuck.state.role, "candidate");
  cluster.heal();
  cluster.until(() => cluster.members.every((m) => m.state.leader === cluster.leader?.id));
  assert.ok(cluster.lead().state.term > 2);
});

function timeoutNow(inTerm: number) {
  return { kind: "timeoutNow", to: peer(3), from: peer(1), term: term(inTerm) } as const;
}

test("check-quorum: a leader that hears no majority steps down within an election timeout", () => {
  const cluster = new Cluster({ voters: 5 });
  cluster.elect(1);
  cluster.tick(5);
  cluster.isolate(1, 2);
  const read = cluster.ask(cluster.member(1)).read;
  cluster.tick(20);
  assert.equal(cluster.member(1).state.role, "follower");
  assert.deepEqual(read.answer, { context: 1 });
  cluster.until(() => cluster.leader !== undefined);
  assert.ok(cluster.lead().id > 2);
});

test("check-quorum: a leader that hears a majority stays", () => {
  const cluster = new Cluster({ voters: 5 });
  cluster.elect(1);
  cluster.isolate(4, 5);
  cluster.tick(60);
  assert.equal(cluster.member(1).state.role, "leader");
  assert.deepEqual(step(cluster.member(4).state, { kind: "propose", entries: [] }), {
    code: "NotLeader",
    leader: 0,
  });
});
