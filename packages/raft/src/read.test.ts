import assert from "node:assert/strict";
import test from "node:test";
import { present } from "@blixard/std";
import { cloneState, MAX_PENDING_READS, step } from "./index.ts";
import { answerReads } from "./read.ts";
import { Cluster, peer, votersOf } from "./testing/cluster.ts";
import { Solo } from "./testing/solo.ts";

const reply = (readRound: number) => ({ kind: "heartbeatReply", readRound, repair: 0 }) as const;

test("a read is answered by a round of heartbeats begun at once", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.propose("x");
  cluster.settle();
  const { read } = cluster.ask(cluster.lead());
  assert.equal(read.answer, undefined);
  cluster.settle();
  assert.deepEqual(read.answer, { context: 1, index: 3 });
});

test("only a round begun after the read confirms it; neighbours share one", () => {
  const solo = new Solo().lead();
  solo.accept(2, 2, 2);
  step(solo.state, { kind: "readIndex", context: 1 });
  solo.drain();
  assert.deepEqual(
    solo.take("heartbeat").map((m) => [m.to, m.readRound, m.after]),
    [
      [2, 1, 0],
      [3, 1, 0],
    ],
  );
  step(solo.state, { kind: "readIndex", context: 2 });
  step(solo.state, { kind: "readIndex", context: 3 });
  solo.drain();
  assert.equal(solo.take("heartbeat")[0]?.readRound, 2);
  solo.from(2, 2, reply(1));
  assert.deepEqual(solo.reads, [{ context: 1, index: 2 }]);
  // A lost heartbeat is made up for by the next regular one.
  solo.tick(2);
  assert.equal(solo.take("heartbeat")[0]?.readRound, 2);
  solo.from(3, 2, reply(2));
  assert.deepEqual(solo.reads.slice(1), [
    { context: 2, index: 2 },
    { context: 3, index: 2 },
  ]);
});

test("reads wait for an entry of the leader's term; their queue is bounded", () => {
  const solo = new Solo().lead();
  for (let context = 0; context < MAX_PENDING_READS; context++) {
    assert.equal(step(solo.state, { kind: "readIndex", context }), undefined);
  }
  assert.deepEqual(step(solo.state, { kind: "readIndex", context: 9 }), { code: "Overloaded" });
  solo.drain();
  assert.equal(solo.reads.length, 0);
  solo.accept(2, 2, 2);
  solo.from(3, 2, reply(1));
  assert.equal(solo.reads.length, MAX_PENDING_READS);
  assert.equal(
    solo.reads.every((read) => read.index === 2),
    true,
  );
});

test("the only voter answers at once, learners or not", () => {
  const solo = new Solo({ conf: { ...votersOf(1), learners: [peer(2)] } });
  step(solo.state, { kind: "campaign" });
  for (let i = 0; i < 3; i++) solo.sync();
  step(solo.state, { kind: "readIndex", context: 5 });
  solo.drain();
  assert.deepEqual(solo.reads, [{ context: 5, index: 2 }]);
});

test("lost leadership: reads are answered without an index; followers refuse them", () => {
  const solo = new Solo().lead();
  solo.accept(2, 2, 2);
  step(solo.state, { kind: "readIndex", context: 1 });
  solo.drain();
  solo.append(3, 3, [1, 1], []);
  assert.deepEqual(solo.reads, [{ context: 1 }]);
  assert.deepEqual(step(solo.state, { kind: "readIndex", context: 2 }), {
    code: "NotLeader",
    leader: 3,
  });
});

test("a deposed leader that does not know it cannot answer", () => {
  const cluster = new Cluster({ voters: 3 });
  const old = cluster.elect(1);
  cluster.isolate(1);
  // Its clock stands still, so that check-quorum does not tell it either.
  for (let i = 0; i < 60 && cluster.lead() === old; i++) cluster.tick(1, cluster.members.slice(1));
  cluster.propose("news");
  cluster.settle();
  assert.equal(old.state.role, "leader");
  const { read } = cluster.ask(old);
  cluster.settle();
  assert.equal(read.answer, undefined);
  // Had it not asked a majority, the checker would have noticed.
  const copy = cloneState(old.state);
  for (const progress of copy.progress.values()) progress.ackedRound = copy.reads.round;
  answerReads(copy);
  const [wrong] = copy.reads.answers;
  assert.throws(() => cluster.read(old, present(wrong, "the wrong answer")), /stale read/);
  cluster.heal();
  old.step({ kind: "tick" });
  old.step({ kind: "tick" });
  cluster.settle();
  assert.deepEqual(read.answer, { context: 1 });
});
