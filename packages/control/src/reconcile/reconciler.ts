/**
 * Brings what runs on a node in line with its records: one step at a time for each VM, many VMs side
 * by side. It decides; whoever owns it carries out what it asks for (a proposal, an operation of the
 * driver) and tells how that ended. Each step is straight-line code in a generator, which yields
 * what it asks for and is resumed with the answer: no promise, no hidden turn.
 */

import type { Clock, Epoch, Failure, NodeId, VmId } from "@blixard/std";
import { as } from "@blixard/std";
import { getVm, vmsOnNode } from "../lookup.ts";
import { nextToLeave } from "../planner/drain.ts";
import type { ControlState } from "../state.ts";
import type { Command, CommandResult, VmRecord, VmSpec } from "../types.ts";
import { decide, type Step } from "./decide.ts";
import { type Instance, isLive } from "./instance.ts";

export type ReconcileRequest =
  | { readonly kind: "propose"; readonly command: Command }
  /** Folder and disk; doing it again changes nothing. */
  | { readonly kind: "create"; readonly vmId: VmId; readonly spec: Omit<VmSpec, "labels"> }
  | {
      readonly kind: "start";
      readonly vmId: VmId;
      readonly epoch: Epoch;
      readonly deadlineMonotonicMs: number;
    }
  | { readonly kind: "stop"; readonly vmId: VmId; readonly graceMs: number }
  | { readonly kind: "kill"; readonly vmId: VmId }
  | { readonly kind: "delete"; readonly vmId: VmId }
  | { readonly kind: "inspect"; readonly vmId: VmId };

/** `result` answers a proposal, `instance` an inspection (absent: there is nothing of the VM). */
export type ReconcileAnswer =
  | { readonly ok: true; readonly result?: CommandResult; readonly instance?: Instance }
  | { readonly ok: false; readonly error: Failure };

type Work = Generator<ReconcileRequest, void, ReconcileAnswer>;

export interface ReconcilerOptions {
  /** Guests get this long between the shutdown request and the kill. */
  readonly stopGraceMs: number;
  /** A start is only begun with at least this much of the lease left. */
  readonly startMarginMs: number;
  /** Back-off between restarts of a crashing VM: doubles from the first to the second. */
  readonly backOffMinMs: number;
  readonly backOffMaxMs: number;
  /** A VM that has run for this long has started well. */
  readonly settledMs: number;
}

export interface ReconcilerDeps {
  readonly self: NodeId;
  readonly options: ReconcilerOptions;
  readonly clock: Clock;
  readonly state: () => ControlState;
  /** Whether all nodes understand the command. */
  readonly mayPropose: (command: Command) => boolean;
  /** Undefined while this node holds no lease: nothing is then started or reported. */
  readonly lease: () => { epoch: number; deadlineMonotonicMs: number } | undefined;
  /** `done` exactly once, or never when the process dies. */
  readonly ask: (request: ReconcileRequest, done: (answer: ReconcileAnswer) => void) => void;
  readonly note: (level: "debug" | "warn", data: object, text: string) => void;
}

/** Carries a failed answer out of a step, to where all of them are dealt with. */
class StepFailure extends Error {
  override readonly name = "StepFailure";
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

export class Reconciler {
  readonly #deps: ReconcilerDeps;
  readonly #instances = new Map<VmId, Instance>();
  readonly #busy = new Set<VmId>();
  /** When a VM may be started again, after it failed or crashed. */
  readonly #notBefore = new Map<VmId, number>();
  /** Since when each VM is known to run here, and in which epoch. */
  readonly #running = new Map<VmId, { readonly epoch: Epoch; readonly sinceMs: number }>();
  /** While the node is being drained: whose turn it is. */
  #leaving: VmId | undefined;
  #closed: (() => void) | undefined;

  constructor(deps: ReconcilerDeps, adopted: readonly Instance[]) {
    this.#deps = deps;
    for (const instance of adopted) this.#instances.set(instance.vmId, instance);
  }

  /** The driver says that an instance changed. */
  onStatus(instance: Instance): void {
    this.#instances.set(instance.vmId, instance);
    this.#consider(instance.vmId);
  }

  /** Looks at every VM that is here or should be. Cheap when there is nothing to do. */
  poke(): void {
    const { state, self } = this.#deps;
    this.#leaving = nextToLeave(state(), self, this.#leaving);
    const wanted = vmsOnNode(state(), self).map((vm) => vm.id);
    for (const id of new Set([...wanted, ...this.#instances.keys()])) this.#consider(id);
  }

  liveCount(): number {
    let count = 0;
    for (const instance of this.#instances.values()) if (isLive(instance)) count++;
    return count;
  }

  /**
   * The lease is over: everything dies now. The supervisors do the same by themselves. `done(false)`
   * when it is not known whether all are dead.
   */
  killAll(done: (isDead: boolean) => void): void {
    const live = [...this.#instances.values()].filter((instance) => isLive(instance));
    let left = live.length;
    let isDead = true;
    if (left === 0) done(true);
    for (const { vmId } of live) {
      this.#run(this.#kill(vmId), (error) => {
        if (error !== undefined) isDead = false;
        left--;
        if (left === 0) done(isDead);
      });
    }
  }

  /** Begins nothing more; `done` once nothing is under way. */
  close(done: () => void): void {
    this.#closed = done;
    if (this.#busy.size === 0) done();
  }

  #consider(id: VmId): void {
    const { clock, state, self, lease, note } = this.#deps;
    const held = lease();
    if (this.#closed !== undefined || this.#busy.has(id) || held === undefined) return;
    const record = getVm(state(), id);
    const instance = this.#instances.get(id);
    const settled = this.#settled(id, instance);
    const step = decide(self, record, instance, { settled, leaving: id === this.#leaving });
    if (step.kind === "nothing") return;
    if (step.kind === "start" && (this.#notBefore.get(id) ?? 0) > clock.monotonicMs()) return;
    note("debug", { vm: id, step: step.kind }, "reconcile");
    this.#busy.add(id);
    this.#run(this.#perform(id, record, step, held.epoch), (error) => {
      this.#busy.delete(id);
      if (error !== undefined) {
        const { message } = error;
        note("warn", { vm: id, step: step.kind, err: message }, "step failed; will retry");
        this.#backOff(id, record);
      }
      if (this.#busy.size === 0) this.#closed?.();
    });
  }

  /** Resumes the step with each answer; only failed answers end it early. */
  #run(work: Work, ended: (error: Failure | undefined) => void): void {
    const resume = (answer: ReconcileAnswer | undefined): void => {
      let error: Failure | undefined;
      try {
        const next =
          answer === undefined
            ? work.next()
            : answer.ok
              ? work.next(answer)
              : work.throw(new StepFailure(answer.error));
        if (next.done !== true) {
          this.#deps.ask(next.value, resume);
          return;
        }
      } catch (caught) {
        if (!(caught instanceof StepFailure)) throw caught;
        error = caught.failure;
      }
      ended(error);
    };
    resume(undefined);
  }

  #settled(id: VmId, instance: Instance | undefined): boolean {
    if (instance?.phase !== "running") {
      this.#running.delete(id);
      return false;
    }
    const { epoch } = instance;
    const nowMs = this.#deps.clock.monotonicMs();
    const known = this.#running.get(id);
    if (known?.epoch !== epoch) this.#running.set(id, { epoch, sinceMs: nowMs });
    return known?.epoch === epoch && nowMs - known.sinceMs >= this.#deps.options.settledMs;
  }

  *#perform(id: VmId, record: VmRecord | undefined, step: Step, lease: number): Work {
    switch (step.kind) {
      case "nothing":
        return;
      case "start":
        if (record !== undefined) yield* this.#start(record, lease);
        return;
      case "stop":
        yield { kind: "stop", vmId: id, graceMs: this.#deps.options.stopGraceMs };
        yield* this.#refresh(id);
        return;
      case "kill":
        yield* this.#kill(id);
        return;
      case "settle":
        if (record !== undefined) yield* this.#settle(record, lease);
        return;
      case "health":
        if (record !== undefined) yield* this.#reportHealth(record, lease, step.health);
        return;
      case "delete":
        yield { kind: "delete", vmId: id };
        this.#instances.delete(id);
        this.#running.delete(id);
        this.#notBefore.delete(id);
        if (step.report && record !== undefined) {
          yield* this.#report(record, lease, { phase: "gone" });
        }
        return;
      case "report":
        if (step.phase === "crashed" && record !== undefined) this.#backOff(id, record);
        if (record === undefined) return;
        if (step.blameless === true && record.restarts > 1) yield* this.#settle(record, lease);
        yield* this.#report(record, lease, step);
        return;
      default:
        step satisfies never;
    }
  }

  *#kill(vmId: VmId): Work {
    yield { kind: "kill", vmId };
    yield* this.#refresh(vmId);
  }

  *#propose(command: Command): Generator<ReconcileRequest, CommandResult, ReconcileAnswer> {
    const answer = yield { kind: "propose", command };
    if (answer.ok && answer.result !== undefined) return answer.result;
    throw new Error("a proposal is answered with its result");
  }

  /** Claims the epoch first: if the claim is lost, that epoch simply never runs. */
  *#start(record: VmRecord, leaseEpoch: number): Work {
    const { self, clock, options, note } = this.#deps;
    const vmId = record.id;
    const claim = yield* this.#propose({ kind: "claimStart", vmId, nodeId: self, leaseEpoch });
    if (!claim.ok) {
      note("debug", { vm: vmId, reason: claim.error.message }, "start not granted");
      this.#backOff(vmId, record);
      return;
    }
    const epoch = as<Epoch>(claim.value.epoch ?? 0);
    try {
      const { labels: _labels, ...spec } = record.spec;
      yield { kind: "create", vmId, spec };
      const lease = this.#deps.lease();
      // The lease that the claim was made under must still be the one held, with time to spare.
      if (lease?.epoch !== leaseEpoch) return;
      const { deadlineMonotonicMs } = lease;
      if (deadlineMonotonicMs - clock.monotonicMs() < options.startMarginMs) return;
      yield { kind: "start", vmId, epoch, deadlineMonotonicMs };
    } catch (caught) {
      if (!(caught instanceof StepFailure)) throw caught;
      yield* this.#startFailed({ ...record, epoch }, leaseEpoch, caught.failure);
    }
    yield* this.#refresh(vmId);
  }

  *#startFailed(record: VmRecord, leaseEpoch: number, { code, message, hint }: Failure): Work {
    const { id, epoch } = record;
    this.#deps.note("warn", { vm: id, epoch, err: message }, "VM did not start");
    this.#backOff(id, record);
    const isLasting = code === "NotFound" || code === "InvalidArgument";
    const reason = hint === undefined ? message : `${message} (${hint})`;
    yield* this.#report(record, leaseEpoch, { phase: isLasting ? "failed" : "crashed", reason });
  }

  *#settle(record: VmRecord, leaseEpoch: number): Work {
    const { self, note, mayPropose } = this.#deps;
    const about = { vmId: record.id, nodeId: self, leaseEpoch, epoch: record.epoch };
    const command: Command = { kind: "settleVm", ...about };
    // Until every node understands it, a VM keeps what was counted.
    if (!mayPropose(command)) return;
    const result = yield* this.#propose(command);
    if (!result.ok) note("debug", { vm: record.id, reason: result.error.message }, "not settled");
  }

  *#reportHealth(
    record: VmRecord,
    leaseEpoch: number,
    health: "responsive" | "unresponsive",
  ): Work {
    const { self, note, mayPropose } = this.#deps;
    const about = { vmId: record.id, nodeId: self, leaseEpoch, epoch: record.epoch };
    const command: Command = { kind: "reportHealth", ...about, health };
    // Until every node understands it, only the node's own log tells.
    if (!mayPropose(command)) return;
    note("warn", { vm: record.id, health }, "the guest's health changed");
    const result = yield* this.#propose(command);
    if (!result.ok) note("debug", { vm: record.id, reason: result.error.message }, "not told");
  }

  *#report(
    record: VmRecord,
    leaseEpoch: number,
    what: {
      phase: "running" | "stopped" | "failed" | "crashed" | "gone";
      reason?: string;
      commandExit?: number;
    },
  ): Work {
    const { phase, reason, commandExit } = what;
    const result = yield* this.#propose({
      kind: "reportVm",
      vmId: record.id,
      nodeId: this.#deps.self,
      leaseEpoch,
      epoch: record.epoch,
      phase,
      ...(reason === undefined ? {} : { reason: reason.slice(0, 500) }),
      ...(commandExit === undefined ? {} : { commandExit }),
    });
    if (result.ok) return;
    this.#deps.note("debug", { vm: record.id, reason: result.error.message }, "report refused");
  }

  *#refresh(vmId: VmId): Work {
    const answer = yield { kind: "inspect", vmId };
    const instance = answer.ok ? answer.instance : undefined;
    if (instance === undefined) this.#instances.delete(vmId);
    else this.#instances.set(vmId, instance);
  }

  #backOff(id: VmId, record: VmRecord | undefined): void {
    const { backOffMinMs, backOffMaxMs } = this.#deps.options;
    const doublings = Math.min(record?.restarts ?? 0, 10);
    const waitMs = Math.min(backOffMaxMs, backOffMinMs * 2 ** doublings);
    this.#notBefore.set(id, this.#deps.clock.monotonicMs() + waitMs);
  }
}
