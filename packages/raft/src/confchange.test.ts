import assert from "node:assert/strict";
import test from "node:test";
import {
  applyConfChange,
  changeConf,
  changeProblem,
  createRaft,
  encodeConfChange,
  MAX_CONTEXT_BYTES,
  MAX_MEMBERS,
  step,
  type ConfChange,
  type ConfChangeOp,
} from "./index.ts";
import { Cluster, peer, TEST_CONFIG, votersOf } from "./testing/cluster.ts";
import { entry, index, Solo, term } from "./testing/solo.ts";

const change = (
  op: ConfChangeOp,
  id: number,
  context: Uint8Array = new Uint8Array(0),
): ConfChange => ({
  op,
  peer: peer(id),
  context,
});

test("a joiner is added as a learner, promoted, and removed again", () => {
  const cluster = new Cluster({ voters: 1, joiners: 1 });
  cluster.elect(1);
  cluster.propose("before");
  cluster.settle();
  assert.equal(cluster.change("addLearner", 2), undefined);
  cluster.tick(5);
  assert.deepEqual(cluster.member(2).state.conf, { ...votersOf(1), learners: [2] });
  assert.equal(cluster.member(2).appliedIndex, cluster.lead().state.commit);
  // A learner's acknowledgement does not count: alone, the voter commits.
  cluster.isolate(2);
  cluster.propose("alone");
  cluster.settle();
  assert.equal(cluster.lead().state.commit, 5);
  cluster.heal();
  assert.equal(cluster.change("addVoter", 2), undefined);
  cluster.tick(5);
  assert.deepEqual(cluster.member(2).state.conf, votersOf(1, 2));
  cluster.isolate(2);
  cluster.propose("needs both");
  cluster.settle();
  assert.equal(cluster.lead().state.commit, 6);
  cluster.heal();
  cluster.tick(5);
  assert.equal(cluster.change("removeMember", 2), undefined);
  cluster.tick(5);
  assert.deepEqual(cluster.lead().state.conf, votersOf(1));
  assert.deepEqual([...cluster.lead().state.progress.keys()], [1]);
});

test("a change waits for an entry of the leader's term, and for the change before it", () => {
  const solo = new Solo().lead();
  const propose = (c: ConfChange) => step(solo.state, { kind: "proposeConf", change: c });
  assert.deepEqual(propose(change("addVoter", 4)), { code: "TermNotCommitted" });
  solo.accept(2, 2, 2);
  assert.equal(propose(change("addVoter", 4)), undefined);
  assert.deepEqual(propose(change("addVoter", 5)), { code: "ConfChangeInFlight" });
  solo.sync();
  solo.accept(2, 2, 3);
  assert.equal(solo.state.commit, 3);
  assert.deepEqual(propose(change("addVoter", 5)), { code: "ConfChangeInFlight" });
  // Committed, and now durably known to be.
  solo.sync();
  assert.equal(solo.committed.at(-1)?.kind, "config");
  assert.deepEqual(solo.state.conf.voters, [1, 2, 3], "in force only once applied");
  const conf = applyConfChange(solo.state, change("addVoter", 4));
  assert.deepEqual(conf.voters, [1, 2, 3, 4]);
  assert.equal(propose(change("addVoter", 5)), undefined);
  assert.deepEqual(step(new Solo().state, { kind: "proposeConf", change: change("addVoter", 4) }), {
    code: "NotLeader",
    leader: 0,
  });
});

test("a configuration is announced and applied only once its commit is durable", () => {
  const solo = new Solo().lead();
  solo.accept(2, 2, 2);
  step(solo.state, { kind: "proposeConf", change: change("addLearner", 4) });
  solo.sync();
  solo.take("append");
  const applied = solo.committed.length;
  solo.accept(2, 2, 3);
  const persist = solo.persists.at(-1);
  assert.equal(persist?.hardState?.commit, 3);
  const [announced] = solo.take("append");
  assert.deepEqual([announced?.commit, announced?.after], [3, persist.seq]);
  solo.tick(2);
  for (const beat of solo.take("heartbeat")) assert.equal(beat.after, persist.seq);
  assert.equal(solo.committed.length, applied);
  solo.sync();
  assert.equal(solo.committed.length, applied + 1);
  solo.tick(2);
  for (const beat of solo.take("heartbeat")) assert.equal(beat.after, 0);
});

test("a cancelled change changes nothing", () => {
  const solo = new Solo().lead();
  solo.accept(2, 2, 2);
  step(solo.state, { kind: "proposeConf", change: change("removeMember", 3) });
  solo.sync();
  solo.accept(2, 2, 3);
  solo.sync();
  assert.deepEqual(applyConfChange(solo.state, undefined), votersOf(1, 2, 3));
  assert.throws(() => applyConfChange(solo.state, undefined), /follows a config entry/);
});

test("impossible changes are refused with a reason", () => {
  const conf = { ...votersOf(1), learners: [peer(2)] };
  const problem = (op: ConfChangeOp, id: number, context?: Uint8Array): string =>
    changeProblem(conf, change(op, id, context)) ?? "none";
  assert.match(problem("removeMember", 1), /last voter/);
  assert.match(problem("removeMember", 9), /not a member/);
  assert.match(problem("addLearner", 1), /is a voter/);
  assert.match(problem("addVoter", 0), /no member id/);
  assert.match(problem("addVoter", 3, new Uint8Array(MAX_CONTEXT_BYTES + 1)), /exceeds/);
  assert.equal(problem("addVoter", 1), "none", "again, for a new context");
  assert.equal(problem("addLearner", 2), "none");
  assert.equal(problem("removeMember", 2), "none");
  assert.deepEqual(changeConf(conf, change("removeMember", 1)), conf);
  const full = votersOf(...Array.from({ length: MAX_MEMBERS }, (_, i) => i + 1));
  assert.match(changeProblem(full, change("addLearner", MAX_MEMBERS + 1)) ?? "", /already/);
  const solo = new Solo().lead();
  solo.accept(2, 2, 2);
  const refused = step(solo.state, { kind: "proposeConf", change: change("removeMember", 9) });
  assert.equal(refused?.code, "InvalidConfChange");
});

test("a leader removed from three voters hands over and steps down", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  assert.equal(cluster.change("removeMember", 1), undefined);
  cluster.tick(4);
  assert.equal(cluster.member(1).state.role, "follower");
  assert.notEqual(cluster.lead().id, 1);
  assert.deepEqual(cluster.lead().state.conf, votersOf(2, 3));
  cluster.tick(60);
  assert.notEqual(cluster.lead().id, 1, "it does not campaign any more");
});

test("a removed leader does not count itself, tries again, and at last gives up", () => {
  const cluster = new Cluster({ voters: 4 });
  const leader = cluster.elect(1);
  cluster.settle();
  cluster.blocked = (message) => message.kind === "timeoutNow";
  cluster.change("removeMember", 1);
  cluster.settle();
  assert.equal(leader.state.role, "leader");
  assert.deepEqual(cluster.propose("no", leader), { code: "Transferring", to: 2 });
  cluster.tick(15);
  assert.equal(leader.state.role, "leader", "still tries");
  cluster.isolate(1);
  cluster.tick(25);
  assert.equal(leader.state.role, "follower");
});

test("a removed member that a voter cannot win without campaigns in its place", () => {
  const ask = { kind: "preVote", lastIndex: index(1), lastTerm: term(1), force: false } as const;
  const solo = new Solo({ conf: votersOf(2, 3), log: [1, 1] });
  solo.from(9, 2, ask);
  assert.equal(solo.take("preVote").length, 0, "9 is no voter");
  solo.from(2, 2, ask);
  assert.deepEqual(
    solo.take("preVote").map((m) => m.to),
    [2, 3],
  );
  for (const id of [2, 3]) solo.from(id, 2, { kind: "preVoteReply", granted: true });
  solo.sync();
  solo.vote(2, 2);
  assert.equal(solo.state.role, "candidate", "it does not count itself");
  solo.vote(3, 2);
  solo.sync();
  solo.accept(2, 2, 4);
  assert.equal(solo.state.commit, 1);
  solo.accept(3, 2, 4);
  assert.equal(solo.state.commit, 4);
  solo.tick(10);
  assert.equal(solo.take("timeoutNow")[0]?.to, 2);

  const learner = new Solo({ conf: { ...votersOf(2, 3), learners: [peer(1)] }, log: [1, 1] });
  learner.from(2, 2, ask);
  assert.equal(learner.state.role, "follower");
});

test("of two voters, the leader cannot remove itself", () => {
  const cluster = new Cluster({ voters: 2 });
  cluster.elect(1);
  const refused = cluster.change("removeMember", 1);
  assert.equal(refused?.code, "InvalidConfChange");
  assert.equal(cluster.change("removeMember", 2), undefined);
  cluster.settle();
  assert.deepEqual(cluster.lead().state.conf, votersOf(1));
});

test("a candidate that applies its own removal gives up", () => {
  const solo = new Solo({ log: [1], commit: 1 });
  solo.state.log.entries = [entry(2, 1, "config")];
  solo.state.configs = [2];
  step(solo.state, { kind: "campaign" });
  solo.drain();
  solo.state.commit = index(2);
  solo.sync();
  assert.equal(solo.committed.length, 1);
  applyConfChange(solo.state, change("removeMember", 1));
  assert.equal(solo.state.role, "follower");
});

test("of two configurations in a log the first is committed, whatever the commit hint says", () => {
  const config = { ...TEST_CONFIG, id: peer(1) };
  const add = (at: number, id: number) => ({
    index: index(at),
    term: term(1),
    kind: "config" as const,
    data: encodeConfChange(change("addVoter", id)),
  });
  const state = createRaft(
    config,
    {
      hardState: { term: term(1), vote: 0, commit: index(1) },
      snapshot: { index: index(1), term: term(1), conf: votersOf(1) },
      entries: [add(2, 2), add(3, 3)],
      damaged: false,
    },
    { u32: () => 1 },
  );
  assert.equal(state.commit, 2);
  assert.deepEqual(step(state, { kind: "campaign" }), { code: "NotLeader", leader: 0 });
});

test("a transfer to a member that is removed meanwhile ends", () => {
  const solo = new Solo().lead();
  solo.accept(2, 2, 2);
  step(solo.state, { kind: "proposeConf", change: change("removeMember", 3) });
  step(solo.state, { kind: "transferLeader", to: peer(3) });
  solo.sync();
  solo.accept(2, 2, 3);
  solo.sync();
  assert.equal(solo.state.transferee, 3);
  applyConfChange(solo.state, change("removeMember", 3));
  assert.equal(solo.state.transferee, 0);
});
