/** What a follower passes on to its leader, where every member is known to understand it. */

import assert from "node:assert/strict";
import test from "node:test";
import { utf8 } from "@blixard/std";
import { MAX_FORWARDED, MAX_PENDING_READS, step } from "./index.ts";
import { Cluster, peer } from "./testing/cluster.ts";
import { index, Solo } from "./testing/solo.ts";

const FORWARDING = { forwarding: true } as const;

test("proposals, configuration changes, reads and transfers reach the leader", () => {
  const cluster = new Cluster({ voters: 3, config: FORWARDING });
  cluster.elect(1);
  cluster.settle();
  const follower = cluster.member(2);
  assert.equal(cluster.propose("through 2", follower), undefined);
  cluster.settle();
  assert.deepEqual(cluster.texts(3), ["through 2"]);
  const { read } = cluster.ask(follower);
  cluster.settle();
  assert.equal(read.answer?.index, cluster.lead().state.commit);
  assert.equal(cluster.change("removeMember", 3, follower), undefined);
  cluster.settle();
  assert.deepEqual(cluster.lead().state.conf.voters, [1, 2]);
  assert.equal(follower.step({ kind: "transferLeader", to: peer(2) }), undefined);
  cluster.settle();
  assert.equal(cluster.lead().id, 2);
});

test("without a leader, as a candidate, or without forwarding all of it is refused", () => {
  const ask = (solo: Solo): (string | undefined)[] => [
    step(solo.state, { kind: "propose", entries: [utf8("x")] })?.code,
    step(solo.state, { kind: "readIndex", context: 1 })?.code,
    step(solo.state, { kind: "transferLeader", to: peer(2) })?.code,
  ];
  const none = ["NotLeader", "NotLeader", "NotLeader"];
  assert.deepEqual(ask(new Solo({ config: FORWARDING })), none);
  const candidate = new Solo({ config: FORWARDING }).tick(20);
  assert.equal(candidate.state.role, "preCandidate");
  assert.deepEqual(ask(candidate), none);
  const follower = new Solo();
  follower.append(2, 1, [1, 1], []);
  assert.deepEqual(ask(follower), none);
});

test("requests have no term; whoever is asked by mistake passes them on or refuses them", () => {
  const solo = new Solo({ config: FORWARDING, term: 7 });
  solo.append(3, 7, [1, 1], []);
  const proposals = [{ kind: "command", data: utf8("x") } as const];
  assert.equal(solo.from(2, 0, { kind: "propose", proposals }), undefined);
  assert.equal(solo.take("propose")[0]?.to, 3);
  solo.from(2, 0, { kind: "readIndex", context: 4 });
  assert.deepEqual(
    solo.take("readIndex").map((m) => [m.to, m.context]),
    [[3, 4]],
  );
  assert.equal(solo.state.term, 7);
  const many = Array.from({ length: MAX_FORWARDED + 1 }, () => new Uint8Array(0));
  assert.deepEqual(step(solo.state, { kind: "propose", entries: many }), { code: "Overloaded" });
});

test("answers to forwarded reads are bounded, and dropped when leadership is lost", () => {
  const solo = new Solo({ config: FORWARDING });
  solo.append(3, 1, [1, 1], []);
  const answer = { kind: "readIndexReply", index: index(1) } as const;
  for (let context = 0; context < MAX_PENDING_READS; context++) {
    const message = { ...answer, context, to: peer(1), from: peer(3), term: solo.state.term };
    assert.equal(step(solo.state, { kind: "message", message }), undefined);
  }
  assert.equal(solo.from(3, 1, { ...answer, context: 1 })?.code, "Overloaded");
  assert.equal(
    solo.from(3, 1, { ...answer, index: index(-1), context: 1 })?.code,
    "InvalidMessage",
  );
  const leader = new Solo({ config: FORWARDING }).lead();
  leader.from(2, 0, { kind: "readIndex", context: 9 });
  leader.append(3, 3, [1, 1], []);
  assert.deepEqual(leader.reads, []);
  assert.deepEqual(leader.take("readIndexReply"), []);
});

test("the leader answers a forwarded read to whoever asked, once a quorum has confirmed it", () => {
  const solo = new Solo({ config: FORWARDING }).lead();
  solo.accept(2, 2, 2);
  solo.from(3, 0, { kind: "readIndex", context: 9 });
  assert.deepEqual(solo.take("readIndexReply"), []);
  solo.from(2, 2, { kind: "heartbeatReply", readRound: 1, repair: 0 });
  assert.deepEqual(
    solo.take("readIndexReply").map((m) => [m.to, m.context, m.index]),
    [[3, 9, 2]],
  );
  assert.deepEqual(solo.reads, [], "it is not the leader's own");
});

test("forgetting the leader: the next candidate finds an open ear before a timeout is over", () => {
  const solo = new Solo();
  solo.append(2, 1, [1, 1], []);
  const vote = {
    kind: "vote",
    lastIndex: index(9),
    lastTerm: solo.state.term,
    force: false,
  } as const;
  solo.from(3, 2, vote);
  assert.deepEqual(solo.take("voteReply"), []);
  assert.equal(step(solo.state, { kind: "forgetLeader" }), undefined);
  assert.equal(solo.state.leader, 0);
  solo.from(3, 2, vote);
  assert.equal(solo.take("voteReply")[0]?.granted, true);
  const leader = new Solo().lead();
  assert.equal(step(leader.state, { kind: "forgetLeader" }), undefined);
  assert.equal(leader.state.leader, 1, "a leader does not forget itself");
});
