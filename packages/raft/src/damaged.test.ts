import assert from "node:assert/strict";
import test from "node:test";
import { advance, step } from "./index.ts";
import { Cluster, peer } from "./testing/cluster.ts";
import { entry, index, Solo, term } from "./testing/solo.ts";

const heartbeat = (repaired: number, commit = 1) =>
  ({ kind: "heartbeat", commit: index(commit), readRound: 0, repaired }) as const;

test("a damaged member starts from its snapshot, without votes and without campaigns", () => {
  const solo = new Solo({ damaged: true, log: [2, 2], commit: 3, term: 4 });
  assert.deepEqual([solo.state.commit, solo.state.log.entries.length], [1, 0]);
  assert.deepEqual([solo.state.term, solo.state.vote], [4, 0]);
  assert.deepEqual(step(solo.state, { kind: "campaign" }), { code: "NotLeader", leader: 0 });
  solo.tick(100);
  assert.deepEqual(solo.sent, []);
  const request = { lastIndex: index(9), lastTerm: term(4), force: true };
  solo.from(2, 5, { kind: "preVote", ...request });
  assert.equal(solo.take("preVoteReply")[0]?.granted, false);
  solo.from(2, 5, { kind: "vote", ...request });
  assert.equal(solo.take("voteReply")[0]?.granted, false);
  solo.from(2, 5, { kind: "timeoutNow" });
  assert.equal(solo.state.role, "follower");
});

test("it takes entries, names its nonce in every reply, and believes no heartbeat's commit", () => {
  const solo = new Solo({ damaged: true, term: 4 });
  const { nonce } = solo.state.damage;
  assert.notEqual(nonce, 0);
  assert.equal(solo.from(2, 4, heartbeat(0, 99)), undefined);
  assert.equal(solo.take("heartbeatReply")[0]?.repair, nonce);
  solo.append(2, 4, [1, 1], [entry(2, 4)], 2);
  assert.equal(solo.take("appendReply")[0]?.repair, nonce);
  // The commit of an append is about entries that were just compared.
  assert.equal(solo.state.commit, 2);
});

test("it is whole on the echo of its own nonce, and votes once the driver has noted it", () => {
  const solo = new Solo({ damaged: true, term: 4 });
  const { nonce } = solo.state.damage;
  solo.from(2, 4, heartbeat(nonce + 1));
  assert.equal(solo.repaired, 0);
  assert.throws(() => advance(solo.state, { kind: "repaired" }), /answer to Ready.repaired/);
  solo.from(2, 4, heartbeat(nonce));
  solo.from(2, 4, heartbeat(nonce));
  assert.equal(solo.repaired, 1);
  const request = { kind: "vote", lastIndex: index(9), lastTerm: term(4), force: true } as const;
  solo.take("vote");
  solo.from(3, 5, request);
  assert.equal(solo.take("voteReply")[0]?.granted, false);
  advance(solo.state, { kind: "repaired" });
  solo.from(3, 5, request);
  assert.equal(solo.take("voteReply")[0]?.granted, true);
});

test("the leader forgets what it held, counts it no more, and echoes once it has all", () => {
  const solo = new Solo().lead();
  solo.accept(2, 2, 2);
  solo.take("append");
  solo.from(2, 2, { kind: "heartbeatReply", readRound: 0, repair: 77 });
  // The leader's own noop is the target.
  const progress = solo.state.progress.get(peer(2));
  assert.deepEqual(
    [progress?.match, progress?.state, progress?.repairTarget, solo.state.log.entries.length],
    [0, "probe", 3, 2],
  );
  solo.from(2, 2, {
    kind: "appendReply",
    rejected: true,
    index: index(2),
    hintIndex: index(1),
    hintTerm: term(1),
    repair: 77,
  });
  solo.sync();
  solo.accept(2, 2, 2, 77);
  solo.tick(2);
  assert.equal(solo.take("heartbeat").find((m) => m.to === 2)?.repaired, 0);
  solo.accept(2, 2, 3, 77);
  assert.equal(solo.state.commit, 2, "does not count");
  solo.tick(2);
  const beat = solo.take("heartbeat").find((m) => m.to === 2);
  assert.deepEqual([beat?.repaired, beat?.commit], [77, 0]);
  solo.accept(2, 2, 3);
  assert.equal(solo.state.commit, 3, "counts again");
});

test("a second life has a second nonce, and the first one's progress means nothing", () => {
  const solo = new Solo().lead();
  solo.accept(2, 2, 2, 77);
  assert.equal(solo.state.progress.get(peer(2))?.match, 2);
  solo.from(2, 2, { kind: "heartbeatReply", readRound: 0, repair: 78 });
  const progress = solo.state.progress.get(peer(2));
  assert.deepEqual([progress?.match, progress?.repairTarget], [0, 4]);
});

test("three members, one loses its log: it cannot elect a leader without what was lost", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.isolate(3);
  cluster.propose("kept by 1 and 2");
  cluster.settle();
  assert.equal(cluster.lead().state.commit, 3);
  // Member 2 loses it, member 1 is away: 2 and 3 together have lost the entry.
  cluster.member(2).crash(0);
  cluster.member(2).rot(0);
  cluster.member(1).crash(0);
  cluster.heal();
  cluster.member(2).start();
  cluster.tick(100);
  assert.equal(cluster.leader, undefined);
  cluster.member(1).start();
  cluster.until(() => cluster.leader?.id === 1);
  cluster.until(() => cluster.members.every((m) => m.state.damage.nonce === 0));
  assert.deepEqual(cluster.texts(2), ["kept by 1 and 2"]);
  assert.equal(cluster.member(2).disk.damaged, false);
  cluster.member(1).crash(0);
  cluster.until(() => (cluster.leader?.id ?? 1) !== 1);
});

test("a leader in office repairs a member without an election, also in a cluster of two", () => {
  for (const voters of [2, 3]) {
    const cluster = new Cluster({ voters });
    const leader = cluster.elect(1);
    for (let i = 0; i < 20; i++) cluster.propose(`${i}`);
    cluster.settle();
    const { term: before } = leader.state;
    cluster.member(2).crash(0);
    cluster.member(2).rot(3);
    cluster.member(2).start();
    cluster.until(() => cluster.member(2).state.damage.nonce === 0, 12);
    cluster.tick(3);
    assert.equal(leader.state.term, before);
    assert.equal(cluster.texts(2).length, 20);
    assert.equal(cluster.member(2).state.commit, leader.state.commit);
  }
});

test("repair by snapshot when the leader has compacted", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  for (let i = 0; i < 20; i++) cluster.propose(`${i}`);
  cluster.settle();
  cluster.member(1).compact();
  cluster.member(2).crash(0);
  cluster.member(2).rot(0);
  cluster.member(2).start();
  cluster.until(() => cluster.member(2).state.damage.nonce === 0, 20);
  assert.equal(cluster.member(2).state.snapshot.index, 22);
});
