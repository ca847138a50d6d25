/** The daemon as the HTTP API sees it: reads from the replicated state, writes through the log. */

import { createHash, randomBytes } from "node:crypto";
import type {
  ApiBackend,
  CallContext,
  ClusterStatus,
  Consistency,
  Listed,
  NodeView,
  WatchEvent,
} from "@blixard/api";
import {
  canEverFit,
  explain,
  findNode,
  findVm,
  listNodes,
  listVms,
  type Maintenance,
  type NodeRecord,
  type PlacementExplanation,
  type Revision,
  usage,
  validateVmSpec,
  type VmRecord,
  type VmSpec,
} from "@blixard/control";
import { formatTicket } from "@blixard/net";
import type { ExecRequest, ExecSession, Failure, NodeId, Result, VmId } from "@blixard/std";
import type { VmStats } from "@blixard/std";
import { as, BlixardError, fail, present } from "@blixard/std";
import type { Consensus } from "./consensus.ts";
import { decodeMember } from "./member.ts";
import type { VmAccess } from "./vm-access.ts";

export interface BackendDeps {
  readonly consensus: Consensus;
  readonly access: VmAccess;
  readonly clusterId: string;
  readonly self: { readonly id: NodeId; readonly name: string; readonly version: string };
  readonly wallMs: () => number;
  /** False while the log is damaged or not yet recovered. */
  readonly healthy: () => boolean;
}

function orThrow<T>(result: Result<T, Failure>): T {
  if (!result.ok) throw new BlixardError(result.error);
  return result.value;
}

export class Backend implements ApiBackend {
  readonly #deps: BackendDeps;

  constructor(deps: BackendDeps) {
    this.#deps = deps;
  }

  async #settle(consistency: Consistency): Promise<void> {
    if (consistency === "linearizable") await this.#deps.consensus.readBarrier();
  }

  async #vm(ref: string, consistency: Consistency = "linearizable"): Promise<VmRecord> {
    await this.#settle(consistency);
    return orThrow(findVm(this.#deps.consensus.state, ref));
  }

  // status never waits on the log: it must answer when there is no leader.
  // eslint-disable-next-line typescript/require-await -- the contract is asynchronous
  async status(_call: CallContext): Promise<ClusterStatus> {
    const { consensus, self } = this.#deps;
    const raft = consensus.status();
    const nodes = listNodes(consensus.state);
    const named = (id: NodeId): string => nodes.find((node) => node.id === id)?.name ?? "";
    const members = consensus.members().flatMap((member) => {
      const info = decodeMember(member);
      if (!info.ok) return [];
      const { peerId, nodeId, address } = info.value;
      const voter = raft.conf.voters.includes(peerId);
      return [{ peerId, id: nodeId, name: named(nodeId), address, voter }];
    });
    const leader = members.find((member) => member.peerId === raft.leader);
    return {
      clusterId: this.#deps.clusterId,
      self,
      ...(leader === undefined ? {} : { leader: { id: leader.id, name: leader.name } }),
      term: raft.term,
      commitIndex: raft.commit,
      appliedIndex: consensus.revision,
      stateHash: consensus.stateHash(),
      members,
      healthy: this.#deps.healthy(),
      alarms: [...consensus.alarms],
    };
  }

  #view(node: NodeRecord): NodeView {
    const { consensus } = this.#deps;
    const { conf, leader } = consensus.status();
    const used = usage(consensus.state, node.id);
    const role =
      leader === node.peerId
        ? "leader"
        : conf.voters.includes(node.peerId)
          ? "voter"
          : conf.learners.includes(node.peerId)
            ? "learner"
            : "none";
    return { ...node, used, role };
  }

  async listNodes(_call: CallContext, consistency: Consistency): Promise<Listed<NodeView>> {
    await this.#settle(consistency);
    const { consensus } = this.#deps;
    const items = listNodes(consensus.state).map((node) => this.#view(node));
    return { items, revision: consensus.revision };
  }

  async getNode(_call: CallContext, ref: string): Promise<NodeView> {
    await this.#settle("linearizable");
    return this.#view(orThrow(findNode(this.#deps.consensus.state, ref)));
  }

  async removeNode(call: CallContext, ref: string): Promise<void> {
    const node = await this.getNode(call, ref);
    await this.#deps.consensus.propose({ kind: "removeNode", nodeId: node.id }, call.trace);
  }

  async setMaintenance(
    call: CallContext,
    ref: string,
    maintenance: Maintenance | "none",
  ): Promise<NodeView> {
    const { id: nodeId } = await this.getNode(call, ref);
    const { consensus } = this.#deps;
    const command = { kind: "setMaintenance", nodeId, maintenance } as const;
    const { node } = await consensus.propose(command, call.trace);
    return this.#view(present(node, "the node that was marked"));
  }

  async createTicket(
    call: CallContext,
    options: { uses: number; ttlMs: number },
  ): Promise<{ ticket: string; expiresAtMs: number }> {
    const { consensus } = this.#deps;
    const secret = randomBytes(32);
    const hash = createHash("sha256").update(secret).digest("hex");
    const expiresAtMs = this.#deps.wallMs() + options.ttlMs;
    await consensus.propose(
      { kind: "createJoinToken", hash, uses: options.uses, expiresAtMs },
      call.trace,
    );
    const servers = listNodes(consensus.state)
      .filter((node) => node.state === "up")
      .slice(0, 5)
      .map(({ address, publicKey }) => ({ address, publicKey }));
    if (servers.length === 0) {
      fail(
        "Unavailable",
        { reason: "no node is up yet" },
        "No node is up that a new one could join through",
        "wait until `blixard cluster nodes` shows a node up",
      );
    }
    const ticket = formatTicket({ clusterId: this.#deps.clusterId, servers, secret });
    return { ticket, expiresAtMs };
  }

  async listVms(_call: CallContext, consistency: Consistency): Promise<Listed<VmRecord>> {
    await this.#settle(consistency);
    const { consensus } = this.#deps;
    return { items: listVms(consensus.state), revision: consensus.revision };
  }

  async getVm(_call: CallContext, ref: string, consistency: Consistency): Promise<VmRecord> {
    return await this.#vm(ref, consistency);
  }

  async createVm(
    call: CallContext,
    spec: VmSpec,
    desired: "running" | "stopped",
  ): Promise<VmRecord> {
    const { consensus } = this.#deps;
    const valid = orThrow(validateVmSpec(spec));
    orThrow(canEverFit(consensus.state, valid));
    const vmId = as<VmId>(randomBytes(8).toString("hex"));
    const value = await consensus.propose(
      { kind: "createVm", vmId, spec: valid, desired },
      call.trace,
    );
    return this.#answered(value.vm);
  }

  #answered(vm: VmRecord | undefined): VmRecord {
    return (
      vm ??
      fail("Internal", { reason: "no record" }, "The command was applied but answered no record")
    );
  }

  async setDesired(
    call: CallContext,
    ref: string,
    desired: "running" | "stopped",
  ): Promise<VmRecord> {
    const { id } = await this.#vm(ref);
    const value = await this.#deps.consensus.propose(
      { kind: "setDesired", vmId: id, desired },
      call.trace,
    );
    return this.#answered(value.vm);
  }

  async deleteVm(call: CallContext, ref: string): Promise<VmRecord> {
    const record = await this.#vm(ref);
    const value = await this.#deps.consensus.propose(
      { kind: "deleteVm", vmId: record.id },
      call.trace,
    );
    return value.vm ?? record;
  }

  async explainVm(_call: CallContext, ref: string): Promise<PlacementExplanation> {
    const { id } = await this.#vm(ref);
    const explanation = explain(this.#deps.consensus.state, id);
    if (explanation !== undefined) return explanation;
    return fail("NotFound", { kind: "vm", name: ref }, `No VM ${ref}`, "see `blixard vm ls`");
  }

  async vmStats(call: CallContext, ref: string): Promise<VmStats> {
    const record = await this.#vm(ref);
    return await this.#deps.access.stats(record, call.trace);
  }

  // eslint-disable-next-line typescript/require-await -- the contract is asynchronous
  async watch(
    _call: CallContext,
    options: { fromRevision?: Revision; signal: AbortSignal },
  ): Promise<AsyncIterable<WatchEvent>> {
    return this.#deps.consensus.watch.watch(options.fromRevision, options.signal);
  }

  async logs(
    call: CallContext,
    ref: string,
    options: { follow: boolean; tailBytes?: number; signal: AbortSignal },
  ): Promise<AsyncIterable<Uint8Array>> {
    const record = await this.#vm(ref, "stale");
    return await this.#deps.access.logs(record, options, call.trace);
  }

  async exec(call: CallContext, ref: string, request: ExecRequest): Promise<ExecSession> {
    const record = await this.#vm(ref);
    if (record.phase !== "running") {
      fail(
        "NotRunning",
        { vm: record.spec.name, state: record.phase },
        `VM ${record.spec.name} is ${record.phase}, not running`,
        `wait for it with \`blixard vm wait ${record.spec.name} --for running\``,
      );
    }
    return await this.#deps.access.exec(record, { ...request, trace: call.trace });
  }
}
