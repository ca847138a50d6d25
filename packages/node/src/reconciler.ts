/** Performs what `decide` asks for: one step at a time for each VM, many VMs side by side. */

import type { Command, CommandResult, ControlState, VmRecord } from "@blixard/control";
import { getVm, vmsOnNode } from "@blixard/control";
import type { InstanceStatus, VmDriver } from "@blixard/drivers";
import type { Clock, Epoch, NodeId, Random, VmId } from "@blixard/std";
import { as, newTrace, toBlixardError } from "@blixard/std";
import * as limits from "./limits.ts";
import type { Logger } from "./log.ts";
import { decide, isLive, type Step } from "./reconcile.ts";

export interface ReconcilerDeps {
  readonly self: NodeId;
  readonly driver: VmDriver;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly state: () => ControlState;
  readonly propose: (command: Command) => Promise<CommandResult>;
  /** Whether all nodes understand the command. */
  readonly mayPropose: (command: Command) => boolean;
  /** Undefined while this node holds no lease: nothing is then started or reported. */
  readonly lease: () => { epoch: number; deadlineMonotonicMs: number } | undefined;
}

export class Reconciler {
  readonly #deps: ReconcilerDeps;
  readonly #instances = new Map<VmId, InstanceStatus>();
  readonly #busy = new Map<VmId, Promise<void>>();
  /** When a VM may be started again, after it failed or crashed. */
  readonly #notBefore = new Map<VmId, number>();
  /** Since when each VM is known to run here, and in which epoch. */
  readonly #running = new Map<VmId, { readonly epoch: Epoch; readonly sinceMs: number }>();
  readonly #unsubscribe: () => void;
  #closed = false;

  constructor(deps: ReconcilerDeps, adopted: readonly InstanceStatus[]) {
    this.#deps = deps;
    for (const instance of adopted) this.#instances.set(instance.vmId, instance);
    this.#unsubscribe = deps.driver.subscribe((status) => {
      this.#instances.set(status.vmId, status);
      this.#consider(status.vmId);
    });
  }

  /** Looks at every VM that is here or should be. Cheap when there is nothing to do. */
  poke(): void {
    const wanted = vmsOnNode(this.#deps.state(), this.#deps.self).map((vm) => vm.id);
    for (const id of new Set([...wanted, ...this.#instances.keys()])) this.#consider(id);
  }

  liveCount(): number {
    let count = 0;
    for (const instance of this.#instances.values()) if (isLive(instance)) count++;
    return count;
  }

  /** The lease is over: everything dies now. The supervisors do the same by themselves. */
  async killAll(): Promise<void> {
    const live = [...this.#instances.values()].filter((instance) => isLive(instance));
    await Promise.all(
      live.map(async ({ vmId }) => {
        await this.#deps.driver.kill(vmId);
        await this.#refresh(vmId);
      }),
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#unsubscribe();
    await Promise.all(this.#busy.values());
  }

  #consider(id: VmId): void {
    const lease = this.#deps.lease();
    if (this.#closed || this.#busy.has(id) || lease === undefined) return;
    const record = getVm(this.#deps.state(), id);
    const instance = this.#instances.get(id);
    const step = decide(this.#deps.self, record, instance, this.#settled(id, instance));
    if (step.kind === "nothing") return;
    if (step.kind === "start" && (this.#notBefore.get(id) ?? 0) > this.#deps.clock.monotonicMs())
      return;
    const work = this.#perform(id, record, step, lease.epoch)
      .catch((caught: unknown) => {
        const error = toBlixardError(caught, `${step.kind} ${id}`);
        this.#deps.log.warn(
          { vm: id, step: step.kind, err: error.message },
          "step failed; will retry",
        );
        this.#backOff(id, record);
      })
      .finally(() => this.#busy.delete(id));
    this.#busy.set(id, work);
  }

  #settled(id: VmId, instance: InstanceStatus | undefined): boolean {
    if (instance?.phase !== "running") {
      this.#running.delete(id);
      return false;
    }
    const { epoch } = instance;
    const nowMs = this.#deps.clock.monotonicMs();
    const known = this.#running.get(id);
    if (known?.epoch !== epoch) this.#running.set(id, { epoch, sinceMs: nowMs });
    return known?.epoch === epoch && nowMs - known.sinceMs >= limits.SETTLED_MS;
  }

  async #perform(id: VmId, record: VmRecord | undefined, step: Step, lease: number): Promise<void> {
    const { driver } = this.#deps;
    this.#deps.log.debug({ vm: id, step: step.kind }, "reconcile");
    switch (step.kind) {
      case "nothing":
        return;
      case "start":
        if (record !== undefined) await this.#start(record, lease);
        return;
      case "stop":
        await driver.stop(id, { graceMs: limits.STOP_GRACE_MS });
        await this.#refresh(id);
        return;
      case "kill":
        await driver.kill(id);
        await this.#refresh(id);
        return;
      case "settle":
        if (record !== undefined) await this.#settle(record, lease);
        return;
      case "delete":
        await driver.delete(id);
        this.#instances.delete(id);
        this.#running.delete(id);
        this.#notBefore.delete(id);
        if (step.report && record !== undefined) {
          await this.#report(record, lease, { phase: "gone" });
        }
        return;
      case "report":
        if (step.phase === "crashed" && record !== undefined) this.#backOff(id, record);
        if (record === undefined) return;
        if (step.blameless === true && record.restarts > 1) await this.#settle(record, lease);
        await this.#report(record, lease, step);
        return;
      default:
        step satisfies never;
    }
  }

  /** Claims the epoch first: if the claim is lost, that epoch simply never runs. */
  async #start(record: VmRecord, leaseEpoch: number): Promise<void> {
    const { driver, self, clock } = this.#deps;
    const id = record.id;
    const claim = await this.#deps.propose({
      kind: "claimStart",
      vmId: id,
      nodeId: self,
      leaseEpoch,
    });
    if (!claim.ok) {
      this.#deps.log.debug({ vm: id, reason: claim.error.message }, "start not granted");
      this.#backOff(id, record);
      return;
    }
    const epoch = as<Epoch>(claim.value.epoch ?? 0);
    try {
      const { labels: _labels, ...spec } = record.spec;
      await driver.create({ vmId: id, ...spec });
      const lease = this.#deps.lease();
      // The lease that the claim was made under must still be the one held, with time to spare.
      if (lease?.epoch !== leaseEpoch) return;
      if (lease.deadlineMonotonicMs - clock.monotonicMs() < limits.START_MARGIN_MS) return;
      await driver.start(id, {
        epoch,
        deadlineMonotonicMs: lease.deadlineMonotonicMs,
        trace: newTrace(this.#deps.random),
      });
    } catch (caught) {
      const error = toBlixardError(caught, `start ${record.spec.name}`);
      this.#deps.log.warn({ vm: id, epoch, err: error.message }, "VM did not start");
      this.#backOff(id, record);
      const settled = { ...record, epoch };
      const lasting = error.code === "NotFound" || error.code === "InvalidArgument";
      const phase = lasting ? "failed" : "crashed";
      const reason =
        error.failure.hint === undefined
          ? error.message
          : `${error.message} (${error.failure.hint})`;
      await this.#report(settled, leaseEpoch, { phase, reason });
    }
    await this.#refresh(id);
  }

  async #settle(record: VmRecord, leaseEpoch: number): Promise<void> {
    const { self, log, mayPropose, propose } = this.#deps;
    const about = { vmId: record.id, nodeId: self, leaseEpoch, epoch: record.epoch };
    const command: Command = { kind: "settleVm", ...about };
    // Until every node understands it, a VM keeps what was counted.
    if (!mayPropose(command)) return;
    const result = await propose(command);
    if (!result.ok) log.debug({ vm: record.id, reason: result.error.message }, "not settled");
  }

  async #report(
    record: VmRecord,
    leaseEpoch: number,
    what: {
      phase: "running" | "stopped" | "failed" | "crashed" | "gone";
      reason?: string;
      commandExit?: number;
    },
  ): Promise<void> {
    const { phase, reason, commandExit } = what;
    const result = await this.#deps.propose({
      kind: "reportVm",
      vmId: record.id,
      nodeId: this.#deps.self,
      leaseEpoch,
      epoch: record.epoch,
      phase,
      ...(reason === undefined ? {} : { reason: reason.slice(0, 500) }),
      ...(commandExit === undefined ? {} : { commandExit }),
    });
    if (!result.ok) {
      this.#deps.log.debug({ vm: record.id, reason: result.error.message }, "report refused");
    }
  }

  async #refresh(id: VmId): Promise<void> {
    const status = await this.#deps.driver.inspect(id);
    if (status === undefined) this.#instances.delete(id);
    else this.#instances.set(id, status);
  }

  #backOff(id: VmId, record: VmRecord | undefined): void {
    const doublings = Math.min(record?.restarts ?? 0, 10);
    const waitMs = Math.min(
      limits.RESTART_BACKOFF_MAX_MS,
      limits.RESTART_BACKOFF_MIN_MS * 2 ** doublings,
    );
    this.#notBefore.set(id, this.#deps.clock.monotonicMs() + waitMs);
  }
}
