/** Joint configurations (Raft paper, section 6), end to end; the algebra is in changes.test.ts. */

import assert from "node:assert/strict";
import test from "node:test";
import { applyConfChange, encodeAnyChange, step, type StepError } from "./index.ts";
import { Cluster, jointChange, peer, votersOf } from "./testing/cluster.ts";
import { index, Solo, term } from "./testing/solo.ts";

test("two voters are added at once, and the joint configuration is left by itself", () => {
  const cluster = new Cluster({ voters: 1, joiners: 2 });
  cluster.elect(1);
  assert.equal(cluster.joint("v2 v3"), undefined);
  cluster.tick(10);
  for (const member of cluster.members) assert.deepEqual(member.state.conf, votersOf(1, 2, 3));
  assert.equal(cluster.propose("all three"), undefined);
  cluster.settle();
  assert.deepEqual(cluster.texts(3), ["all three"]);
});

test("while it is joint, both halves must agree to commit and to elect", () => {
  const cluster = new Cluster({ voters: 3, joiners: 2 });
  cluster.elect(1);
  cluster.settle();
  assert.equal(cluster.joint("r2 r3 v4 v5", "explicit"), undefined);
  cluster.tick(10);
  const leader = cluster.lead();
  assert.deepEqual(leader.state.conf.votersOutgoing, [1, 2, 3]);
  assert.deepEqual(leader.state.conf.voters, [1, 4, 5]);
  const { commit } = leader.state;
  // The new half alone does not commit ...
  cluster.isolate(2, 3);
  cluster.propose("new half only");
  cluster.settle();
  assert.equal(leader.state.commit, commit);
  // ... and does not keep the leader in office.
  cluster.tick(25);
  assert.equal(leader.state.role !== "leader", true);
  cluster.tick(40);
  assert.equal(cluster.leader, undefined);
  cluster.heal();
  cluster.until(() => cluster.leader !== undefined);
  cluster.tick(4);
  assert.equal(cluster.joint("", "auto"), undefined);
  cluster.until(() => !cluster.lead().state.conf.votersOutgoing.includes(peer(2)));
  cluster.until(() => [1, 4, 5].includes(cluster.leader?.id ?? 0));
  assert.deepEqual(cluster.lead().state.conf.voters, [1, 4, 5]);
});

test("a voter that becomes a learner votes until the joint configuration is left", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.settle();
  assert.equal(cluster.joint("l3 u2", "explicit"), undefined);
  cluster.tick(4);
  const { conf } = cluster.lead().state;
  assert.deepEqual(
    [conf.voters, conf.votersOutgoing, conf.learners, conf.learnersNext],
    [[1, 2], [1, 2, 3], [], [3]],
  );
  assert.equal(cluster.joint("", "auto"), undefined);
  cluster.tick(4);
  assert.deepEqual(cluster.lead().state.conf, { ...votersOf(1, 2), learners: [3] });
});

test("a leader that leaves with the outgoing half hands over", () => {
  const cluster = new Cluster({ voters: 3, joiners: 1 });
  cluster.elect(1);
  cluster.settle();
  assert.equal(cluster.joint("v4 r1"), undefined);
  cluster.until(() => (cluster.leader?.id ?? 1) !== 1, 60);
  cluster.tick(10);
  assert.deepEqual(cluster.lead().state.conf, votersOf(2, 3, 4));
  assert.equal(cluster.member(1).state.role, "follower");
});

test("with stepDown it stops leading at once; with stay it leads on, not counting itself", () => {
  for (const onRemoval of ["stepDown", "stay"] as const) {
    const cluster = new Cluster({ voters: 3, config: { onRemoval } });
    const leader = cluster.elect(1);
    cluster.settle();
    cluster.change("removeMember", 1);
    cluster.settle();
    assert.equal(leader.state.role, onRemoval === "stay" ? "leader" : "follower", onRemoval);
    cluster.until(() => (cluster.leader?.id ?? 1) !== 1 || onRemoval === "stay", 60);
  }
});

/** Asks a leader of three voters that has committed in its term. */
function asked(...texts: string[]): (StepError | undefined)[] {
  const solo = new Solo().lead();
  solo.accept(2, 2, 2);
  return texts.map((text) => {
    const change = jointChange(text);
    return step(solo.state, { kind: "proposeConf", change });
  });
}

test("impossible joint changes are refused with a reason", () => {
  const reason = (text: string): string => {
    const [refused] = asked(text);
    return refused?.code === "InvalidConfChange" ? refused.reason : (refused?.code ?? "taken");
  };
  assert.match(reason(""), /non-joint/);
  assert.match(reason("r1 r2 r3"), /removed all voters/);
  assert.match(reason("v0 v4"), /no member id|member id 0/);
  assert.equal(reason("v4 v5"), "taken");
  assert.equal(asked("v4 v5", "r4 r5")[1]?.code, "ConfChangeInFlight");
  const two = new Cluster({ voters: 2, joiners: 1 });
  two.elect(1);
  two.settle();
  const refused = two.joint("v3 r1");
  assert.equal(refused?.code, "InvalidConfChange", "a leader of two cannot go");
});

test("in a joint configuration only leaving it is proposed", () => {
  const cluster = new Cluster({ voters: 1, joiners: 1 });
  cluster.elect(1);
  cluster.settle();
  assert.equal(cluster.joint("v2", "explicit"), undefined);
  cluster.tick(6);
  assert.equal(cluster.change("addLearner", 3)?.code, "InvalidConfChange");
  assert.equal(cluster.joint("v3 v4")?.code, "InvalidConfChange");
  assert.equal(cluster.joint("", "auto"), undefined);
  cluster.tick(6);
  assert.deepEqual(cluster.lead().state.conf, votersOf(1, 2));
});

test("an impossible change in the log changes nothing, and the cluster goes on", () => {
  const solo = new Solo({ config: { checkConfChanges: false } }).lead();
  solo.accept(2, 2, 2);
  const change = jointChange("r1 r2 r3", "explicit");
  assert.equal(step(solo.state, { kind: "proposeConf", change }), undefined);
  solo.sync();
  solo.accept(2, 2, 3);
  solo.sync();
  assert.equal(solo.committed.at(-1)?.kind, "config");
  assert.deepEqual(applyConfChange(solo.state, change), votersOf(1, 2, 3));
  assert.equal(solo.state.role, "leader");
});

test("a new leader leaves a joint configuration that its predecessor was to leave", () => {
  const conf = { ...votersOf(1, 2), votersOutgoing: [peer(1), peer(3)], autoLeave: true };
  const cluster = new Cluster({ voters: 3 });
  for (const member of cluster.members) {
    member.disk.snapshot = { ...member.disk.snapshot, conf };
    member.start();
  }
  cluster.elect(1);
  cluster.tick(2);
  assert.deepEqual(cluster.lead().state.conf, votersOf(1, 2));
});

test("during a transfer it is not left; whoever leads afterwards does", () => {
  const cluster = new Cluster({ voters: 3, joiners: 1 });
  cluster.elect(1);
  cluster.settle();
  const leader = cluster.lead();
  cluster.joint("v4 r3");
  cluster.blocked = (message) => message.kind === "timeoutNow";
  leader.step({ kind: "transferLeader", to: peer(2) });
  cluster.settle();
  assert.equal(leader.state.conf.autoLeave, true, "joint, and it cannot propose to leave");
  cluster.heal();
  cluster.until(() => !(cluster.leader?.state.conf.autoLeave ?? true), 60);
  cluster.tick(10);
  assert.deepEqual(cluster.lead().state.conf, votersOf(1, 2, 4));
});

test("several proposals that hold a configuration change are refused as a whole", () => {
  const solo = new Solo({ config: { forwarding: true } }).lead();
  solo.accept(2, 2, 2);
  const data = encodeAnyChange(jointChange("v4 v5"));
  const config = { kind: "config", data } as const;
  const propose = (...proposals: { kind: "command" | "config"; data: Uint8Array }[]) =>
    solo.from(2, 0, { kind: "propose", proposals });
  assert.equal(propose({ kind: "command", data }, config)?.code, "InvalidConfChange");
  const garbage = { kind: "config", data: new Uint8Array([9]) } as const;
  assert.equal(propose(garbage)?.code, "InvalidConfChange");
  assert.equal(solo.state.log.entries.length, 1);
  assert.equal(propose(config), undefined);
  assert.equal(solo.state.log.entries.at(-1)?.kind, "config");
  assert.deepEqual([index(3), term(2)], [solo.state.log.entries.at(-1)?.index, solo.state.term]);
});
