import assert from "node:assert/strict";
import { test } from "node:test";
import { as, type Clock, type Epoch, failure, type VmId } from "@blixard/std";
import { nodeId, vmId, World } from "../testing/world.ts";
import type { Instance, InstancePhase } from "./instance.ts";
import {
  type ReconcileAnswer,
  type ReconcileRequest,
  Reconciler,
  type ReconcilerOptions,
} from "./reconciler.ts";

const OPTIONS: ReconcilerOptions = {
  stopGraceMs: 5000,
  startMarginMs: 500,
  backOffMinMs: 500,
  backOffMaxMs: 30_000,
  settledMs: 10_000,
};
const BROKEN: ReconcileAnswer = {
  ok: false,
  error: failure("Unavailable", { reason: "broken" }, "the driver is broken", "mend it"),
};

/** A node whose driver and log answer at once, unless a test takes a request out of their hands. */
class Bench {
  readonly world = new World();
  readonly asked: string[] = [];
  readonly instances = new Map<VmId, Instance>();
  nowMs = 0;
  lease: { epoch: number; deadlineMonotonicMs: number } | undefined;
  mayPropose = true;
  /** Answers the request that a test held back. */
  late: ((answer: ReconcileAnswer) => void) | undefined;
  intercept: (request: ReconcileRequest) => ReconcileAnswer | "never" | undefined = () => undefined;
  readonly reconciler: Reconciler;

  constructor(adopted: readonly Instance[] = []) {
    this.world.addNode(1);
    this.lease = { epoch: this.world.node(1).leaseEpoch, deadlineMonotonicMs: 60_000 };
    for (const instance of adopted) this.instances.set(instance.vmId, instance);
    const clock: Clock = {
      monotonicMs: () => this.nowMs,
      bootMs: () => this.nowMs,
      wallMs: () => this.nowMs,
    };
    this.reconciler = new Reconciler(
      {
        self: nodeId(1),
        options: OPTIONS,
        clock,
        state: () => this.world.state,
        mayPropose: () => this.mayPropose,
        lease: () => this.lease,
        ask: (request, done) => this.#answer(request, done),
        note: () => undefined,
      },
      adopted,
    );
  }

  #answer(request: ReconcileRequest, done: (answer: ReconcileAnswer) => void): void {
    const about = request.kind === "propose" ? request.command : request;
    const phase = about.kind === "reportVm" ? ` ${about.phase}` : "";
    this.asked.push(`${about.kind}${phase}`);
    const answer = this.intercept(request) ?? this.#perform(request);
    if (answer === "never") this.late = done;
    else done(answer);
  }

  #perform(request: ReconcileRequest): ReconcileAnswer {
    if (request.kind === "propose") return { ok: true, result: this.world.apply(request.command) };
    const { vmId: id } = request;
    const instance = this.instances.get(id);
    if (request.kind === "inspect")
      return instance === undefined ? { ok: true } : { ok: true, instance };
    if (request.kind === "delete") this.instances.delete(id);
    if (request.kind === "start") this.set(id, "starting", request.epoch);
    if (request.kind === "stop" || request.kind === "kill") this.set(id, "stopped");
    return { ok: true };
  }

  set(id: VmId, phase: InstancePhase, epoch?: Epoch): Instance {
    const known = this.instances.get(id)?.epoch ?? as<Epoch>(0);
    const instance = { vmId: id, phase, epoch: epoch ?? known };
    this.instances.set(id, instance);
    return instance;
  }

  /** What a poke asks for. */
  poke(): string[] {
    this.asked.length = 0;
    this.reconciler.poke();
    return [...this.asked];
  }

  run(): void {
    this.world.addVm(1);
    this.world.place(1, 1);
    this.poke();
    this.reconciler.onStatus(this.set(vmId(1), "running"));
  }
}

test("a placed VM is claimed, created, started, and reported once it runs", () => {
  const bench = new Bench();
  bench.world.addVm(1);
  bench.world.place(1, 1);
  assert.deepEqual(bench.poke(), ["claimStart", "create", "start", "inspect"]);
  assert.equal(bench.reconciler.liveCount(), 1);
  assert.deepEqual(bench.poke(), []);
  bench.reconciler.onStatus(bench.set(vmId(1), "running"));
  assert.equal(bench.world.vm(1).phase, "running");
});

test("without a lease nothing is asked; with too little of it left nothing starts", () => {
  const bench = new Bench();
  const { lease } = bench;
  bench.world.addVm(1);
  bench.world.place(1, 1);
  bench.lease = undefined;
  assert.deepEqual(bench.poke(), []);
  bench.lease = { epoch: lease?.epoch ?? 0, deadlineMonotonicMs: OPTIONS.startMarginMs - 1 };
  assert.deepEqual(bench.poke(), ["claimStart", "create"]);
});

test("a lease that changed while the disk was made starts nothing", () => {
  const bench = new Bench();
  bench.world.addVm(1);
  bench.world.place(1, 1);
  bench.intercept = ({ kind }) => {
    if (kind === "create") bench.lease = { epoch: 99, deadlineMonotonicMs: 60_000 };
    return undefined;
  };
  assert.deepEqual(bench.poke(), ["claimStart", "create"]);
});

test("a refused claim and a failed start are tried again after a back-off", () => {
  const bench = new Bench();
  bench.world.addVm(1);
  bench.world.place(1, 1);
  bench.lease = { epoch: 99, deadlineMonotonicMs: 60_000 };
  assert.deepEqual(bench.poke(), ["claimStart"]);
  assert.deepEqual(bench.poke(), []);
  bench.lease = { epoch: bench.world.node(1).leaseEpoch, deadlineMonotonicMs: 60_000 };
  bench.nowMs += OPTIONS.backOffMinMs;
  bench.intercept = ({ kind }) => (kind === "start" ? BROKEN : undefined);
  const failed = ["claimStart", "create", "start", "reportVm crashed", "inspect"];
  assert.deepEqual(bench.poke(), failed);
  bench.nowMs += OPTIONS.backOffMinMs * 2;
  bench.intercept = ({ kind }) =>
    kind !== "create"
      ? undefined
      : { ok: false, error: failure("NotFound", { kind: "image", name: "x" }, "no such image") };
  assert.deepEqual(bench.poke(), ["claimStart", "create", "reportVm failed", "inspect"]);
  assert.match(bench.world.vm(1).reason ?? "", /no such image/);
});

test("one step at a time for each VM; a failed one is tried again", () => {
  const bench = new Bench();
  bench.run();
  bench.world.ok({ kind: "setDesired", vmId: vmId(1), desired: "stopped" });
  bench.intercept = ({ kind }) => (kind === "stop" ? "never" : undefined);
  assert.deepEqual(bench.poke(), ["stop"]);
  assert.deepEqual(bench.poke(), []);
  const other = new Bench();
  other.run();
  other.world.ok({ kind: "deleteVm", vmId: vmId(1) });
  other.intercept = ({ kind }) => (kind === "stop" ? BROKEN : undefined);
  assert.deepEqual(other.poke(), ["stop"]);
  other.intercept = () => undefined;
  assert.deepEqual(other.poke(), ["stop", "inspect"]);
  assert.deepEqual(other.poke(), ["delete", "reportVm gone"]);
  assert.equal(other.world.state.vms.has(vmId(1)), false);
});

test("what is not ours is killed and removed, without a word", () => {
  const bench = new Bench([{ vmId: vmId(7), epoch: as<Epoch>(3), phase: "running" }]);
  assert.deepEqual(bench.poke(), ["kill", "inspect"]);
  assert.deepEqual(bench.poke(), ["delete"]);
  assert.deepEqual(bench.poke(), []);
});

test("killAll ends when all are dead, and tells when that is not known", () => {
  const bench = new Bench();
  const verdicts: boolean[] = [];
  bench.reconciler.killAll((isDead) => verdicts.push(isDead));
  bench.run();
  bench.reconciler.killAll((isDead) => verdicts.push(isDead));
  assert.equal(bench.reconciler.liveCount(), 0);
  bench.reconciler.onStatus(bench.set(vmId(1), "running"));
  bench.intercept = ({ kind }) => (kind === "kill" ? BROKEN : undefined);
  bench.reconciler.killAll((isDead) => verdicts.push(isDead));
  assert.deepEqual(verdicts, [true, true, false]);
});

test("a VM that has run for a while settles, once every node understands the word", () => {
  const bench = new Bench();
  bench.run();
  // It crashed before, so that there is something to settle.
  bench.reconciler.onStatus({
    ...bench.set(vmId(1), "stopped"),
    ended: { kind: "crashed", reason: "x" },
  });
  bench.nowMs += 10 * OPTIONS.backOffMinMs;
  bench.poke();
  bench.reconciler.onStatus(bench.set(vmId(1), "running"));
  assert.equal(bench.world.vm(1).restarts, 2);
  bench.poke();
  bench.nowMs += OPTIONS.settledMs;
  bench.mayPropose = false;
  assert.deepEqual(bench.poke(), []);
  bench.mayPropose = true;
  assert.deepEqual(bench.poke(), ["settleVm"]);
  assert.ok(bench.world.vm(1).restarts <= 1);
});

test("a guest that stops to answer is told, once every node understands the word", () => {
  const bench = new Bench();
  bench.run();
  bench.mayPropose = false;
  const silent = { ...bench.set(vmId(1), "running"), unresponsive: true };
  bench.reconciler.onStatus(silent);
  assert.equal(bench.world.vm(1).health, undefined);
  bench.mayPropose = true;
  assert.deepEqual(bench.poke(), ["reportHealth"]);
  assert.equal(bench.world.vm(1).health, "unresponsive");
  assert.deepEqual(bench.poke(), []);
  bench.reconciler.onStatus(bench.set(vmId(1), "running"));
  assert.equal(bench.world.vm(1).health, undefined);
});

test("closing waits for what is under way, and begins nothing more", () => {
  const bench = new Bench();
  let closed = 0;
  bench.world.addVm(1);
  bench.world.place(1, 1);
  bench.intercept = ({ kind }) => (kind === "create" ? "never" : undefined);
  bench.poke();
  bench.reconciler.close(() => closed++);
  assert.equal(closed, 0);
  assert.deepEqual(bench.poke(), []);
  bench.late?.({ ok: true });
  assert.equal(closed, 1);
  const idle = new Bench();
  idle.reconciler.close(() => closed++);
  assert.equal(closed, 2);
});

test("a drained node stops and lets go of one VM at a time, once another has it running", () => {
  const bench = new Bench();
  const { world } = bench;
  world.addNode(2);
  for (const n of [1, 2]) {
    world.addVm(n);
    world.place(n, 1);
    bench.poke();
    bench.reconciler.onStatus(bench.set(vmId(n), "running"));
  }
  world.ok({ kind: "setMaintenance", nodeId: nodeId(1), maintenance: "drain" });
  assert.deepEqual(bench.poke(), ["stop", "inspect"]);
  assert.deepEqual(bench.poke(), ["delete", "reportVm gone"]);
  assert.equal(world.vm(1).phase, "pending");
  assert.deepEqual(bench.poke(), [], "nobody follows yet");
  world.place(1, 2);
  world.claim(1, 2);
  assert.deepEqual(bench.poke(), []);
  world.ok(world.reportOf(1, "running"));
  assert.deepEqual(bench.poke(), ["stop", "inspect"]);
  assert.deepEqual(bench.poke(), ["delete", "reportVm gone"]);
  assert.equal(bench.reconciler.liveCount(), 0);
});
