/** A control state driven by commands, as tests of this room use it. */

import { as, assert, type CorrelationId, type Epoch, type Failure } from "@blixard/std";
import type { LogIndex, NodeId, PeerId, PublicKeyHex, Term, VmId } from "@blixard/std";
import { applyCommand } from "../apply.ts";
import { encodeCommand } from "../codec.ts";
import { createControlState, type ControlState } from "../state.ts";
import type {
  Change,
  Command,
  CommandMeta,
  CommandResult,
  CommandValue,
  NodeRecord,
  NodeRegistration,
  VmRecord,
  VmSpec,
} from "../types.ts";

export const GIB = 2 ** 30;

export const META: CommandMeta = {
  correlationId: as<CorrelationId>("0123456789abcdef0123456789abcdef"),
  proposedAtMs: 1_700_000_000_000,
};

export function nodeId(n: number): NodeId {
  return as<NodeId>(n.toString(16).padStart(32, "0"));
}

export function vmId(n: number): VmId {
  return as<VmId>(n.toString(16).padStart(16, "0"));
}

export function publicKey(n: number): PublicKeyHex {
  return as<PublicKeyHex>(n.toString(16).padStart(64, "0"));
}

export function tokenHash(n: number): string {
  return n.toString(16).padStart(64, "0");
}

export function specOf(name: string, over: Partial<VmSpec> = {}): VmSpec {
  return {
    name,
    image: "debian:13",
    vcpus: 1,
    memoryBytes: GIB,
    diskBytes: 0,
    labels: {},
    command: [],
    ...over,
  };
}

export function registrationOf(n: number, over: Partial<NodeRegistration> = {}): NodeRegistration {
  return {
    id: nodeId(n),
    peerId: as<PeerId>(n),
    name: `node-${n}`,
    publicKey: publicKey(n),
    address: `host-${n}:7400`,
    capacity: { vcpus: 8, memoryBytes: 16 * GIB, diskBytes: 100 * GIB },
    drivers: ["fake"],
    labels: {},
    commandVersion: 1,
    ...over,
  };
}

/** Applies commands at increasing indexes in term 1 unless told otherwise. */
export class World {
  state: ControlState = createControlState();
  term = as<Term>(1);
  #index = 0;

  get index(): number {
    return this.#index;
  }

  raw(bytes: Uint8Array): CommandResult {
    this.#index += 1;
    return applyCommand(this.state, { index: as<LogIndex>(this.#index), term: this.term }, bytes);
  }

  apply(command: Command): CommandResult {
    return this.raw(encodeCommand(command, META));
  }

  /** The command must succeed. */
  ok(command: Command): CommandValue & { readonly changes: readonly Change[] } {
    const result = this.apply(command);
    assert(result.ok, `${command.kind}: ${JSON.stringify(result.ok ? "" : result)}`);
    return { ...result.value, changes: result.changes };
  }

  /** The command must be refused, without an alarm. */
  refused(command: Command): Failure {
    const result = this.apply(command);
    assert(!result.ok, `${command.kind} was not refused`);
    assert(result.alarm === undefined, `${command.kind} raised an alarm: ${result.alarm}`);
    return result.error;
  }

  node(n: number): NodeRecord {
    const node = this.state.nodes.get(nodeId(n));
    assert(node !== undefined, `node ${n} exists`);
    return node;
  }

  vm(n: number): VmRecord {
    const vm = this.state.vms.get(vmId(n));
    assert(vm !== undefined, `VM ${n} exists`);
    return vm;
  }

  /** A registered node that holds its first lease. */
  addNode(n: number, over: Partial<NodeRegistration> = {}): NodeRecord {
    this.ok({ kind: "registerNode", node: registrationOf(n, over) });
    const { leaseEpoch } = this.node(n);
    this.ok({ kind: "acquireLease", nodeId: nodeId(n), fromEpoch: leaseEpoch });
    return this.node(n);
  }

  addVm(n: number, over: Partial<VmSpec> = {}): VmRecord {
    const spec = specOf(`vm-${n}`, over);
    this.ok({ kind: "createVm", vmId: vmId(n), spec, desired: "running" });
    return this.vm(n);
  }

  place(vm: number, node: number): VmRecord {
    const atRevision = this.vm(vm).modifiedRevision;
    this.ok({ kind: "placeVm", vmId: vmId(vm), nodeId: nodeId(node), atRevision });
    return this.vm(vm);
  }

  claim(vm: number, node: number): VmRecord {
    const { leaseEpoch } = this.node(node);
    this.ok({ kind: "claimStart", vmId: vmId(vm), nodeId: nodeId(node), leaseEpoch });
    return this.vm(vm);
  }

  reportOf(
    vm: number,
    phase: Extract<Command, { kind: "reportVm" }>["phase"],
    over: Partial<Extract<Command, { kind: "reportVm" }>> = {},
  ): Command {
    const record = this.vm(vm);
    const node = record.nodeId ?? nodeId(1);
    return {
      kind: "reportVm",
      vmId: record.id,
      nodeId: node,
      leaseEpoch: this.state.nodes.get(node)?.leaseEpoch ?? 0,
      epoch: record.epoch,
      phase,
      ...over,
    };
  }

  /** A VM that runs on a node. */
  runVm(vm: number, node: number): VmRecord {
    this.addVm(vm);
    this.place(vm, node);
    this.claim(vm, node);
    this.ok(this.reportOf(vm, "running"));
    return this.vm(vm);
  }

  expire(node: number, leaseEpoch: number): Command {
    return { kind: "expireLease", nodeId: nodeId(node), leaseEpoch, term: this.term };
  }
}

export const epoch = (n: number): Epoch => as<Epoch>(n);
