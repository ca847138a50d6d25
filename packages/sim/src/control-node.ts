/**
 * The daemon of one simulated machine, reduced to what decides: it keeps its lease, starts and
 * stops the VMs that are assigned to it, and, while its node leads, grants leases and places VMs.
 */

import {
  applyCommand,
  becameLeader,
  type Command,
  type CommandResult,
  type ControlState,
  createControlState,
  createGrantor,
  createHolder,
  decodeLeaseMessage,
  encodeCommand,
  encodeLeaseMessage,
  getNode,
  getVm,
  type GrantorEffect,
  grantorAbandoned,
  grantorConfirmed,
  grantorRequest,
  grantorTick,
  type HolderEffect,
  holderMayRun,
  holderReply,
  holderTick,
  type LeaseGrantor,
  type LeaseHolder,
  type LeaseMessage,
  type LeaseOptions,
  listNodes,
  lostLeadership,
  type NodeRegistration,
  plan,
  restoreState,
  snapshotState,
  stateHash,
  type VmRecord,
  vmsOnNode,
} from "@blixard/control";
import type { RaftNode, StateMachine } from "@blixard/raft-node";
import {
  as,
  type CorrelationId,
  type LogIndex,
  type Network,
  type NodeId,
  ok,
  type PeerId,
  type Prng,
  type Result,
  type Term,
} from "@blixard/std";
import type { RaftChecker } from "./checker.ts";
import type { NodeMember } from "./node-member.ts";
import type { SimVmDriver } from "./vm-driver.ts";
import { violated, type World } from "./world.ts";

const DAEMON_TICK_MS = 100;
const PROPOSAL_MS = 3000;
const PLACEMENTS_A_TICK = 4;

/** control's state behind raft-node's port, with every result looked at. */
export class ControlMachine implements StateMachine<CommandResult> {
  state: ControlState = createControlState();
  readonly #member: () => NodeMember<CommandResult>;
  readonly #checker: RaftChecker;

  constructor(member: () => NodeMember<CommandResult>, checker: RaftChecker) {
    this.#member = member;
    this.#checker = checker;
  }

  apply(entry: { index: LogIndex; term: Term; data: Uint8Array }): CommandResult {
    const { host } = this.#member();
    this.#checker.applied(host, entry);
    const result = applyCommand(this.state, entry, entry.data);
    if (!result.ok && result.alarm !== undefined) violated(`n${host.id}: ${result.alarm}`);
    this.#checker.state(host, entry.index, stateHash(this.state));
    return result;
  }

  snapshot(): Iterator<Uint8Array> {
    return snapshotState(this.state);
  }

  restore(chunks: Iterable<Uint8Array>): Result<void, string> {
    const restored = restoreState(chunks);
    if (!restored.ok) return restored;
    this.state = restored.value;
    return ok(undefined);
  }
}

export interface ControlNodeDeps {
  readonly world: World;
  readonly member: NodeMember<CommandResult>;
  readonly driver: SimVmDriver;
  readonly leasePort: Network;
  readonly options: LeaseOptions;
  /** Test only: what the leader's side waits for; differs from `options` in the mutant. */
  readonly grantorOptions: LeaseOptions;
  readonly registrations: readonly NodeRegistration[];
  readonly random: Prng;
  readonly machine: () => ControlMachine;
  readonly onExpiry: () => void;
  readonly onLost: () => void;
}

export class ControlNode {
  readonly #deps: ControlNodeDeps;
  readonly #nodeId: NodeId;
  readonly #holder: LeaseHolder;
  readonly #grantor: LeaseGrantor;
  /** VMs, and other things to do one at a time, with a proposal under way. */
  readonly #busy = new Set<string>();

  /** One life of the daemon: to be made after recovery. */
  constructor(deps: ControlNodeDeps) {
    this.#deps = deps;
    const { member, driver, random } = deps;
    this.#nodeId = registrationOf(deps, member.host.id).id;
    const [survivor] = driver.live();
    this.#holder = createHolder(deps.options, {
      firstRequestId: random.u32(),
      ...(survivor === undefined ? {} : { resumeLeaseEpoch: survivor.leaseEpoch }),
    });
    // Safe: plain data; the options of the mutant would not pass the checks of createGrantor.
    this.#grantor = { ...createGrantor(deps.options), options: deps.grantorOptions };
    this.#tickLater();
  }

  get #state(): ControlState {
    return this.#deps.machine().state;
  }

  get #raft(): RaftNode<CommandResult> | undefined {
    return this.#deps.member.raft;
  }

  #nowMs(): number {
    return this.#deps.member.clock.monotonicMs();
  }

  #clocks(): { monotonicMs: number; bootMs: number } {
    const { clock } = this.#deps.member;
    return { monotonicMs: clock.monotonicMs(), bootMs: clock.bootMs() };
  }

  #tickLater(): void {
    const { world, member } = this.#deps;
    world.after(member.clock.trueUs(DAEMON_TICK_MS), member.host, "lease", 0, () => {
      this.#tickLater();
      this.#tick();
      member.observe();
    });
  }

  #tick(): void {
    const record = getNode(this.#state, this.#nodeId);
    const effects = holderTick(this.#holder, {
      ...this.#clocks(),
      ...(record === undefined ? {} : { leaseEpoch: record.leaseEpoch }),
      runningVms: this.#deps.driver.live().length,
    });
    this.#carryOut(effects);
    this.#lead();
    if (holderMayRun(this.#holder, this.#clocks())) this.#reconcile();
  }

  #propose(key: string, command: Command, done: (result: CommandResult, at: number) => void): void {
    const raft = this.#raft;
    if (raft === undefined || this.#busy.has(key)) return;
    this.#busy.add(key);
    const { member, random } = this.#deps;
    const correlationId = as<CorrelationId>(random.u32().toString(16).padStart(32, "0"));
    const meta = { correlationId, proposedAtMs: Math.floor(member.clock.wallMs()) };
    raft.propose(encodeCommand(command, meta), this.#nowMs() + PROPOSAL_MS, (result) => {
      this.#busy.delete(key);
      if (result.ok) done(result.value.response, result.value.index);
    });
  }

  // The node's side of its lease.

  #carryOut(effects: readonly HolderEffect[]): void {
    const { driver, world, member } = this.#deps;
    for (const effect of effects) {
      switch (effect.kind) {
        case "sendRenew": {
          const { requestId, leaseEpoch } = effect;
          this.#toLeader({ kind: "renew", nodeId: this.#nodeId, requestId, leaseEpoch });
          break;
        }
        case "extend":
          driver.renew(effect.deadlineMonotonicMs);
          break;
        case "expired":
          world.note(member.host.id, `lease expired: ${effect.reason}`);
          this.#deps.onExpiry();
          driver.killAll("lease expired");
          break;
        case "acquire": {
          const { fromEpoch } = effect;
          const command = { kind: "acquireLease", nodeId: this.#nodeId, fromEpoch } as const;
          this.#propose("acquire", command, () => undefined);
          break;
        }
      }
    }
  }

  #toLeader(message: LeaseMessage): void {
    const { member, world, leasePort } = this.#deps;
    const leader = this.#raft?.status().leader ?? 0;
    if (leader === 0) return;
    if (leader === member.host.id) {
      world.after(50, member.host, "lease", 1, () => this.onMessage(leader, message));
    } else leasePort.send(leader, encodeLeaseMessage(message));
  }

  onDatagram(from: PeerId, bytes: Uint8Array): void {
    const decoded = decodeLeaseMessage(bytes);
    if (!decoded.ok) violated(`a lease message cannot be decoded: ${decoded.error}`);
    this.onMessage(from, decoded.value);
  }

  onMessage(from: PeerId, message: LeaseMessage): void {
    if (message.kind !== "renew") {
      this.#carryOut(holderReply(this.#holder, message, this.#clocks()));
      return;
    }
    const { nodeId, requestId, leaseEpoch } = message;
    this.#followRole();
    const request = { nodeId, requestId, leaseEpoch, receivedAtMs: this.#nowMs() };
    for (const effect of grantorRequest(this.#grantor, request)) this.#grant(from, effect);
  }

  // The leader's side.

  #followRole(): void {
    const status = this.#raft?.status();
    const { leading } = this.#grantor;
    if (status?.role !== "leader") {
      if (leading !== undefined) lostLeadership(this.#grantor);
    } else if (leading?.term !== status.term) {
      becameLeader(this.#grantor, this.#nowMs(), status.term);
    }
  }

  #grant(to: PeerId, effect: GrantorEffect): void {
    if (effect.kind !== "confirm") return;
    const { token } = effect;
    this.#raft?.confirmLeadership(this.#nowMs() + PROPOSAL_MS, (result) => {
      this.#followRole();
      if (result.ok) this.#confirmed(to, token);
      else grantorAbandoned(this.#grantor, token);
    });
  }

  #confirmed(to: PeerId, token: number): void {
    const { member, world, leasePort } = this.#deps;
    const recordOf = (nodeId: NodeId) => getNode(this.#state, nodeId);
    const reply = grantorConfirmed(this.#grantor, token, this.#nowMs(), recordOf);
    if (reply === undefined) return;
    if (to === member.host.id) {
      world.after(50, member.host, "lease", 2, () => this.onMessage(to, reply));
    } else leasePort.send(to, encodeLeaseMessage(reply));
  }

  #lead(): void {
    this.#followRole();
    if (this.#grantor.leading === undefined) return;
    const nodes = listNodes(this.#state);
    for (const effect of grantorTick(this.#grantor, this.#nowMs(), nodes)) {
      if (effect.kind !== "expire") continue;
      const { nodeId, leaseEpoch, term } = effect;
      const command = { kind: "expireLease", nodeId, leaseEpoch, term } as const;
      this.#propose(`expire ${nodeId}`, command, (result) => {
        const { world, member } = this.#deps;
        if (!result.ok) return;
        world.note(member.host.id, `declared lost: ${nodeId.slice(-2)}`);
        this.#deps.onLost();
      });
    }
    const missing = this.#deps.registrations.find(
      ({ id }) => getNode(this.#state, id) === undefined,
    );
    if (missing !== undefined) {
      this.#propose("register", { kind: "registerNode", node: missing }, () => undefined);
    }
    for (const placement of plan(this.#state).placements.slice(0, PLACEMENTS_A_TICK)) {
      this.#propose(`place ${placement.vmId}`, placement, () => undefined);
    }
  }

  // What runs here against what should.

  #reconcile(): void {
    const { driver } = this.#deps;
    for (const vm of vmsOnNode(this.#state, this.#nodeId)) this.#reconcileVm(vm);
    const applied = this.#raft?.status().applied ?? 0;
    for (const { vmId, claimIndex } of driver.live()) {
      const record = getVm(this.#state, as(vmId));
      if (applied >= claimIndex && record?.nodeId !== this.#nodeId) driver.stop(vmId);
    }
  }

  #reconcileVm(vm: VmRecord): void {
    const { driver } = this.#deps;
    const instance = driver.instance(vm.id);
    const isWanted = vm.desired === "running" && !vm.deleting;
    if (instance !== undefined && instance.phase !== "stopped") {
      if (instance.epoch > vm.epoch || instance.phase === "stopping") return;
      if (!isWanted || instance.epoch < vm.epoch) driver.stop(vm.id);
      else if (instance.phase === "running" && vm.phase === "starting") this.#report(vm, "running");
      return;
    }
    driver.remove(vm.id);
    const isLive = vm.phase === "starting" || vm.phase === "running" || vm.phase === "stopping";
    if (vm.deleting || vm.phase === "stopping") this.#report(vm, "gone");
    else if (isWanted && vm.phase !== "failed") this.#claim(vm);
    else if (!isWanted && isLive) this.#report(vm, "stopped");
  }

  #report(vm: VmRecord, phase: "running" | "stopped" | "gone"): void {
    const { id: vmId, epoch } = vm;
    const { leaseEpoch } = this.#holder;
    const nodeId = this.#nodeId;
    const command = { kind: "reportVm", vmId, nodeId, leaseEpoch, epoch, phase } as const;
    this.#propose(`vm ${vmId}`, command, () => undefined);
  }

  #claim(vm: VmRecord): void {
    const { leaseEpoch } = this.#holder;
    const command = { kind: "claimStart", vmId: vm.id, nodeId: this.#nodeId, leaseEpoch } as const;
    this.#propose(`vm ${vm.id}`, command, (result, claimIndex) => {
      const epoch = result.ok ? result.value.epoch : undefined;
      const { deadline } = this.#holder;
      if (epoch === undefined || deadline === undefined) return;
      // Time has passed since the claim was proposed: the lease may be over, or a new one begun.
      if (!holderMayRun(this.#holder, this.#clocks())) return;
      if (this.#holder.leaseEpoch !== leaseEpoch) return;
      this.#deps.driver.start({
        vmId: vm.id,
        epoch,
        spec: vm.spec,
        leaseEpoch,
        claimIndex,
        deadlineMs: deadline.monotonicMs,
      });
    });
  }
}

function registrationOf(deps: ControlNodeDeps, peer: number): NodeRegistration {
  const found = deps.registrations.find(({ peerId }) => peerId === peer);
  return found ?? violated(`n${peer} has no registration`);
}
