/** The control plane under a load of VMs: machines that join, clients that create, stop and delete. */

import {
  type Capacity,
  type Command,
  COMMAND_VERSION,
  type CommandResult,
  DEFAULT_LEASE_OPTIONS,
  explain,
  getNode,
  getVm,
  listVms,
  type NodeRegistration,
  type NodeRegistrationBase,
  stateHash,
  type VmRecord,
  type VmSpec,
} from "@blixard/control";
import type { ProposeError } from "@blixard/raft-node";
import { as, type Network, type NodeId, type PublicKeyHex, type VmId } from "@blixard/std";
import { type Holder, LeaseChecker } from "../check/lease-checker.ts";
import { RecordChecker } from "../check/record-checker.ts";
import { VmChecker } from "../check/vm-checker.ts";
import { WatchChecker } from "../check/watch-checker.ts";
import { Cluster } from "../cluster.ts";
import type { App, Machine } from "../machine.ts";
import {
  LEADER,
  type OperationItem,
  type Plan,
  type VmInput,
  type VmOperation,
  type VmOutput,
} from "../plan.ts";
import type { Workload } from "../workload.ts";
import { violated, type World } from "../world/world.ts";
import { Daemon } from "./daemon.ts";
import { SimVmDriver } from "./vm-driver.ts";

const MIB = 1024 * 1024;
const CAPACITY: Capacity = { vcpus: 4, memoryBytes: 4096 * MIB, diskBytes: 0 };
const JOIN_EVERY_US = 300_000;
const TOKEN_HASH = "a".repeat(64);
const WATCHERS = 3;

type Response = CommandResult;
type Mutable = { -readonly [K in keyof VmOperation]: VmOperation[K] };
interface Invoked {
  readonly operation: Mutable;
  isRefused: boolean;
}

interface Node {
  readonly driver: SimVmDriver;
  leases: Network;
  isAdmitted: boolean;
  /** A machine that lost its disk joins as another node. */
  generation: number;
}

export class VmWorkload implements Workload {
  readonly cluster: Cluster<Response>;
  readonly vms: VmChecker;
  readonly watches: WatchChecker;
  readonly #records: RecordChecker;
  readonly #leases = new LeaseChecker((nodeId) => this.#holder(nodeId));
  readonly #world: World;
  readonly #counts: Record<string, number> = {};
  readonly #nodes = new Map<number, Node>();
  readonly #invoked: Invoked[] = [];
  readonly #keys = new Set<number>();
  #unread = new Set<number>();
  #hasReadBack = false;
  #hasLost = false;
  #round = 0;
  #readsBack = 0;

  constructor(world: World, plan: Plan) {
    this.#world = world;
    const count = plan.cluster.voters;
    const ids = Array.from({ length: count }, (_, i) => i + 1);
    this.vms = new VmChecker(world, new Map(ids.map((id) => [id, CAPACITY])));
    this.#records = new RecordChecker((vmId) => this.vms.where(vmId));
    this.cluster = new Cluster<Response>(world, plan.cluster, (machine) => this.#start(machine), {
      operates: false,
      founders: 1,
      onLostDisk: (machine) => this.#loseDisk(machine),
      hardware: (id) => ({
        cutPower: () => this.#node(id).driver.cutPower(),
        suspend: (forUs) => this.#node(id).driver.suspend(forUs),
      }),
    });
    this.watches = new WatchChecker(world, count, (id) => this.cluster.machine(id).isServing);
    for (const machine of this.cluster.machines) this.#addNode(machine);
    this.watches.start(WATCHERS);
    this.#joinLater();
  }

  #node(id: number): Node {
    return this.#nodes.get(id) ?? violated("wired", `n${id} has no driver`);
  }

  #addNode(machine: Machine<Response>): void {
    const { host, clock, id } = machine;
    const world = this.#world;
    const driver = new SimVmDriver({
      world,
      host,
      clock,
      checker: this.vms,
      random: world.stream("driver", id),
      maxClockJumpMs: DEFAULT_LEASE_OPTIONS.maxClockJumpMs,
    });
    const leases = this.#attachLeases(machine);
    this.#nodes.set(id, { driver, leases, isAdmitted: id === 1, generation: 0 });
    // Nobody starts before it was admitted.
    if (id > 1) machine.hold();
  }

  /** Undefined for a node that is no more. */
  #holder(nodeId: NodeId): Holder | undefined {
    const machine = this.cluster.machines.find(
      ({ id }) => baseOf(id, this.#node(id).generation).id === nodeId,
    );
    if (machine === undefined) return undefined;
    const epoch = machine.clock.isSuspended ? undefined : daemonOf(machine)?.heldEpoch();
    return { epoch, ...this.vms.on(machine.id) };
  }

  #attachLeases(machine: Machine<Response>): Network {
    return this.cluster.network.attach(machine.host, machine.peer, 1, (from, bytes) => {
      daemonOf(machine)?.receive(from, bytes);
    });
  }

  #start(machine: Machine<Response>): App<Response> {
    const { id } = machine;
    const { driver, leases, generation } = this.#node(id);
    return new Daemon({
      world: this.#world,
      machine,
      checker: this.cluster.checker,
      watches: this.watches,
      records: this.#records,
      leaseChecker: this.#leases,
      driver,
      leases,
      options: DEFAULT_LEASE_OPTIONS,
      registration: registrationOf(id, generation),
      random: this.#world.stream("driver", 1000 * machine.host.incarnation + id),
      reached: this.#counts,
    });
  }

  // Joining, one after the other, as an operator does.

  #joinLater(): void {
    this.#world.after(JOIN_EVERY_US, undefined, "operator", 0, () => {
      this.#joinLater();
      const next = this.cluster.machines.find(({ id }) => !this.#node(id).isAdmitted);
      if (next !== undefined) this.#join(next);
    });
  }

  #join(next: Machine<Response>): void {
    const machine = this.cluster.machines.find(({ isServing }) => isServing);
    const daemon = machine === undefined ? undefined : daemonOf(machine);
    if (daemon === undefined) return;
    // The first peer id must be taken before any is given out.
    if (getNode(daemon.state, registrationOf(1).id) === undefined && !this.#hasLost) return;
    if (daemon.state.joinTokens.get(TOKEN_HASH) === undefined) {
      const token = { kind: "createJoinToken", hash: TOKEN_HASH, uses: 64, expiresAtMs: 1e15 };
      daemon.propose(token as Extract<Command, { kind: "createJoinToken" }>, () => undefined);
      return;
    }
    const { generation } = this.#node(next.id);
    const before = generation === 0 ? undefined : baseOf(next.id, generation - 1).id;
    const old = before === undefined ? undefined : getNode(daemon.state, before);
    if (old !== undefined) {
      // Whoever is up and has VMs is not removed: its lease runs out first.
      daemon.propose({ kind: "removeNode", nodeId: old.id }, () => undefined);
      return;
    }
    const node = baseOf(next.id, generation);
    daemon.propose({ kind: "admitNode", tokenHash: TOKEN_HASH, node }, (result) => {
      if (!result.ok || !result.value.ok) return;
      const known = this.#node(next.id);
      const { peerId } = result.value.value;
      if (known.isAdmitted || known.generation !== generation || peerId === undefined) return;
      if (generation === 0 && peerId !== next.peer) {
        violated("peer ids rise by one", `n${next.id} is p${peerId}`);
      }
      if (generation > 0) {
        next.become(peerId);
        known.leases = this.#attachLeases(next);
      }
      known.isAdmitted = true;
      next.release();
    });
  }

  /**
   * Only while every machine is a voter: else what is a minority of the machines may be a majority
   * of the voters.
   */
  #loseDisk(machine: Machine<Response>): boolean {
    const conf = this.cluster.leader()?.raft?.protocol()?.conf;
    const { machines } = this.cluster;
    if (conf === undefined || conf.votersOutgoing.length > 0) return false;
    if (conf.voters.length !== machines.length) return false;
    const isVoter = ({ id, peer }: Machine<Response>): boolean =>
      this.#node(id).isAdmitted && conf.voters.includes(peer);
    if (!machines.every(isVoter)) return false;
    this.#hasLost = true;
    const node = this.#node(machine.id);
    node.driver.loseDisk();
    node.isAdmitted = false;
    node.generation++;
    machine.loseDisk();
    machine.hold();
    return true;
  }

  // The users.

  #serving(from: number): Machine<Response> | undefined {
    const { machines } = this.cluster;
    for (let n = 0; n < machines.length; n++) {
      const machine = machines[(from - 1 + n) % machines.length];
      if (machine?.isServing === true) return machine;
    }
    return undefined;
  }

  invoke(item: OperationItem): void {
    const { input } = item;
    if (input.kind === "read" || input.kind === "write" || input.kind === "cas") {
      violated("valid plan", `operation ${item.id} is not one of VMs: ${input.kind}`);
    }
    const asked = item.machine === LEADER ? (this.cluster.leader()?.id ?? 1) : item.machine;
    const machine = this.#serving(asked);
    if (machine === undefined) return;
    const { id, client, key } = item;
    this.#invoke(machine, { model: "vm", item: id, client, key, input });
  }

  #invoke(
    machine: Machine<Response>,
    what: Pick<VmOperation, "model" | "item" | "client" | "key" | "input">,
    onEnd: () => void = () => undefined,
  ): void {
    const daemon = daemonOf(machine);
    if (daemon === undefined) return;
    const invoked: Invoked = {
      operation: { ...what, invokedUs: this.#world.nowUs },
      isRefused: false,
    };
    this.#invoked.push(invoked);
    const { key, input, item } = what;
    this.#keys.add(key);
    const id = vmIdOf(key);
    if (this.#world.tracing) {
      this.#world.line(machine.id, "operation", `#${item} ${input.kind} vm${key}`);
    }
    if (input.kind === "readVm") {
      daemon.readBarrier((result) => {
        if (!result.ok) {
          invoked.isRefused = true;
          return;
        }
        this.#return(invoked, viewOf(getVm(daemon.state, id)));
        onEnd();
      });
    } else {
      let unknown = false;
      const onError = ({ code }: ProposeError): void => {
        unknown = code === "OutcomeUnknown" || code === "Stopped";
      };
      const done = (result: Parameters<Parameters<Daemon["propose"]>[1]>[0]): void => {
        if (result.ok) this.#return(invoked, outputOf(input, result.value));
        else invoked.isRefused = !unknown;
      };
      daemon.propose(commandOf(id, key, input), done, onError);
    }
    machine.observe();
  }

  #return({ operation }: Invoked, output: VmOutput): void {
    operation.returnedUs = this.#world.nowUs;
    operation.output = output;
    this.#counts["acked"] = (this.#counts["acked"] ?? 0) + 1;
    if (this.#world.tracing) {
      this.#world.line(0, "operation", `#${operation.item} -> ${output.kind}`);
    }
  }

  // After healing.

  heal(): void {
    for (const { driver } of this.#nodes.values()) driver.isHealed = true;
  }

  unsettled(core: readonly number[]): string | undefined {
    const { machines } = this.cluster;
    if (core.length < machines.length) return `only ${core.join(",")} have joined`;
    const absent = machines.find(({ id }) => !this.#node(id).isAdmitted);
    if (absent !== undefined) return `n${absent.id} has not joined again`;
    const hashes = new Set<bigint>();
    for (const machine of machines) {
      const daemon = daemonOf(machine);
      if (daemon === undefined) return `n${machine.id} is down`;
      hashes.add(stateHash(daemon.state));
      if (machine.applied < this.cluster.checker.highestAcked) return `n${machine.id} lags`;
    }
    if (hashes.size > 1) return "states differ";
    const without = this.#withoutLease(machines);
    if (without !== undefined) return without;
    const wrong = this.#wrongVms(machines);
    if (wrong !== undefined || !this.#hasReadBack) return wrong;
    return this.#unread.size > 0 ? `${this.#unread.size} reads are not answered` : undefined;
  }

  /** Every node comes back to a lease. */
  #withoutLease(machines: readonly Machine<Response>[]): string | undefined {
    for (const machine of machines) {
      const daemon = daemonOf(machine);
      const id = baseOf(machine.id, this.#node(machine.id).generation).id;
      const record = daemon === undefined ? undefined : getNode(daemon.state, id);
      if (record?.state === "up" && daemon?.heldEpoch() === record.leaseEpoch) continue;
      return `n${machine.id} is ${record?.state ?? "unknown"} and holds no lease`;
    }
    return undefined;
  }

  /** Undefined when what should run does, and nothing else. */
  #wrongVms([first]: readonly Machine<Response>[]): string | undefined {
    const state = first === undefined ? undefined : daemonOf(first)?.state;
    if (state === undefined) return "no state";
    const running = new Map<VmId, number>();
    for (const [id, { driver }] of this.#nodes) for (const vm of driver.live()) running.set(vm, id);
    for (const vm of listVms(state)) {
      const where = running.get(vm.id);
      running.delete(vm.id);
      const { name } = vm.spec;
      if (vm.deleting) return `${name} is still being deleted`;
      if (vm.phase === "failed") continue;
      // There may be more VMs than there is room for.
      if (vm.phase === "pending" && explain(state, vm.id)?.chosen === undefined) continue;
      const isWanted = vm.desired === "running";
      // One that shut itself down stays down until somebody asks for it again.
      if (isWanted && vm.phase === "stopped" && where === undefined) continue;
      if (isWanted !== (where !== undefined)) {
        return `${name} is ${vm.phase}, wanted ${vm.desired}, runs on ${where ?? "none"}`;
      }
      if (isWanted && vm.phase !== "running") return `${name} is ${vm.phase}`;
      const { generation } = this.#node(where ?? 1);
      if (isWanted && vm.nodeId !== baseOf(where ?? 1, generation).id) {
        return `${name} runs on n${where}, but its record says ${vm.nodeId}`;
      }
    }
    const [stray] = running;
    return stray === undefined ? undefined : `${stray[0]} runs on n${stray[1]} unwanted`;
  }

  readBack(core: readonly number[]): void {
    if (!this.#hasReadBack) this.#unread = new Set(this.#keys);
    this.#hasReadBack = true;
    this.#round++;
    const keys = [...this.#unread].sort((a, b) => a - b);
    this.#readsBack += keys.length;
    keys.forEach((key, at) => {
      const machine = this.cluster.machine(core[(at + this.#round) % core.length] ?? 1);
      const input = { kind: "readVm" } as const;
      this.#invoke(machine, { model: "vm", item: 0, client: 0, key, input }, () => {
        this.#unread.delete(key);
      });
    });
  }

  probe(id: number, done: () => void): void {
    daemonOf(this.cluster.machine(id))?.readBarrier((result) => {
      if (result.ok) done();
    });
  }

  readsBack(): number {
    return this.#readsBack;
  }

  history(): readonly VmOperation[] {
    return this.#invoked.filter(({ isRefused }) => !isRefused).map(({ operation }) => operation);
  }

  reached(): Readonly<Record<string, number>> {
    const { starts } = this.vms;
    const { resumes, seen } = this.watches;
    const { claims, reports, plans, room } = this.#records.refused;
    const late = { lateClaims: claims, lateReports: reports, latePlans: plans, crowdedPlans: room };
    return { ...this.#counts, ...late, starts, watchResumes: resumes, watched: seen };
  }
}

function daemonOf(machine: Machine<Response>): Daemon | undefined {
  const { app, isRecovered } = machine;
  return isRecovered && app instanceof Daemon ? app : undefined;
}

function vmIdOf(key: number): VmId {
  return as<VmId>((key + 1).toString(16).padStart(16, "0"));
}

/** A machine's name stays, and its key changes, when it joins again. */
function baseOf(id: number, generation = 0): NodeRegistrationBase {
  const number = generation * 4096 + id;
  return {
    id: as<NodeId>(number.toString(16).padStart(32, "0")),
    name: `node-${id}`,
    publicKey: as<PublicKeyHex>(number.toString(16).padStart(64, "0")),
    address: `node-${id}:1`,
  };
}

function registrationOf(id: number, generation = 0): NodeRegistration {
  return {
    ...baseOf(id, generation),
    peerId: as(id),
    capacity: CAPACITY,
    drivers: ["fake"],
    labels: {},
    commandVersion: COMMAND_VERSION,
  };
}

function commandOf(vmId: VmId, key: number, input: Exclude<VmInput, { kind: "readVm" }>): Command {
  switch (input.kind) {
    case "createVm": {
      const spec: VmSpec = {
        name: `vm-${key}`,
        image: "test",
        vcpus: input.vcpus,
        memoryBytes: 512 * MIB,
        diskBytes: 0,
        labels: {},
        command: [],
      };
      return { kind: "createVm", vmId, spec, desired: input.desired };
    }
    case "setDesired":
      return { kind: "setDesired", vmId, desired: input.desired };
    case "deleteVm":
      return { kind: "deleteVm", vmId };
    default:
      return input satisfies never;
  }
}

function viewOf(vm: VmRecord | undefined): VmOutput {
  if (vm === undefined) return { kind: "absent" };
  return { kind: "vm", desired: vm.desired, deleting: vm.deleting };
}

function outputOf(input: VmInput, result: CommandResult): VmOutput {
  if (result.ok) return { kind: "done" };
  const { code } = result.error;
  if (code === "NotFound" && input.kind !== "createVm") return { kind: "absent" };
  if (code === "AlreadyExists" || code === "Conflict") return { kind: "refused" };
  return violated("commands answer as they say", `${input.kind}: ${code}`);
}
