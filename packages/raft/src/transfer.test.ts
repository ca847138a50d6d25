import assert from "node:assert/strict";
import test from "node:test";
import { step } from "./index.ts";
import { Cluster, peer, votersOf } from "./testing/cluster.ts";
import { Solo } from "./testing/solo.ts";

test("leadership goes to a voter with the whole log, at once and in spite of leases", () => {
  const cluster = new Cluster({ voters: 3 });
  const leader = cluster.elect(1);
  cluster.tick(3);
  assert.equal(leader.step({ kind: "transferLeader", to: peer(3) }), undefined);
  cluster.settle();
  assert.equal(cluster.lead().id, 3);
  assert.equal(leader.state.role, "follower");
});

test("the target catches up first; proposals are refused meanwhile", () => {
  const cluster = new Cluster({ voters: 3 });
  const leader = cluster.elect(1);
  cluster.isolate(3);
  cluster.propose("x");
  cluster.settle();
  leader.step({ kind: "transferLeader", to: peer(3) });
  assert.deepEqual(cluster.propose("y"), { code: "Transferring", to: 3 });
  assert.deepEqual(cluster.change("addVoter", 4), { code: "Transferring", to: 3 });
  cluster.heal();
  cluster.until(() => cluster.leader?.id === 3, 9);
  assert.deepEqual(cluster.texts(3), ["x"]);
});

test("it is given up after an election timeout", () => {
  const cluster = new Cluster({ voters: 3 });
  const leader = cluster.elect(1);
  cluster.isolate(3);
  cluster.propose("x");
  cluster.settle();
  leader.step({ kind: "transferLeader", to: peer(3) });
  cluster.tick(9);
  assert.equal(leader.state.transferee, 3);
  cluster.tick(1);
  assert.equal(leader.state.transferee, 0);
  assert.equal(cluster.propose("y"), undefined);
  assert.equal(leader.state.role, "leader");
});

test("refused: strangers, learners, damaged members, and by followers", () => {
  const solo = new Solo({ conf: { ...votersOf(1, 2, 3), learners: [peer(4)] } }).lead();
  const transfer = (to: number) => step(solo.state, { kind: "transferLeader", to: peer(to) });
  assert.equal(transfer(4)?.code, "InvalidMessage");
  assert.equal(transfer(9)?.code, "InvalidMessage");
  solo.accept(2, 2, 1, 77);
  assert.equal(transfer(2)?.code, "InvalidMessage");
  assert.equal(transfer(3), undefined);
  assert.equal(transfer(3), undefined);
  assert.equal(solo.state.transferee, 3);
  assert.equal(transfer(1), undefined, "back to itself: given up");
  assert.equal(solo.state.transferee, 0);
  assert.deepEqual(step(new Solo().state, { kind: "transferLeader", to: peer(2) }), {
    code: "NotLeader",
    leader: 0,
  });
});

test("timeoutNow is for followers that may lead", () => {
  const learner = new Solo({ conf: { ...votersOf(2, 3), learners: [peer(1)] } });
  learner.from(2, 1, { kind: "timeoutNow" });
  assert.equal(learner.state.role, "follower");
  const follower = new Solo();
  follower.from(2, 1, { kind: "timeoutNow" });
  assert.equal(follower.state.role, "candidate");
  const [vote] = follower.take("vote");
  assert.deepEqual([vote?.force, vote?.after], [true, 1]);
});
