/**
 * VMs of one simulated machine, each under a supervisor of its own that knows its deadline. They
 * outlive the daemon's process, not the machine. After a sleep the supervisor looks at its clocks
 * before the guest executes again.
 */

import type { VmSpec } from "@blixard/control";
import type { Prng } from "@blixard/std";
import type { SimClock } from "./clock.ts";
import type { VmChecker } from "./vm-checker.ts";
import type { Host, World } from "./world.ts";

export interface Instance {
  readonly vmId: string;
  readonly epoch: number;
  readonly spec: VmSpec;
  /** The lease epoch under which it was started; its supervisor keeps it. */
  readonly leaseEpoch: number;
  /** Log index of the claim that allowed the start: who has applied less cannot judge it. */
  readonly claimIndex: number;
  phase: "starting" | "running" | "stopping" | "stopped";
  /** On the machine's monotonic clock. */
  deadlineMs: number;
}

/** Between two looks of a supervisor at its clocks, in ms of its machine. */
const SUPERVISOR_PERIOD_MS = 20;
/** The longest that a kill takes. */
const KILL_US_MAX = 400_000;

export class SimVmDriver {
  readonly #world: World;
  readonly #clock: SimClock;
  readonly #host: Host;
  /** The machine, as against the daemon's process: it goes on when only the process dies. */
  readonly #machine: Host;
  readonly #checker: VmChecker;
  readonly #random: Prng;
  readonly #maxClockJumpMs: number;
  readonly #instances = new Map<string, Instance>();
  #offsetMs = 0;

  constructor(
    deps: {
      readonly world: World;
      readonly clock: SimClock;
      readonly host: Host;
      readonly checker: VmChecker;
      readonly random: Prng;
    },
    options: { readonly maxClockJumpMs: number },
  ) {
    this.#world = deps.world;
    this.#clock = deps.clock;
    this.#host = deps.host;
    this.#checker = deps.checker;
    this.#random = deps.random;
    this.#maxClockJumpMs = options.maxClockJumpMs;
    this.#machine = { id: deps.host.id, incarnation: 0, up: true, pausedUntilUs: 0 };
    this.#watch();
  }

  /** Those that have not ended. */
  live(): readonly Instance[] {
    return [...this.#instances.values()].filter(({ phase }) => phase !== "stopped");
  }

  instance(vmId: string): Instance | undefined {
    return this.#instances.get(vmId);
  }

  /** False when an instance of this VM still runs here, or its time is over already. */
  start(what: Omit<Instance, "phase">): boolean {
    const { vmId, epoch, spec } = what;
    const before = this.#instances.get(vmId);
    if (before !== undefined && before.phase !== "stopped") return false;
    if (what.deadlineMs <= this.#clock.monotonicMs()) return false;
    const instance: Instance = { ...what, phase: "starting" };
    this.#instances.set(vmId, instance);
    this.#offsetMs = this.#clockOffsetMs();
    this.#checker.started(this.#host.id, vmId, epoch, spec);
    this.#later(this.#random.between(100_000, 600_000), () => {
      if (instance.phase === "starting") instance.phase = "running";
    });
    return true;
  }

  stop(vmId: string): void {
    const instance = this.#instances.get(vmId);
    if (instance === undefined || instance.phase === "stopped") return;
    instance.phase = "stopping";
    this.#later(this.#random.between(10_000, 300_000), () => this.#end(instance, "stopped"));
  }

  /** Forgets an instance that has ended. */
  remove(vmId: string): void {
    if (this.#instances.get(vmId)?.phase === "stopped") this.#instances.delete(vmId);
  }

  /** Killing takes its time, within the allowance that the leases make for it. */
  killAll(why: string): void {
    for (const instance of this.#instances.values()) this.#kill(instance, why);
  }

  #kill(instance: Instance, why: string): void {
    if (instance.phase === "stopped") return;
    instance.phase = "stopping";
    this.#later(this.#random.between(1000, KILL_US_MAX), () => this.#end(instance, why));
  }

  renew(deadlineMs: number): void {
    for (const instance of this.#instances.values()) {
      instance.deadlineMs = Math.max(instance.deadlineMs, deadlineMs);
    }
  }

  #later(delayUs: number, run: () => void): void {
    this.#world.after(delayUs, this.#machine, "vm", 0, run);
  }

  #end(instance: Instance, why: string): void {
    if (instance.phase === "stopped") return;
    instance.phase = "stopped";
    this.#checker.ended(this.#host.id, instance.vmId, why);
  }

  #clockOffsetMs(): number {
    return this.#clock.bootMs() - this.#clock.monotonicMs();
  }

  #watch(): void {
    this.#look();
    this.#later(this.#clock.trueUs(SUPERVISOR_PERIOD_MS), () => this.#watch());
  }

  #look(): void {
    const nowMs = this.#clock.monotonicMs();
    const hasSlept = this.#clockOffsetMs() - this.#offsetMs > this.#maxClockJumpMs;
    for (const instance of this.#instances.values()) {
      if (hasSlept) this.#end(instance, "the machine slept");
      else if (instance.deadlineMs <= nowMs) this.#kill(instance, "deadline");
    }
    this.#offsetMs = this.#clockOffsetMs();
  }

  /** The machine sleeps for `forUs`, guests and supervisors with it. */
  suspend(forUs: number): void {
    this.#machine.pausedUntilUs = this.#world.nowUs + forUs;
    this.#checker.freeze(this.#host.id, true);
    this.#later(forUs, () => {
      this.#look();
      this.#checker.freeze(this.#host.id, false);
    });
  }

  /** The machine loses power. */
  cutPower(): void {
    this.#machine.incarnation++;
    this.#machine.pausedUntilUs = 0;
    for (const instance of this.#instances.values()) {
      instance.phase = "stopped";
      this.#checker.ended(this.#host.id, instance.vmId, "power cut");
    }
    this.#instances.clear();
    this.#offsetMs = 0;
    this.#watch();
  }
}
