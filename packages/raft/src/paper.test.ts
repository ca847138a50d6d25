/**
 * The cases of the Raft paper and the thesis, by name. Figure 8 is in replication.test.ts, leases
 * are in lease.test.ts, ReadIndex in read.test.ts, transfer in transfer.test.ts.
 */

import assert from "node:assert/strict";
import test from "node:test";
import { step, type Entry } from "./index.ts";
import { Cluster, peer, votersOf } from "./testing/cluster.ts";
import type { Member } from "./testing/member.ts";
import { entry, index, Solo, term } from "./testing/solo.ts";

const NO_PREVOTE = { preVote: false } as const;
const request = (lastIndex: number, lastTerm: number) =>
  ({ kind: "vote", lastIndex: index(lastIndex), lastTerm: term(lastTerm), force: false }) as const;

test("5.1 a message of a later term makes anybody a follower of that term", () => {
  const leader = new Solo().lead();
  leader.from(2, 9, { kind: "heartbeatReply", readRound: 0, repair: 0 });
  assert.deepEqual([leader.state.role, leader.state.term], ["follower", 9]);
  const candidate = new Solo({ config: NO_PREVOTE }).tick(20);
  assert.equal(candidate.state.role, "candidate");
  candidate.from(2, 9, request(1, 1));
  assert.deepEqual([candidate.state.role, candidate.state.term], ["follower", 9]);
});

test("5.1 a request of an earlier term is refused, and changes nothing", () => {
  const solo = new Solo({ term: 5, log: [2] });
  solo.append(2, 4, [2, 2], [entry(3, 4)], 3);
  assert.deepEqual([solo.state.log.entries.length, solo.state.commit], [1, 1]);
  const [reply] = solo.take("appendReply");
  assert.deepEqual([reply?.term, reply?.rejected], [5, true]);
  solo.from(3, 4, request(99, 3));
  assert.deepEqual(solo.take("voteReply"), []);
});

test("5.2 a follower that hears nothing campaigns after a random timeout in [n, 2n-1]", () => {
  const timeouts = new Set<number>();
  for (let seed = 1; seed <= 200; seed++) {
    const solo = new Solo({ seed, config: NO_PREVOTE });
    let ticks = 0;
    while (solo.state.role === "follower") {
      solo.tick(1);
      ticks++;
    }
    timeouts.add(ticks);
    assert.deepEqual([solo.state.term, solo.state.vote], [2, 1]);
    assert.deepEqual(
      solo.take("vote").map((m) => m.to),
      [2, 3],
    );
  }
  assert.deepEqual(Math.min(...timeouts), 10);
  assert.deepEqual(Math.max(...timeouts), 19);
  assert.ok(timeouts.size >= 8, "they are spread");
});

test("5.2 the leader's heartbeats keep followers from campaigning", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  const { term: before } = cluster.lead().state;
  cluster.tick(100);
  assert.deepEqual([cluster.lead().id, cluster.lead().state.term], [1, before]);
});

test("5.2 one vote for each term, first come, first served; asked again it says the same", () => {
  const solo = new Solo();
  solo.from(2, 2, request(1, 1));
  assert.equal(solo.take("voteReply")[0]?.granted, true);
  solo.from(3, 2, request(9, 1));
  assert.equal(solo.take("voteReply")[0]?.granted, false);
  solo.from(2, 2, request(1, 1));
  assert.equal(solo.take("voteReply")[0]?.granted, true);
  // In a later term it votes anew.
  solo.from(3, 3, request(9, 1));
  assert.equal(solo.take("voteReply")[0]?.granted, true);
});

test("5.2 a vote is remembered over a restart: it leaves only once it is durable", () => {
  const solo = new Solo();
  solo.from(2, 2, request(1, 1));
  const [reply] = solo.take("voteReply");
  const persist = solo.persists.at(-1);
  assert.deepEqual(persist?.hardState, { term: 2, vote: 2, commit: 1 });
  assert.equal(reply?.after, persist.seq);
});

test("5.2 a candidate yields to a leader of its own term, not to one of an earlier", () => {
  const candidate = (): Solo => new Solo({ config: NO_PREVOTE }).tick(20);
  const yields = candidate();
  yields.append(2, 2, [1, 1], []);
  assert.deepEqual([yields.state.role, yields.state.leader], ["follower", 2]);
  const stays = candidate();
  stays.append(2, 1, [1, 1], []);
  assert.equal(stays.state.role, "candidate");
});

test("5.2 a split vote: nobody wins, and the next term decides", () => {
  const cluster = new Cluster({ voters: 4, config: NO_PREVOTE });
  cluster.member(1).step({ kind: "campaign" });
  cluster.member(2).step({ kind: "campaign" });
  // Each gets one more vote than its own.
  const pairs = new Set(["1>3", "3>1", "2>4", "4>2"]);
  cluster.blocked = (m) => !pairs.has(`${m.from}>${m.to}`);
  for (const item of cluster.network.splice(0)) {
    const from = item === undefined ? 0 : item.bytes[6];
    if (pairs.has(`${from}>${item.to}`)) cluster.network.push(item);
  }
  cluster.settle();
  assert.equal(cluster.leader, undefined);
  cluster.heal();
  cluster.until(() => cluster.leader !== undefined, 100);
  assert.ok(cluster.lead().state.term > 2);
});

test("5.3 a follower takes entries only after one that it shares with the leader", () => {
  const solo = new Solo({ log: [1, 2], term: 3 });
  solo.append(2, 3, [3, 3], [entry(4, 3)]);
  assert.equal(solo.take("appendReply")[0]?.rejected, true);
  solo.append(2, 3, [9, 3], [entry(10, 3)]);
  assert.equal(solo.take("appendReply")[0]?.rejected, true);
  solo.append(2, 3, [3, 2], [entry(4, 3)]);
  assert.equal(solo.take("appendReply")[0]?.rejected, false);
});

test("5.3 the commit index follows the leader's, but not beyond what was compared", () => {
  const solo = new Solo({ log: [1, 1, 1], term: 2 });
  solo.append(2, 2, [2, 1], [entry(3, 1)], 99);
  assert.equal(solo.state.commit, 3, "entry 4 may differ from the leader's");
});

/** Figure 7: the log of the leader of term 8, and those that its followers may have. */
const LEADER = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
const FOLLOWERS: Readonly<Record<string, readonly number[]>> = {
  a: [1, 1, 1, 4, 4, 5, 5, 6, 6],
  b: [1, 1, 1, 4],
  c: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
  d: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
  e: [1, 1, 1, 4, 4, 4, 4],
  f: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
};

for (const [name, terms] of Object.entries(FOLLOWERS)) {
  test(`figure 7 (${name}): the follower comes to hold just what the leader holds`, () => {
    const cluster = new Cluster({ voters: 3, config: { maxAppendBytes: 80 } });
    const give = (id: number, log: readonly number[]): Member => {
      const member = cluster.member(id);
      member.disk.entries = log.map((each, i) => entry(i + 2, each));
      member.disk.hardState = { term: term(7), vote: 0, commit: index(1) };
      member.start();
      return member;
    };
    give(1, LEADER);
    give(2, LEADER);
    const follower = give(3, terms);
    const leader = cluster.elect(1);
    cluster.until(() => follower.appliedIndex === leader.state.commit, 20);
    const termsOf = (entries: readonly Entry[]): number[] => entries.map((each) => each.term);
    assert.deepEqual(termsOf(follower.state.log.entries), [...LEADER, 8]);
    assert.deepEqual(termsOf(follower.disk.entries), [...LEADER, 8]);
  });
}

test("5.4.1 votes go only to candidates whose log is at least as up to date", () => {
  const cases: readonly [readonly number[], number, number, boolean][] = [
    [[1], 2, 1, true],
    [[1], 3, 1, true],
    [[1, 1], 2, 1, false],
    [[1], 2, 2, true],
    [[1, 1], 1, 2, true],
    [[2], 9, 1, false],
  ];
  for (const [log, lastIndex, lastTerm, granted] of cases) {
    const solo = new Solo({ log, term: 2 });
    solo.from(2, 3, request(lastIndex, lastTerm));
    assert.equal(solo.take("voteReply")[0]?.granted, granted, `${log.join()} ${lastIndex}`);
  }
});

test("5.4.2 a leader commits entries of earlier terms only along with one of its own", () => {
  const solo = new Solo({ log: [1, 1], config: NO_PREVOTE });
  step(solo.state, { kind: "campaign" });
  solo.sync().vote(2, 2);
  solo.sync();
  solo.accept(2, 2, 3);
  assert.equal(solo.state.commit, 1, "entry 3 is on a majority, but of term 1");
  solo.accept(2, 2, 4);
  assert.equal(solo.state.commit, 4);
});

test("4.1 the single-server bug: no change before an entry of the leader's own term", () => {
  // Leaders 1 and 2 each want another change to the same four voters; were both taken, majorities
  // {1, 3, 5} of five and {2, 4} of three would not overlap (Ongaro, 2015).
  const cluster = new Cluster({ voters: 4, joiners: 1 });
  cluster.elect(1);
  cluster.settle();
  cluster.isolate(1);
  assert.equal(cluster.change("addVoter", 5, cluster.member(1)), undefined, "in the log of 1 only");
  cluster.member(1).step({ kind: "tick" });
  cluster.blocked = (m) => m.from === 1 || m.to === 1 || m.kind === "append";
  for (const member of cluster.members.slice(1)) member.state.electionElapsed = 10;
  cluster.member(2).step({ kind: "campaign" });
  cluster.settle();
  const second = cluster.member(2);
  assert.equal(second.state.role, "leader");
  assert.deepEqual(cluster.change("removeMember", 3, second), { code: "TermNotCommitted" });
  // Once its own entry is committed, nobody can elect a leader that holds the other change.
  cluster.isolate(1);
  cluster.tick(4);
  assert.equal(cluster.change("removeMember", 3, second), undefined);
  cluster.heal();
  cluster.tick(10);
  assert.equal(cluster.member(1).state.configs.length, 0, "the other change is gone");
});

test("4.2.1 a new member is a learner until it has caught up, and slows nothing meanwhile", () => {
  const cluster = new Cluster({ voters: 2, joiners: 1 });
  cluster.elect(1);
  cluster.isolate(3);
  cluster.change("addLearner", 3);
  cluster.settle();
  assert.equal(cluster.propose("both voters suffice"), undefined);
  cluster.settle();
  assert.deepEqual(cluster.texts(2), ["both voters suffice"]);
  cluster.heal();
  cluster.tick(6);
  cluster.change("addVoter", 3);
  cluster.tick(6);
  assert.deepEqual(cluster.lead().state.conf, votersOf(1, 2, 3));
});

test("4.2.3 a removed member that knows nothing of it does not disrupt the others", () => {
  const cluster = new Cluster({ voters: 4, config: NO_PREVOTE });
  cluster.elect(1);
  cluster.settle();
  cluster.isolate(4);
  cluster.change("removeMember", 4);
  cluster.tick(4);
  const { term: before } = cluster.lead().state;
  cluster.heal();
  cluster.blocked = (m) => m.to === 4;
  cluster.tick(80);
  assert.ok(cluster.member(4).state.term > before + 1, "it campaigns again and again");
  assert.deepEqual([cluster.lead().id, cluster.lead().state.term], [1, before]);
});

test("9.6 pre-vote: who comes back from isolation has no higher term, and disturbs nobody", () => {
  for (const preVote of [true, false]) {
    const cluster = new Cluster({ voters: 3, config: { preVote, checkQuorum: false } });
    cluster.elect(1);
    const { term: before } = cluster.lead().state;
    cluster.isolate(3);
    cluster.tick(80);
    const isHigher = cluster.member(3).state.term > before;
    assert.equal(isHigher, !preVote);
    cluster.heal();
    cluster.tick(60);
    assert.equal(cluster.lead().state.term > before, !preVote);
  }
});

test("6.2 check-quorum: a leader cut off from a majority steps down", () => {
  const cluster = new Cluster({ voters: 5 });
  const leader = cluster.elect(1);
  cluster.isolate(4, 5);
  cluster.tick(40);
  assert.equal(leader.state.role, "leader");
  cluster.isolate(3, 4, 5);
  cluster.tick(25);
  assert.equal(leader.state.role, "follower");
  assert.equal(cluster.leader?.id !== 1, true);
});

test("3.10 a transfer to a member that is gone ends, and the leader goes on", () => {
  const cluster = new Cluster({ voters: 3 });
  const leader = cluster.elect(1);
  cluster.settle();
  cluster.member(3).crash(0);
  leader.step({ kind: "transferLeader", to: peer(3) });
  assert.equal(cluster.propose("no")?.code, "Transferring");
  cluster.tick(12);
  assert.equal(cluster.propose("yes"), undefined);
  cluster.settle();
  assert.deepEqual(cluster.texts(2), ["yes"]);
});
