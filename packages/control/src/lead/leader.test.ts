import assert from "node:assert/strict";
import { test } from "node:test";
import { as, type Clock, err, failure, ok, type PeerId } from "@blixard/std";
import type { LeaseMessage } from "../leases/codec.ts";
import { DEFAULT_LEASE_OPTIONS } from "../limits.ts";
import { nodeId, World } from "../testing/world.ts";
import { LeaderLoop } from "./leader.ts";
import type { LeaderStatus, MembershipChange } from "./membership.ts";

const peers = (...ids: number[]): PeerId[] => ids.map((id) => as<PeerId>(id));
const LATE = err(failure("Unavailable", { reason: "late" }, "no answer in time"));

class Bench {
  readonly world = new World();
  nowMs = 0;
  status: LeaderStatus = {
    role: "leader",
    term: 1,
    commit: 10,
    conf: { voters: peers(1, 2), learners: [] },
    progress: [],
  };
  isFailing = false;
  readonly asked: string[] = [];
  readonly changes: MembershipChange[] = [];
  readonly answers: LeaseMessage[] = [];
  readonly leader: LeaderLoop;

  constructor() {
    this.world.addNode(1);
    this.world.addNode(2);
    const clock: Clock = {
      monotonicMs: () => this.nowMs,
      bootMs: () => this.nowMs,
      wallMs: () => 0,
    };
    this.leader = new LeaderLoop({
      clock,
      options: DEFAULT_LEASE_OPTIONS,
      state: () => this.world.state,
      status: () => this.status,
      propose: (command, done) => {
        this.asked.push(command.kind);
        done(this.isFailing ? LATE : ok(this.world.apply(command)));
      },
      changeMembership: (change, done) => {
        this.changes.push(change);
        done(this.isFailing ? LATE : ok(undefined));
      },
      confirmLeadership: (done) => done(this.isFailing ? LATE : ok(undefined)),
      answer: (_, message) => this.answers.push(message),
      contextOf: ({ peerId }) => new Uint8Array([peerId]),
      note: () => undefined,
    });
  }

  renew(node: number, from = node): void {
    const { leaseEpoch } = this.world.node(node);
    const message = { kind: "renew", nodeId: nodeId(node), leaseEpoch, requestId: 7 } as const;
    this.leader.renew(as<PeerId>(from), message);
  }
}

test("the leader places pending VMs; another node asks for nothing", () => {
  const bench = new Bench();
  bench.world.addVm(1);
  bench.status = { ...bench.status, role: "follower" };
  bench.leader.tick();
  assert.deepEqual(bench.asked, []);
  bench.status = { ...bench.status, role: "leader" };
  bench.leader.tick();
  assert.deepEqual(bench.asked, ["placeVm"]);
  assert.equal(bench.world.vm(1).phase, "scheduled");
});

test("what failed is asked for again", () => {
  const bench = new Bench();
  bench.world.addVm(1);
  bench.isFailing = true;
  bench.leader.tick();
  bench.leader.tick();
  assert.deepEqual(bench.asked, ["placeVm", "placeVm"]);
});

test("a lease is granted to the node that it belongs to, after a quorum round", () => {
  const bench = new Bench();
  bench.renew(1, 2);
  bench.isFailing = true;
  bench.renew(1);
  assert.deepEqual(bench.answers, []);
  bench.isFailing = false;
  bench.renew(1);
  assert.deepEqual(
    bench.answers.map(({ kind }) => kind),
    ["granted"],
  );
  const [answer] = bench.answers;
  if (answer !== undefined) bench.leader.renew(as<PeerId>(1), answer);
  bench.status = { ...bench.status, role: "follower" };
  bench.renew(1);
  assert.equal(bench.answers.length, 1);
});

test("a node that does not renew is declared lost, once its lease is surely over", () => {
  const bench = new Bench();
  bench.leader.tick();
  bench.nowMs = DEFAULT_LEASE_OPTIONS.leaseMs;
  bench.leader.tick();
  assert.deepEqual(bench.asked, []);
  bench.nowMs *= 1 + 2 * DEFAULT_LEASE_OPTIONS.maxDriftRatio;
  bench.leader.tick();
  assert.deepEqual(bench.asked, ["expireLease", "expireLease"]);
  assert.equal(bench.world.node(1).state, "lost");
});

test("nodes become learners, then voters; members without a node go", () => {
  const bench = new Bench();
  bench.world.addNode(3);
  bench.leader.tick();
  const conf = { voters: peers(1, 2), learners: peers(3) };
  const progressOf = (match: number, active: boolean) => [{ peer: as<PeerId>(3), match, active }];
  bench.status = { ...bench.status, conf, progress: progressOf(0, true) };
  bench.leader.tick();
  bench.status = { ...bench.status, progress: progressOf(9, false) };
  bench.leader.tick();
  bench.status = { ...bench.status, progress: progressOf(9, true) };
  bench.leader.tick();
  bench.status = { ...bench.status, conf: { voters: peers(1, 2, 3, 9), learners: [] } };
  bench.leader.tick();
  assert.deepEqual(
    bench.changes.map(({ op, peer, context }) => [op, peer, context.length]),
    [
      ["addLearner", 3, 1],
      ["addVoter", 3, 1],
      ["removeMember", 9, 0],
    ],
  );
});
