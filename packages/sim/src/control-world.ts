/**
 * The whole control plane in the world: RaftNode, the replicated state, leases, planner and VMs.
 */

import {
  COMMAND_VERSION,
  type Command,
  type CommandResult,
  DEFAULT_LEASE_OPTIONS,
  encodeCommand,
  explain,
  getVm,
  listVms,
  type NodeRegistration,
  stateHash,
  type VmSpec,
} from "@blixard/control";
import {
  as,
  type CorrelationId,
  type NodeId,
  type PeerId,
  present,
  type Prng,
  type PublicKeyHex,
  type VmId,
} from "@blixard/std";
import { RaftChecker } from "./checker.ts";
import { ControlMachine, ControlNode } from "./control-node.ts";
import { CLOCK_DRIFT_PPM_MAX } from "./limits.ts";
import { drawFaults, type Fault, Nemesis, type Victim } from "./nemesis.ts";
import { GOOD_LINK, SimNetwork } from "./network.ts";
import { NodeMember } from "./node-member.ts";
import type { RunOptions } from "./run.ts";
import { VmChecker } from "./vm-checker.ts";
import { SimVmDriver } from "./vm-driver.ts";
import { violated, type World } from "./world.ts";

const NODES = 3;
const FAULTY_US = 40_000_000;
const SETTLE_US = 90_000_000;
const STEP_US = 250_000;
const CLIENT_DEADLINE_MS = 4000;
const VMS_MAX = 6;
/**
 * The mutant's leader gives up as soon as one renewal is late; VMs may live for three seconds
 * more.
 */
const IMPATIENT_LEASE_MS = 1.5 * DEFAULT_LEASE_OPTIONS.renewEveryMs;
const MIB = 1024 * 1024;
const CAPACITY = { vcpus: 4, memoryBytes: 4096 * MIB, diskBytes: 0 };
const POSSIBLE: readonly Fault[] = [
  "kill",
  "powerCut",
  "blackout",
  "partition",
  "oneWay",
  "lossy",
  "straggle",
  "pause",
  "suspend",
  "drift",
  "wallJump",
  "slowDisk",
];

class Machine implements Victim {
  readonly member: NodeMember<CommandResult>;
  readonly driver: SimVmDriver;
  daemon: ControlNode | undefined;

  constructor(member: NodeMember<CommandResult>, driver: SimVmDriver) {
    this.member = member;
    this.driver = driver;
  }

  get host() {
    return this.member.host;
  }

  get clock() {
    return this.member.clock;
  }

  get disk() {
    return this.member.disk;
  }

  get state() {
    const { machine } = this.member;
    return machine instanceof ControlMachine ? machine.state : undefined;
  }

  kill(): void {
    this.member.kill();
    if (!this.host.up) this.daemon = undefined;
  }

  cutPower(): void {
    this.daemon = undefined;
    this.driver.cutPower();
    this.member.cutPower();
  }

  restart(): void {
    this.member.restart();
  }

  suspend(forUs: number): void {
    this.member.suspend(forUs);
    this.driver.suspend(forUs);
  }
}

/** What the user knows of one VM. */
interface Wish {
  readonly id: VmId;
  readonly spec: VmSpec;
  isCreated: boolean;
  /** A delete was sent: it may be gone. */
  isDoomed: boolean;
  /** The delete was acknowledged: it must go. */
  isDeleted: boolean;
}

class ControlRun {
  readonly machines: Machine[] = [];
  readonly checker: RaftChecker;
  readonly vms: VmChecker;
  readonly raftNetwork: SimNetwork;
  readonly leaseNetwork: SimNetwork;
  acked = 0;
  /** Leases that a node gave up. */
  expiries = 0;
  /** Leases that a leader declared lost. */
  lost = 0;
  readonly #world: World;
  readonly #random: Prng;
  readonly #options: RunOptions;
  readonly #registrations: readonly NodeRegistration[];
  readonly #wishes: Wish[] = [];
  #isQuiet = false;

  constructor(world: World, options: RunOptions) {
    this.#world = world;
    this.#options = options;
    this.#random = world.random.fork();
    this.checker = new RaftChecker(world);
    this.raftNetwork = new SimNetwork(world, world.random.fork());
    this.leaseNetwork = new SimNetwork(world, world.random.fork());
    const peers = Array.from({ length: NODES }, (_, i) => i + 1);
    this.vms = new VmChecker(world, new Map(peers.map((peer) => [peer, CAPACITY])));
    this.#registrations = peers.map((peer) => ({
      id: as<NodeId>(peer.toString(16).padStart(32, "0")),
      peerId: as<PeerId>(peer),
      name: `node-${peer}`,
      publicKey: as<PublicKeyHex>(peer.toString(16).padStart(64, "0")),
      address: `node-${peer}:1`,
      capacity: CAPACITY,
      drivers: ["fake"],
      labels: {},
      commandVersion: COMMAND_VERSION,
    }));
    for (const peer of peers) this.machines.push(this.#machine(peer));
  }

  #machine(peer: number): Machine {
    const world = this.#world;
    const founders = this.#registrations.map(({ peerId }) => peerId);
    const member: NodeMember<CommandResult> = new NodeMember<CommandResult>(
      {
        world,
        checker: this.checker,
        network: this.raftNetwork,
        machine: () => new ControlMachine(() => member, this.checker),
        isSyncLying: false,
        founders,
        options: {
          snapshotEveryBytes: 64 * 1024,
          segmentBytes: 64 * 1024,
          maxProposalBytes: 65_536,
        },
        onEvent: (_, event) => {
          if (event.kind === "recovered") machine.daemon = this.#daemon(machine, lease);
          if (event.kind === "fatal") machine.daemon = undefined;
        },
      },
      peer,
      world.random.fork(),
    );
    const { host, clock, random } = member;
    const driver = new SimVmDriver(
      { world, host, clock, checker: this.vms, random: random.fork() },
      { maxClockJumpMs: DEFAULT_LEASE_OPTIONS.maxClockJumpMs },
    );
    const machine = new Machine(member, driver);
    const lease = this.leaseNetwork.attach(host, (from, bytes) => {
      machine.daemon?.onDatagram(from, bytes);
    });
    return machine;
  }

  #daemon(machine: Machine, leasePort: ReturnType<SimNetwork["attach"]>): ControlNode {
    const { member, driver } = machine;
    const grantorOptions =
      this.#options.mutant === "noLeaseWait"
        ? { ...DEFAULT_LEASE_OPTIONS, leaseMs: IMPATIENT_LEASE_MS }
        : DEFAULT_LEASE_OPTIONS;
    return new ControlNode({
      world: this.#world,
      member,
      driver,
      leasePort,
      options: DEFAULT_LEASE_OPTIONS,
      grantorOptions,
      registrations: this.#registrations,
      random: member.random.fork(),
      machine: () => {
        const replica = member.machine;
        if (replica instanceof ControlMachine) return replica;
        return violated(`n${member.host.id} has no state machine`);
      },
      onExpiry: () => this.expiries++,
      onLost: () => this.lost++,
    });
  }

  // The user.

  #propose(command: Command, onAck: (result: CommandResult) => void): void {
    const awake = this.machines.filter(
      ({ host, member }) =>
        host.up && member.isRecovered && host.pausedUntilUs <= this.#world.nowUs,
    );
    const machine = awake[this.#random.below(Math.max(1, awake.length))];
    if (machine?.member.raft === undefined) return;
    const correlationId = as<CorrelationId>(this.#random.u32().toString(16).padStart(32, "0"));
    const bytes = encodeCommand(command, { correlationId, proposedAtMs: 0 });
    const deadlineMs = machine.clock.monotonicMs() + CLIENT_DEADLINE_MS;
    machine.member.raft.propose(bytes, deadlineMs, (result) => {
      if (!result.ok) return;
      this.acked++;
      this.checker.acknowledged(this.acked, result.value.index);
      onAck(result.value.response);
    });
  }

  startClients(): void {
    this.#world.after(this.#random.between(100_000, 2_500_000), undefined, "client", 0, () => {
      if (this.#isQuiet) return;
      this.#act();
      this.startClients();
    });
  }

  stopClients(): void {
    this.#isQuiet = true;
  }

  #act(): void {
    const alive = this.#wishes.filter(({ isDoomed }) => !isDoomed);
    if (alive.length < VMS_MAX && this.#random.chance(0.5)) return this.#create();
    const undead = this.#wishes.find(({ isDoomed, isDeleted }) => isDoomed && !isDeleted);
    if (undead !== undefined && this.#random.chance(0.3)) return this.#delete(undead);
    const wish = alive[this.#random.below(Math.max(1, alive.length))];
    if (wish === undefined) return;
    if (this.#random.chance(0.3)) this.#delete(wish);
    else {
      const desired = this.#random.chance(0.4) ? "stopped" : "running";
      this.#propose({ kind: "setDesired", vmId: wish.id, desired }, () => undefined);
    }
  }

  #delete(wish: Wish): void {
    wish.isDoomed = true;
    this.#propose({ kind: "deleteVm", vmId: wish.id }, (result) => {
      // What is not found although it was created went by an earlier, unanswered delete.
      const isGone = !result.ok && result.error.code === "NotFound" && wish.isCreated;
      if (result.ok || isGone) wish.isDeleted = true;
    });
  }

  #create(): void {
    const number = this.#wishes.length + 1;
    const id = as<VmId>(number.toString(16).padStart(16, "0"));
    const spec: VmSpec = {
      name: `vm-${number}`,
      image: "test",
      vcpus: this.#random.between(1, 3),
      memoryBytes: 512 * MIB,
      diskBytes: 0,
      labels: {},
      command: [],
    };
    const wish: Wish = { id, spec, isCreated: false, isDoomed: false, isDeleted: false };
    this.#wishes.push(wish);
    this.#propose({ kind: "createVm", vmId: id, spec, desired: "running" }, (result) => {
      if (result.ok) wish.isCreated = true;
    });
  }

  // After healing.

  settle(): void {
    const untilUs = this.#world.nowUs + SETTLE_US;
    let why = "";
    while (this.#world.nowUs < untilUs) {
      this.#world.runUntil(this.#world.nowUs + STEP_US);
      why = this.#unsettled() ?? "";
      if (why === "") return this.#checkWishes();
    }
    violated(`${SETTLE_US / 1e6} s after healing: ${why}`);
  }

  /** Undefined when all nodes agree and what should run does, and nothing else. */
  #unsettled(): string | undefined {
    const hashes = new Set<bigint>();
    const indexes = new Set<number>();
    for (const { state, member, host } of this.machines) {
      const status = member.isRecovered ? member.raft?.status() : undefined;
      if (state === undefined || status === undefined) return `n${host.id} is down`;
      if (status.leader === 0) return `n${host.id} knows no leader`;
      hashes.add(stateHash(state));
      indexes.add(status.applied);
    }
    if (hashes.size > 1) return `states at ${[...indexes].join(", ")} differ`;
    const { state } = present(this.machines[0], "a machine");
    if (state === undefined) return "no state";
    const running = new Map(
      this.machines.flatMap(({ driver, host }) =>
        driver.live().map(({ vmId }) => [vmId, host.id] as const),
      ),
    );
    for (const vm of listVms(state)) {
      const where = running.get(vm.id);
      running.delete(vm.id);
      if (vm.deleting) return `${vm.spec.name} is still being deleted`;
      if (vm.phase === "failed") continue;
      const isWanted = vm.desired === "running";
      // Deletes that failed leave more VMs behind than there is room for.
      if (vm.phase === "pending" && explain(state, vm.id)?.chosen === undefined) continue;
      if (isWanted !== (where !== undefined)) {
        return `${vm.spec.name} is ${vm.phase}, wanted ${vm.desired}, runs on ${where ?? "none"}`;
      }
      if (isWanted && vm.phase !== "running") return `${vm.spec.name} is ${vm.phase}`;
      if (isWanted && where !== Number.parseInt(vm.nodeId ?? "0", 16)) {
        return `${vm.spec.name} runs on n${where}, but its record says ${vm.nodeId}`;
      }
    }
    const [stray] = running;
    return stray === undefined ? undefined : `vm ${stray[0]} runs on n${stray[1]} unwanted`;
  }

  /** Every acknowledged create and delete shows on every node. */
  #checkWishes(): void {
    for (const { state, host } of this.machines) {
      if (state === undefined) continue;
      for (const { id, spec, isCreated, isDoomed, isDeleted } of this.#wishes) {
        const record = getVm(state, id);
        if (isCreated && !isDoomed && record === undefined) {
          violated(`n${host.id} lost ${spec.name}, whose creation was acknowledged`);
        }
        if (isDeleted && record !== undefined) {
          violated(`n${host.id} still has ${spec.name}, whose deletion was acknowledged`);
        }
      }
    }
  }
}

export function controlScenario(
  world: World,
  options: RunOptions,
  reached: Record<string, number>,
): void {
  const random = world.random.fork();
  const run = new ControlRun(world, options);
  const faults = drawFaults(random, POSSIBLE);
  const untilUs = FAULTY_US * (options.length ?? 1);
  const networks = [run.raftNetwork, run.leaseNetwork];
  const nemesis = new Nemesis(world, random.fork(), run.machines, networks, {
    faults,
    gapUs: random.between(500_000, 6_000_000),
    longestUs: random.between(1_000_000, 15_000_000),
    untilUs,
    driftPpm: CLOCK_DRIFT_PPM_MAX,
  });
  if (random.chance(0.3)) {
    // Lease messages that come seconds late, all the time.
    const lag = { ...GOOD_LINK, straggle: random.below(100) / 100, straggleUs: 4_000_000 };
    run.leaseNetwork.usual = lag;
    run.leaseNetwork.quality = lag;
  }
  world.note(undefined, `faults: ${faults.join(" ")}`);
  for (const machine of run.machines) machine.restart();
  run.startClients();
  nemesis.start();
  world.runUntil(untilUs);
  run.stopClients();
  run.settle();
  reached["acked"] = run.acked;
  reached["starts"] = run.vms.starts;
  reached["expiries"] = run.expiries;
  reached["lost"] = run.lost;
  reached["leaders"] = run.checker.leaderChanges;
  reached["faults"] = nemesis.injected;
}
