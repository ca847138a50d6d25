import assert from "node:assert/strict";
import test from "node:test";
import { advance, hasReady, step, type Entry, type MessageOf } from "./index.ts";
import { majorityValue } from "./quorum.ts";
import { commitTo } from "./state.ts";
import { Cluster, peer } from "./testing/cluster.ts";
import type { Member } from "./testing/member.ts";
import { entry, index, Solo, term } from "./testing/solo.ts";

const terms = (entries: readonly Entry[]): number[] => entries.map((e) => e.term);
const data = (bytes: number): Uint8Array => new Uint8Array(bytes);

test("a proposal reaches every member and is applied everywhere, promptly", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  for (const text of ["a", "b", "c"]) assert.equal(cluster.propose(text), undefined);
  cluster.settle();
  // No tick was needed for the followers to learn of the commit.
  for (const member of cluster.members) {
    assert.deepEqual(cluster.texts(member.id), ["a", "b", "c"]);
    assert.equal(member.appliedIndex, 5);
  }
});

test("appends go out at once; the leader counts itself only once its own write is durable", () => {
  const solo = new Solo().lead();
  solo.accept(2, 2, 2);
  assert.equal(solo.state.commit, 2);
  solo.take("append");
  step(solo.state, { kind: "propose", entries: [data(1), data(2)] });
  solo.drain();
  // Member 2 replicates; member 3 is still being probed.
  const [append] = solo.take("append");
  assert.deepEqual([append?.to, append?.after, append?.entries.length], [2, 0, 2]);
  solo.accept(2, 2, 4);
  assert.equal(solo.state.commit, 2);
  solo.sync();
  assert.equal(solo.state.commit, 4);
});

test("others commit without the leader, but it applies nothing before it is durable", () => {
  const solo = new Solo().lead();
  step(solo.state, { kind: "propose", entries: [data(1)] });
  solo.drain();
  const before = solo.committed.length;
  solo.accept(2, 2, 3);
  solo.accept(3, 2, 3);
  assert.equal(solo.state.commit, 3);
  assert.deepEqual(solo.committed.slice(before), [solo.state.log.entries[0]]);
  solo.sync();
  assert.equal(solo.committed.at(-1)?.index, 3);
});

test("a follower acknowledges entries once they are durable, refusals at once", () => {
  const solo = new Solo({ term: 2 });
  solo.append(2, 2, [1, 1], [entry(2, 2), entry(3, 2)], 2);
  const [accepted] = solo.take("appendReply");
  assert.deepEqual(
    [accepted?.rejected, accepted?.index, accepted?.after, solo.persists.length],
    [false, 3, 1, 1],
  );
  assert.deepEqual(solo.committed, []);
  solo.append(2, 2, [7, 2], []);
  const [refused] = solo.take("appendReply");
  assert.deepEqual([refused?.rejected, refused?.index, refused?.after], [true, 7, 0]);
  assert.deepEqual([refused?.hintIndex, refused?.hintTerm], [3, 2]);
  solo.sync();
  assert.deepEqual(terms(solo.committed), [2]);
  // The same again is durable already.
  solo.append(2, 2, [1, 1], [entry(2, 2), entry(3, 2)], 3);
  assert.equal(solo.take("appendReply")[0]?.after, 0);
});

test("ABA: the persist of truncated entries does not acknowledge those that replaced them", () => {
  const solo = new Solo({ term: 2 });
  solo.append(2, 2, [1, 1], [entry(2, 2), entry(3, 2), entry(4, 2)]);
  solo.append(3, 3, [2, 2], [entry(3, 3), entry(4, 3)], 4);
  assert.deepEqual(
    solo.persists.map((p) => [p.seq, p.entries[0]?.index]),
    [
      [1, 2],
      [2, 3],
    ],
  );
  assert.deepEqual(
    solo.take("appendReply").map((m) => [m.index, m.after]),
    [
      [4, 1],
      [4, 2],
    ],
  );
  advance(solo.state, { kind: "persisted", seq: 1 });
  solo.drain();
  assert.deepEqual(
    solo.committed.map((e) => [e.index, e.term]),
    [[2, 2]],
  );
  // An acknowledgement asked for now still waits for the second persist.
  solo.append(3, 3, [4, 3], []);
  assert.equal(solo.take("appendReply")[0]?.after, 2);
  advance(solo.state, { kind: "persisted", seq: 2 });
  solo.drain();
  assert.deepEqual(terms(solo.committed), [2, 3, 3]);
});

test("several persists outstanding: each message names the earliest that covers it", () => {
  const solo = new Solo({ term: 2 });
  for (let at = 2; at < 6; at++) solo.append(2, 2, [at - 1, at === 2 ? 1 : 2], [entry(at, 2)]);
  assert.deepEqual(
    solo.take("appendReply").map((m) => m.after),
    [1, 2, 3, 4],
  );
  solo.append(2, 2, [1, 1], [entry(2, 2), entry(3, 2)]);
  assert.equal(solo.take("appendReply")[0]?.after, 2);
  advance(solo.state, { kind: "persisted", seq: 3 });
  // Reporting an earlier one afterwards changes nothing.
  advance(solo.state, { kind: "persisted", seq: 2 });
  assert.equal(solo.state.io.durableIndex, 4);
});

test("outstanding persists are bounded: later writes gather into the next one", () => {
  const solo = new Solo({ term: 2 });
  for (let at = 2; at < 102; at++) solo.append(2, 2, [at - 1, at === 2 ? 1 : 2], [entry(at, 2)]);
  assert.equal(solo.persists.length, 64);
  assert.equal(solo.take("appendReply").at(-1)?.after, 65);
  advance(solo.state, { kind: "persisted", seq: 64 });
  solo.drain();
  assert.deepEqual([solo.persists.at(-1)?.seq, solo.persists.at(-1)?.entries.length], [65, 36]);
});

test("a conflicting suffix is replaced, an agreeing one kept", () => {
  const solo = new Solo({ log: [2, 2, 2], term: 3 });
  solo.append(2, 3, [2, 2], [entry(3, 2)]);
  assert.deepEqual(terms(solo.state.log.entries), [2, 2, 2]);
  solo.append(2, 3, [2, 2], [entry(3, 3)]);
  assert.deepEqual(terms(solo.state.log.entries), [2, 3]);
  assert.deepEqual(terms(solo.persists.at(-1)?.entries ?? []), [3]);
});

test("nothing committed is ever replaced: such a message is refused as invalid", () => {
  const solo = new Solo({ log: [2, 2, 2], term: 4, commit: 3 });
  const failed = solo.append(2, 4, [1, 1], [entry(2, 3), entry(3, 3), entry(4, 3), entry(5, 4)]);
  assert.equal(failed?.code, "InvalidMessage");
  assert.equal(solo.append(2, 4, [3, 4], [])?.code, "InvalidMessage");
  assert.deepEqual(terms(solo.state.log.entries), [2, 2, 2]);
  // Old news is acknowledged up to the commit index, news that begin below it are taken.
  solo.append(2, 4, [1, 1], [entry(2, 2)]);
  assert.equal(solo.take("appendReply")[0]?.index, 3);
  solo.append(2, 4, [1, 1], [entry(2, 2), entry(3, 2), entry(4, 2), entry(5, 4)]);
  assert.deepEqual(terms(solo.state.log.entries), [2, 2, 2, 4]);
});

test("back-tracking takes one round trip for each term that differs", () => {
  const cluster = new Cluster({ voters: 3, config: { maxAppendBytes: 1e6 } });
  cluster.elect(1);
  cluster.settle();
  // Member 1 writes a long suffix that nobody else gets.
  cluster.isolate(1);
  for (let i = 0; i < 50; i++) cluster.propose(`lost ${i}`, cluster.member(1));
  cluster.settle();
  cluster.tick(30);
  cluster.until(() => (cluster.leader?.id ?? 1) !== 1);
  for (let i = 0; i < 50; i++) cluster.propose(`kept ${i}`);
  cluster.settle();
  cluster.heal();
  let refused = 0;
  cluster.blocked = (message) => {
    if (message.kind === "appendReply" && message.rejected) refused++;
    return false;
  };
  cluster.until(() => cluster.texts(1).length === 50 && cluster.texts(1)[0] === "kept 0");
  assert.ok(refused <= 3, `${refused} refusals`);
});

test("lost appends are found out by the next heartbeat, also with a full window", () => {
  const cluster = new Cluster({ voters: 2, config: { maxInflight: 2, maxAppendBytes: 40 } });
  cluster.elect(1);
  cluster.settle();
  cluster.blocked = (message) => message.kind === "append";
  for (let i = 0; i < 5; i++) cluster.propose(`${i}`);
  cluster.settle();
  const progress = cluster.lead().state.progress.get(peer(2));
  assert.equal(progress?.inflight.length, 2);
  cluster.heal();
  cluster.tick(4);
  assert.equal(cluster.texts(2).length, 5);
  assert.equal(cluster.member(2).state.commit, 7);
});

test("appends are limited in size and number; one entry goes whatever its size", () => {
  const solo = new Solo({ config: { maxInflight: 3, maxAppendBytes: 100 } }).lead();
  solo.accept(2, 2, 2);
  solo.take("append");
  step(solo.state, { kind: "propose", entries: [data(500), data(18), data(18), data(9), data(9)] });
  solo.drain();
  const sent = solo.take("append").filter((m) => m.to === 2);
  assert.deepEqual(
    sent.map((m) => m.entries.length),
    [1, 2, 2],
  );
  step(solo.state, { kind: "propose", entries: [data(1)] });
  solo.drain();
  assert.deepEqual(solo.take("append"), []);
  solo.accept(2, 2, 3);
  assert.equal(solo.take("append")[0]?.entries.length, 1);
});

test("unreachable: pipelining stops until the member is heard from", () => {
  const solo = new Solo().lead();
  solo.accept(2, 2, 2);
  step(solo.state, { kind: "unreachable", peer: peer(2) });
  step(solo.state, { kind: "unreachable", peer: peer(7) });
  assert.equal(solo.state.progress.get(peer(2))?.state, "probe");
  solo.take("append");
  for (let i = 0; i < 3; i++) step(solo.state, { kind: "propose", entries: [data(1)] });
  solo.drain();
  step(solo.state, { kind: "propose", entries: [data(1)] });
  solo.drain();
  assert.equal(solo.take("append").filter((m) => m.to === 2).length, 1);
});

test("stale refusals and acknowledgements change nothing", () => {
  const solo = new Solo().lead();
  solo.accept(2, 2, 2);
  const before = { ...solo.state.progress.get(peer(2)) };
  solo.take("append");
  const refuse = { kind: "appendReply", rejected: true, repair: 0 } as const;
  solo.from(2, 2, { ...refuse, index: index(1), hintIndex: index(1), hintTerm: term(1) });
  solo.accept(2, 2, 1);
  assert.deepEqual(solo.state.progress.get(peer(2)), before);
  // Member 3 is probed at 1.
  solo.from(3, 2, { ...refuse, index: index(9), hintIndex: index(0), hintTerm: term(0) });
  assert.equal(solo.state.progress.get(peer(3))?.next, 2);
  assert.equal(solo.accept(2, 2, 99)?.code, "InvalidMessage");
  assert.equal(solo.accept(9, 2, 2), undefined);
  const round = { kind: "heartbeatReply", readRound: 99, repair: 0 } as const;
  assert.equal(solo.from(2, 2, round)?.code, "InvalidMessage");
  assert.equal(solo.from(9, 2, round), undefined);
});

test("flow control: proposals beyond maxUncommittedBytes are refused until some commit", () => {
  const solo = new Solo({ config: { maxUncommittedBytes: 300 } }).lead();
  solo.accept(2, 2, 2);
  const propose = (bytes: number) => step(solo.state, { kind: "propose", entries: [data(bytes)] });
  assert.equal(propose(1000), undefined, "an idle leader takes any size");
  assert.deepEqual(propose(1), { code: "Overloaded" });
  solo.sync();
  solo.accept(2, 2, 3);
  assert.equal(solo.state.uncommittedBytes, 0);
  assert.equal(propose(100), undefined);
  assert.equal(propose(100), undefined);
  assert.deepEqual(propose(100), { code: "Overloaded" });
  assert.deepEqual(step(new Solo().state, { kind: "propose", entries: [] }), {
    code: "NotLeader",
    leader: 0,
  });
});

test("committed entries are handed out once, in order, never more than may be unapplied", () => {
  const solo = new Solo({ log: [2, 2, 2, 2, 2], term: 2, config: { maxApplyBytes: 70 } });
  solo.append(2, 2, [6, 2], [], 6);
  const handed = (): number[] => solo.drain().committed.map((e) => e.index);
  assert.deepEqual(handed(), [2, 3]);
  assert.equal(hasReady(solo.state), false);
  advance(solo.state, { kind: "applied", index: index(2) });
  // One alone would be too much, but something always goes.
  assert.deepEqual(handed(), [2, 3, 4]);
  advance(solo.state, { kind: "applied", index: index(4) });
  assert.equal(hasReady(solo.state), true);
  assert.deepEqual(handed(), [2, 3, 4, 5, 6]);
});

/**
 * Raft paper, figure 8. Members 1 to 5; an old entry comes to be on a majority without being
 * committed, and a later leader without it may still replace it.
 */
function figure8(countAnyTerm: boolean): Cluster {
  const cluster = new Cluster({ voters: 5, config: { maxAppendBytes: 1 } });
  const only = (...links: string[]): void => {
    cluster.blocked = (m) => m.kind === "append" && !links.includes(`${m.from}>${m.to}`);
  };
  const quiet = (id: number): void => {
    cluster.member(id).crash(99);
    cluster.settle();
  };
  // Leases have run out; the first try may only bring the candidate up to date with the term.
  const forceLead = (id: number): Member => {
    for (const m of cluster.members) if (m.up) m.state.electionElapsed = 10;
    cluster.member(id).step({ kind: "campaign" });
    cluster.settle();
    return cluster.member(id).state.role === "leader" ? cluster.member(id) : cluster.elect(id);
  };
  cluster.elect(1);
  // (a) The entry "old" of the first leader reaches member 2 only.
  only("1>2");
  cluster.propose("old", cluster.member(1));
  cluster.settle();
  quiet(1);
  // (b) Member 5 leads with the votes of 3 and 4; its noop reaches nobody.
  only();
  forceLead(5);
  quiet(5);
  // (c) Member 1 leads again and brings "old" to member 3, a majority; its own noop only to member
  // 2.
  cluster.member(1).start();
  const ownTerm = (m: MessageOf<"append">): boolean => m.entries.some((e) => e.term === m.term);
  cluster.blocked = (m) =>
    m.kind === "append" &&
    (m.to === 4 || (m.to === 3 && cluster.texts(3).length > 0 && ownTerm(m)));
  const leader = forceLead(1);
  cluster.tick(4);
  assert.deepEqual(
    [2, 3, 4].map((id) => cluster.texts(id).length),
    [1, 1, 0],
  );
  const { state } = leader;
  const held = state.conf.voters.map((id) => state.progress.get(id)?.match ?? 0);
  assert.deepEqual(held, [4, 4, 3, 0, 0], "the leader knows it to be on a majority");
  if (countAnyTerm) {
    commitTo(state, majorityValue(held));
    leader.pump();
    cluster.settle();
  } else {
    assert.equal(state.commit, 2, "an old entry is not committed by counting");
  }
  quiet(1);
  // (d) Member 5 leads again and replaces it.
  cluster.heal();
  cluster.member(5).start();
  forceLead(5);
  return cluster;
}

test("figure 8: an entry of an earlier term is not committed by counting", () => {
  const cluster = figure8(false);
  assert.deepEqual(cluster.texts(3), []);
});

test("figure 8: a leader that does so is noticed", () => {
  assert.throws(() => figure8(true), /lacks committed entry/);
});
