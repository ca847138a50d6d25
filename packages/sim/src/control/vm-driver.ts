/**
 * The driver of one simulated machine: VMs, each under a supervisor of its own that knows its
 * deadline, and how long the machine has slept since it began. They outlive the daemon's process, not
 * the machine. After a sleep the supervisor looks at its clocks before the guest executes again.
 */

import type { Instance, InstanceEnd, VmSpec } from "@blixard/control";
import { type Epoch, failure, type Failure, type Prng, type VmId } from "@blixard/std";
import type { VmChecker } from "../check/vm-checker.ts";
import type { SimClock } from "../world/clock.ts";
import { type Host, newHost, type World } from "../world/world.ts";

type Spec = Omit<VmSpec, "labels">;

interface Vm {
  spec: Spec;
  instance: Instance;
  /** On the machine's monotonic clock. */
  deadlineMs: number;
  /** How far its machine's clocks were apart when its supervisor began to look at them. */
  offsetMs: number;
  /** Waiting for the end of a stop or kill. */
  readonly waiting: (() => void)[];
}

export interface VmDriverDeps {
  readonly world: World;
  readonly clock: SimClock;
  readonly host: Host;
  readonly checker: VmChecker;
  readonly random: Prng;
  /** Suspension of more than this is noticed by the supervisors. */
  readonly maxClockJumpMs: number;
}

/** A supervisor looks at its clocks at least this often, by its machine's clock. */
const LOOK_EVERY_MS = 250;
/** The longest that a kill takes. */
const KILL_US_MAX = 400_000;
const CREATE_US = 200_000;
const LARGE_IMAGE_US = 20_000_000;
const LARGE_IMAGES = 0.2;
const START_US: readonly [number, number] = [50_000, 300_000];
/** Chances that a start fails, and that a guest ends by itself within a while of running. */
const START_FAILS = 0.03;
const CRASHES = 0.05;

export class SimVmDriver {
  readonly #deps: VmDriverDeps;
  /** The machine, as against the daemon's process: it goes on when only the process dies. */
  readonly #machine: Host;
  readonly #vms = new Map<VmId, Vm>();
  #listener: (instance: Instance) => void = () => undefined;
  #isWatching = false;
  /** Everything fails no more: VMs that were started stay up. */
  isHealed = false;

  constructor(deps: VmDriverDeps) {
    this.#deps = deps;
    this.#machine = newHost(deps.host.id);
    this.#machine.up = true;
  }

  /** Phase changes go to the daemon's present life. */
  subscribe(listener: (instance: Instance) => void): void {
    this.#listener = listener;
  }

  /** After a start of the daemon: what is there. */
  readopt(): readonly Instance[] {
    return [...this.#vms.values()].map(({ instance }) => instance);
  }

  inspect(id: VmId): Instance | undefined {
    return this.#vms.get(id)?.instance;
  }

  /** VMs of which something may execute. */
  live(): readonly VmId[] {
    const live = [...this.#vms].filter(([, { instance }]) => isUp(instance));
    return live.map(([id]) => id);
  }

  create(id: VmId, spec: Spec): void {
    const vm = this.#vms.get(id);
    if (vm !== undefined) {
      if (!isUp(vm.instance)) vm.spec = spec;
      return;
    }
    // Safe: 0 comes before the first epoch.
    const instance: Instance = { vmId: id, epoch: 0 as Epoch, phase: "created" };
    this.#vms.set(id, { spec, instance, deadlineMs: 0, offsetMs: 0, waiting: [] });
  }

  /** How long a disk takes to be made; a large image outlasts leases. */
  createUs(): number {
    const { random } = this.#deps;
    const isLarge = !this.isHealed && random.chance(LARGE_IMAGES);
    return random.between(1000, isLarge ? LARGE_IMAGE_US : CREATE_US);
  }

  start(id: VmId, epoch: Epoch, deadlineMs: number): Failure | undefined {
    const { host, clock, checker, random } = this.#deps;
    const vm = this.#vms.get(id);
    if (vm === undefined) return failure("NotFound", { kind: "VM", name: id }, "no such folder");
    if (isUp(vm.instance)) return failure("Conflict", { reason: "runs" }, "it still runs");
    if (deadlineMs <= clock.monotonicMs()) {
      return failure("Conflict", { reason: "late" }, "its deadline has passed");
    }
    if (!this.isHealed && random.chance(START_FAILS)) {
      return failure("Unavailable", { reason: "simulated" }, "the backend did not start");
    }
    vm.deadlineMs = deadlineMs;
    vm.offsetMs = this.#clockOffsetMs();
    checker.started(host.id, id, epoch, vm.spec);
    this.#set(vm, { vmId: id, epoch, phase: "starting" });
    this.#later(random.between(...START_US), () => {
      if (vm.instance.phase !== "starting" || vm.instance.epoch !== epoch) return;
      this.#set(vm, { ...vm.instance, phase: "running" });
      if (!this.isHealed && random.chance(CRASHES)) this.#crashLater(vm, epoch);
    });
    if (!this.#isWatching) this.#watch();
    return undefined;
  }

  #crashLater(vm: Vm, epoch: Epoch): void {
    const { random } = this.#deps;
    const end: InstanceEnd = random.chance(0.5)
      ? { kind: "crashed", reason: "simulated panic" }
      : { kind: "shutdown" };
    this.#later(random.between(100_000, 5_000_000), () => {
      if (vm.instance.epoch === epoch && isUp(vm.instance)) this.#end(vm, end);
    });
  }

  #set(vm: Vm, instance: Instance): void {
    vm.instance = instance;
    const { host, world } = this.#deps;
    if (!host.up) return;
    // A word of the supervisor's reaches the daemon only while that runs.
    world.after(0, host, "vm", 1, () => this.#listener(instance));
  }

  stop(id: VmId, done: () => void): void {
    this.#endSoon(id, [10_000, 300_000], { kind: "shutdown" }, done);
  }

  kill(id: VmId, done: () => void): void {
    this.#endSoon(id, [1000, KILL_US_MAX], { kind: "killed" }, done);
  }

  #endSoon(id: VmId, range: readonly [number, number], how: InstanceEnd, done: () => void): void {
    const vm = this.#vms.get(id);
    if (vm === undefined || !isUp(vm.instance)) return done();
    vm.waiting.push(done);
    const { epoch } = vm.instance;
    this.#set(vm, { ...vm.instance, phase: "stopping" });
    this.#later(this.#deps.random.between(...range), () => {
      if (vm.instance.epoch === epoch) this.#end(vm, how);
    });
  }

  /** Removes the folder; refuses while it runs. */
  delete(id: VmId): Failure | undefined {
    const vm = this.#vms.get(id);
    if (vm !== undefined && isUp(vm.instance)) {
      return failure("Conflict", { reason: "runs" }, "it still runs");
    }
    this.#vms.delete(id);
    return undefined;
  }

  /** Moves the deadline of everything that runs; never backwards. */
  renew(deadlineMs: number): void {
    for (const vm of this.#vms.values()) vm.deadlineMs = Math.max(vm.deadlineMs, deadlineMs);
  }

  #later(delayUs: number, run: () => void): void {
    this.#deps.world.after(delayUs, this.#machine, "vm", 0, run);
  }

  #end(vm: Vm, ended: InstanceEnd): void {
    if (!isUp(vm.instance)) return;
    const { host, checker } = this.#deps;
    const { vmId, epoch } = vm.instance;
    checker.ended(host.id, vmId, ended.kind);
    this.#set(vm, { vmId, epoch, phase: "stopped", ended });
    for (const done of vm.waiting.splice(0)) done();
  }

  #clockOffsetMs(): number {
    return this.#deps.clock.bootMs() - this.#deps.clock.monotonicMs();
  }

  /** As long as something runs: each supervisor looks at its deadline when that is due. */
  #watch(): void {
    this.#isWatching = true;
    this.#look();
    const nowMs = this.#deps.clock.monotonicMs();
    let waitMs = Number.POSITIVE_INFINITY;
    for (const { instance, deadlineMs } of this.#vms.values()) {
      if (isUp(instance)) waitMs = Math.min(waitMs, Math.max(1, deadlineMs - nowMs), LOOK_EVERY_MS);
    }
    this.#isWatching = Number.isFinite(waitMs);
    if (this.#isWatching) this.#later(this.#deps.clock.trueUs(waitMs), () => this.#watch());
  }

  #look(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    const offsetMs = this.#clockOffsetMs();
    for (const vm of this.#vms.values()) {
      if (!isUp(vm.instance)) continue;
      if (offsetMs - vm.offsetMs > this.#deps.maxClockJumpMs)
        this.#end(vm, { kind: "leaseExpired" });
      else if (vm.deadlineMs <= nowMs) this.#expire(vm);
    }
  }

  /** Killing takes its time, within the allowance that the leases make for it. */
  #expire(vm: Vm): void {
    const { epoch, phase } = vm.instance;
    vm.deadlineMs = Number.POSITIVE_INFINITY;
    if (phase !== "stopping") this.#set(vm, { ...vm.instance, phase: "stopping" });
    this.#later(this.#deps.random.between(1000, KILL_US_MAX), () => {
      if (vm.instance.epoch === epoch) this.#end(vm, { kind: "leaseExpired" });
    });
  }

  /** The machine sleeps for `forUs`, guests and supervisors with it. */
  suspend(forUs: number): void {
    const { world, checker, host } = this.#deps;
    this.#machine.pausedUntilUs = world.nowUs + forUs;
    checker.freeze(host.id, true);
    this.#later(forUs, () => {
      this.#look();
      checker.freeze(host.id, false);
    });
  }

  /** The machine's disk is gone, with all folders. */
  loseDisk(): void {
    this.cutPower();
    this.#vms.clear();
  }

  /** The machine loses power: folders stay, nothing runs. */
  cutPower(): void {
    const { checker, host } = this.#deps;
    this.#machine.incarnation++;
    this.#machine.pausedUntilUs = 0;
    this.#isWatching = false;
    for (const vm of this.#vms.values()) {
      vm.waiting.length = 0;
      if (!isUp(vm.instance)) continue;
      const { vmId, epoch } = vm.instance;
      checker.ended(host.id, vmId, "power cut");
      vm.instance = { vmId, epoch, phase: "stopped", ended: { kind: "killed" } };
    }
  }
}

function isUp({ phase }: Instance): boolean {
  return phase === "starting" || phase === "running" || phase === "stopping";
}
