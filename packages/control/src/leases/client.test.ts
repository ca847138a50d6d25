import assert from "node:assert/strict";
import { test } from "node:test";
import { as, type Clock, type PeerId, Prng } from "@blixard/std";
import { DEFAULT_LEASE_OPTIONS } from "../limits.ts";
import { nodeId } from "../testing/world.ts";
import { LeaseClient } from "./client.ts";
import type { LeaseMessage } from "./codec.ts";

class Bench {
  nowMs = 1000;
  /** For how long the machine has slept. */
  sleptMs = 0;
  leader: PeerId | 0 = as<PeerId>(2);
  recorded: number | undefined = 4;
  running = 0;
  isDead = true;
  readonly sent: Extract<LeaseMessage, { kind: "renew" }>[] = [];
  readonly log: string[] = [];
  readonly client: LeaseClient;

  constructor() {
    const clock: Clock = {
      monotonicMs: () => this.nowMs,
      bootMs: () => this.nowMs + this.sleptMs,
      wallMs: () => 0,
    };
    this.client = new LeaseClient({
      self: nodeId(1),
      options: DEFAULT_LEASE_OPTIONS,
      clock,
      random: new Prng(1),
      leader: () => this.leader,
      ask: (_, message) => {
        assert.equal(message.kind, "renew");
        if (message.kind === "renew") this.sent.push(message);
      },
      recordedEpoch: () => this.recorded,
      runningVms: () => this.running,
      extend: (deadlineMs) => this.log.push(`extend ${deadlineMs}`),
      killAll: (done) => {
        this.log.push("kill");
        done(this.isDead);
      },
      acquire: (fromEpoch, done) => {
        this.log.push(`acquire ${fromEpoch}`);
        done();
      },
      note: () => undefined,
    });
  }

  grant(kind: "granted" | "refused" = "granted"): void {
    const request = this.sent.at(-1);
    assert.ok(request);
    const { nodeId: node, requestId, leaseEpoch } = request;
    const about = { nodeId: node, requestId, leaseEpoch };
    this.client.reply(
      kind === "granted"
        ? { kind, ...about }
        : { kind, ...about, reason: "lost", currentEpoch: leaseEpoch },
    );
  }
}

test("before it begins it asks for nothing, and holds nothing", () => {
  const bench = new Bench();
  bench.client.tick();
  bench.client.reply({ kind: "granted", nodeId: nodeId(1), requestId: 1, leaseEpoch: 1 });
  assert.deepEqual([bench.sent, bench.log, bench.client.current()], [[], [], undefined]);
});

test("it acquires an epoch once all is dead, then renews, and holds until the deadline", () => {
  const bench = new Bench();
  bench.client.begin(undefined);
  bench.isDead = false;
  bench.client.tick();
  assert.deepEqual(bench.log, ["kill"]);
  bench.isDead = true;
  bench.nowMs += DEFAULT_LEASE_OPTIONS.renewEveryMs;
  bench.client.tick();
  assert.deepEqual(bench.log, ["kill", "kill", "acquire 4"]);
  bench.recorded = 5;
  bench.client.tick();
  bench.grant();
  const deadlineMonotonicMs = bench.nowMs + DEFAULT_LEASE_OPTIONS.stopAfterMs;
  assert.deepEqual(bench.client.current(), { epoch: 5, deadlineMonotonicMs });
  bench.nowMs = deadlineMonotonicMs;
  assert.equal(bench.client.current(), undefined);
  bench.isDead = false;
  bench.client.tick();
  assert.equal(bench.log.at(-1), "kill");
});

test("an epoch under which VMs still run is renewed; a refusal ends it", () => {
  const bench = new Bench();
  bench.leader = 0;
  bench.client.begin(4);
  bench.client.tick();
  assert.equal(bench.sent.length, 0);
  bench.leader = as<PeerId>(2);
  bench.nowMs += DEFAULT_LEASE_OPTIONS.renewEveryMs;
  bench.client.tick();
  bench.grant();
  assert.equal(bench.client.current()?.epoch, 4);
  bench.nowMs += DEFAULT_LEASE_OPTIONS.renewEveryMs;
  bench.client.tick();
  bench.grant("refused");
  assert.equal(bench.client.current(), undefined);
  assert.equal(bench.log.at(-1), "kill");
  bench.client.reply({ kind: "renew", nodeId: nodeId(1), requestId: 1, leaseEpoch: 1 });
});

test("after a suspension nothing is held any more, also before the first tick", () => {
  const bench = new Bench();
  bench.client.begin(4);
  bench.client.tick();
  bench.grant();
  assert.equal(bench.client.current()?.epoch, 4);
  // Each clock by itself still lies before its deadline.
  bench.sleptMs = DEFAULT_LEASE_OPTIONS.maxClockJumpMs + 1;
  assert.equal(bench.client.current(), undefined);
  bench.client.tick();
  assert.equal(bench.log.at(-1), "kill");
});

test("suspensions too short to notice add up to the end of the lease", () => {
  const bench = new Bench();
  bench.client.begin(4);
  bench.client.tick();
  bench.grant();
  const { stopAfterMs, maxClockJumpMs } = DEFAULT_LEASE_OPTIONS;
  for (let n = 1; n * maxClockJumpMs < stopAfterMs; n++) {
    bench.sleptMs = n * maxClockJumpMs;
    assert.equal(bench.client.current()?.epoch, 4);
    bench.client.tick();
  }
  bench.sleptMs = stopAfterMs;
  assert.equal(bench.client.current(), undefined);
});
