/** A daemon in memory, for tests of the server, the client and the CLI. VMs start at once. */

import {
  as,
  fail,
  type CorrelationId,
  type Epoch,
  type ExecEvent,
  type ExecRequest,
  type ExecSession,
  type LogIndex,
  type NodeId,
  type PeerId,
  type PublicKeyHex,
  type VmId,
  type VmStats,
} from "@blixard/std";
import type {
  Maintenance,
  PlacementExplanation,
  Revision,
  VmPhase,
  VmRecord,
  VmSpec,
} from "@blixard/control";
import type {
  ApiBackend,
  CallContext,
  ClusterStatus,
  Consistency,
  Listed,
  NodeView,
  WatchEvent,
} from "../backend.ts";

export const TRACE_ID = as<CorrelationId>("0af7651916cd43dd8448eb211c80319c");

export function fakeNode(name: string, peerId: number): NodeView {
  const capacity = { vcpus: 8, memoryBytes: 8 * 2 ** 30, diskBytes: 2 ** 40 };
  return {
    id: as<NodeId>(peerId.toString(16).padStart(32, "0")),
    peerId: as<PeerId>(peerId),
    name,
    publicKey: as<PublicKeyHex>("ab".repeat(32)),
    address: `127.0.0.1:${7000 + peerId}`,
    capacity,
    drivers: ["qemu"],
    labels: {},
    commandVersion: 1,
    state: "up",
    leaseEpoch: 1,
    createdRevision: as<LogIndex>(1),
    modifiedRevision: as<LogIndex>(1),
    used: { vcpus: 1, memoryBytes: 256 * 2 ** 20, diskBytes: 0 },
    role: peerId === 1 ? "leader" : "voter",
  };
}

export function fakeStats(vm: Pick<VmRecord, "id" | "epoch">): VmStats {
  return {
    vmId: vm.id,
    epoch: vm.epoch,
    driver: "embedded",
    process: { pid: 4242, cpuSeconds: 1.5, residentBytes: 2 ** 27, privateBytes: 2 ** 26 },
    consoleBytes: 8192,
    execution: {
      instructions: 500_000_000,
      mips: { lastSecond: 250, average: 125, busy: 250 },
      time: { totalMs: 4000, busyMs: 2000, idleMs: 1500, heldMs: 500, throttledMs: 0 },
    },
    counters: {
      exits: { budget: 7, idle: 3 },
      memory: { ramBytes: 2 ** 28, touchedBytes: 2 ** 25 },
      disk0: { reads: 2, readBytes: 8192, writes: 1, writtenBytes: 4096 },
    },
  };
}

/** What a test may look at and steer in one exec session. */
export class FakeExec implements ExecSession {
  readonly request: ExecRequest;
  readonly stdin: Uint8Array[] = [];
  readonly signals: number[] = [];
  readonly sizes: [number, number][] = [];
  stdinClosed = false;
  closed = false;
  /** Bytes of output taken by the server so far. */
  taken = 0;
  /** While set, writes wait: the guest reads nothing. */
  blocked: Promise<void> | undefined;
  readonly events: AsyncIterable<ExecEvent>;
  #waiting: (() => void)[] = [];

  constructor(request: ExecRequest, script: (exec: FakeExec) => AsyncIterable<ExecEvent>) {
    this.request = request;
    this.events = this.#counted(script(this));
  }

  async *#counted(events: AsyncIterable<ExecEvent>): AsyncGenerator<ExecEvent> {
    for await (const event of events) {
      if (event.kind !== "exit") this.taken += event.data.length;
      yield event;
    }
  }

  /** Resolves once `condition` holds; looked at after each thing that the client does. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  async write(data: Uint8Array): Promise<void> {
    await this.blocked;
    this.stdin.push(data.slice());
    this.#wake();
  }

  closeStdin(): void {
    this.stdinClosed = true;
    this.#wake();
  }

  signal(number: number): void {
    this.signals.push(number);
    this.#wake();
  }

  resize(rows: number, cols: number): void {
    this.sizes.push([rows, cols]);
    this.#wake();
  }

  close(): void {
    this.closed = true;
    this.#wake();
  }
}

/** `cat`: writes stdin to stdout; `exit N`; anything else prints its argv. */
export async function* defaultScript(exec: FakeExec): AsyncGenerator<ExecEvent> {
  const [name = "", argument = ""] = exec.request.argv;
  const text = (line: string): Uint8Array => new TextEncoder().encode(line);
  if (name === "cat") {
    let next = 0;
    while (!exec.stdinClosed || next < exec.stdin.length) {
      await exec.until(() => exec.stdinClosed || exec.stdin.length > next || exec.closed);
      if (exec.closed) return;
      for (; next < exec.stdin.length; next++) {
        yield { kind: "stdout", data: exec.stdin[next] ?? new Uint8Array() };
      }
    }
    yield { kind: "exit", code: 0 };
  } else if (name === "sleep") {
    await exec.until(() => exec.signals.length > 0 || exec.closed);
    yield { kind: "exit", code: 128 + (exec.signals[0] ?? 1) };
  } else if (name === "exit") {
    yield { kind: "stderr", data: text("leaving\n") };
    yield { kind: "exit", code: Number(argument) };
  } else {
    yield { kind: "stdout", data: text(`${exec.request.argv.join(" ")}\n`) };
    yield { kind: "exit", code: 0 };
  }
}

export class FakeBackend implements ApiBackend {
  readonly calls: { method: string; call: CallContext; consistency?: Consistency }[] = [];
  readonly nodes: NodeView[] = [fakeNode("alpha", 1), fakeNode("beta", 2)];
  readonly vms = new Map<string, VmRecord>();
  readonly execs: FakeExec[] = [];
  readonly history: WatchEvent[] = [];
  revision = 10;
  /** Watches from before this revision are refused. */
  compactedBefore = 0;
  watchers = 0;
  /** New VMs, and VMs told to start, get this phase. */
  startsAs: VmPhase = "running";
  script: (exec: FakeExec) => AsyncIterable<ExecEvent> = defaultScript;
  logText = "booting\nlogin:\n";
  /** Set by a test to hold requests: each method waits for it. */
  hold: Promise<void> | undefined;
  #wakes = new Set<() => void>();
  #generation = 0;
  #nextId = 1;

  async #called(method: string, call: CallContext, consistency?: Consistency): Promise<void> {
    this.calls.push({ method, call, ...(consistency === undefined ? {} : { consistency }) });
    await this.hold;
  }

  #find(ref: string): VmRecord {
    const all = [...this.vms.values()];
    const exact = all.find((vm) => vm.id === ref || vm.spec.name === ref);
    if (exact !== undefined) return exact;
    const matches = all.filter((vm) => vm.id.startsWith(ref) || vm.spec.name.startsWith(ref));
    const [first] = matches;
    if (first === undefined) {
      return fail(
        "NotFound",
        { kind: "vm", name: ref },
        `No VM is called ${ref}.`,
        "blixard vm ls",
      );
    }
    if (matches.length === 1) return first;
    const names = matches.map((vm) => vm.spec.name);
    return fail(
      "Ambiguous",
      { kind: "vm", name: ref, matches: names },
      `${ref} could be any of ${names.join(", ")}.`,
      "give more of the name",
    );
  }

  emit(event: WatchEvent): void {
    this.history.push(event);
    for (const wake of this.#wakes) wake();
  }

  /** As when the node dies: all streams end without a word. */
  endWatches(): void {
    this.#generation++;
    for (const wake of this.#wakes) wake();
  }

  put(vm: VmRecord, type: "added" | "modified" | "removed"): VmRecord {
    const revision = as<LogIndex>(++this.revision);
    const object = { ...vm, modifiedRevision: revision };
    if (type === "removed") this.vms.delete(vm.id);
    else this.vms.set(vm.id, object);
    this.emit({ kind: "vm", type, revision, object });
    return object;
  }

  async status(call: CallContext): Promise<ClusterStatus> {
    await this.#called("status", call);
    return {
      clusterId: "c1",
      self: { id: as<NodeId>("1".padStart(32, "0")), name: "alpha", version: "0.1.0" },
      leader: { id: as<NodeId>("1".padStart(32, "0")), name: "alpha" },
      term: 3,
      commitIndex: this.revision,
      appliedIndex: this.revision,
      stateHash: "00ff",
      members: this.nodes.map(({ id, peerId, name, address }) => ({
        id,
        peerId,
        name,
        address,
        voter: true,
      })),
      healthy: true,
      alarms: [],
    };
  }

  async listNodes(call: CallContext, consistency: Consistency): Promise<Listed<NodeView>> {
    await this.#called("listNodes", call, consistency);
    return { items: this.nodes, revision: as<LogIndex>(this.revision) };
  }

  async getNode(call: CallContext, ref: string): Promise<NodeView> {
    await this.#called("getNode", call);
    const found = this.nodes.find((node) => node.id === ref || node.name.startsWith(ref));
    return found ?? fail("NotFound", { kind: "node", name: ref }, `No node is called ${ref}.`);
  }

  async removeNode(call: CallContext, ref: string): Promise<void> {
    const node = await this.getNode(call, ref);
    this.nodes.splice(this.nodes.indexOf(node), 1);
  }

  async setMaintenance(
    call: CallContext,
    ref: string,
    maintenance: Maintenance | "none",
  ): Promise<NodeView> {
    const { maintenance: _before, ...node } = await this.getNode(call, ref);
    const after = maintenance === "none" ? node : { ...node, maintenance };
    this.nodes.splice(
      this.nodes.findIndex(({ id }) => id === node.id),
      1,
      after,
    );
    return after;
  }

  async createTicket(
    call: CallContext,
    options: { uses: number; ttlMs: number },
  ): Promise<{ ticket: string; expiresAtMs: number }> {
    await this.#called("createTicket", call);
    return { ticket: `blx1-${options.uses}`, expiresAtMs: 1_000_000 + options.ttlMs };
  }

  async listVms(call: CallContext, consistency: Consistency): Promise<Listed<VmRecord>> {
    await this.#called("listVms", call, consistency);
    return { items: [...this.vms.values()], revision: as<LogIndex>(this.revision) };
  }

  async getVm(call: CallContext, ref: string, consistency: Consistency): Promise<VmRecord> {
    await this.#called("getVm", call, consistency);
    return this.#find(ref);
  }

  async createVm(
    call: CallContext,
    spec: VmSpec,
    desired: "running" | "stopped",
  ): Promise<VmRecord> {
    await this.#called("createVm", call);
    if ([...this.vms.values()].some((vm) => vm.spec.name === spec.name)) {
      fail(
        "AlreadyExists",
        { kind: "vm", name: spec.name },
        `A VM is called ${spec.name} already.`,
      );
    }
    if (spec.memoryBytes > 8 * 2 ** 30) {
      const nodes = this.nodes.map(({ name }) => ({ node: name, why: "too little memory" }));
      fail("NoCapacity", { reason: "memory", nodes }, `No node can ever hold ${spec.name}.`);
    }
    const node = this.nodes[0];
    const running = desired === "running";
    return this.put(
      {
        id: as<VmId>((this.#nextId++).toString(16).padStart(16, "0")),
        spec,
        desired,
        deleting: false,
        phase: running ? this.startsAs : "pending",
        ...(running && node !== undefined ? { nodeId: node.id } : {}),
        epoch: as<Epoch>(running ? 1 : 0),
        restarts: running ? 1 : 0,
        ...(this.startsAs === "failed" ? { reason: "the image has no kernel" } : {}),
        createdRevision: as<LogIndex>(this.revision + 1),
        modifiedRevision: as<LogIndex>(this.revision + 1),
      },
      "added",
    );
  }

  async setDesired(
    call: CallContext,
    ref: string,
    desired: "running" | "stopped",
  ): Promise<VmRecord> {
    await this.#called("setDesired", call);
    const phase = desired === "running" ? this.startsAs : "stopped";
    return this.put({ ...this.#find(ref), desired, phase }, "modified");
  }

  async deleteVm(call: CallContext, ref: string): Promise<VmRecord> {
    await this.#called("deleteVm", call);
    const vm = this.#find(ref);
    this.put(vm, "removed");
    return { ...vm, deleting: true };
  }

  async vmStats(call: CallContext, ref: string): Promise<VmStats> {
    await this.#called("vmStats", call);
    const vm = this.#find(ref);
    if (vm.phase !== "running") {
      const data = { vm: vm.spec.name, state: vm.phase };
      fail("NotRunning", data, `VM ${vm.spec.name} is ${vm.phase}, not running`);
    }
    return fakeStats(vm);
  }

  async explainVm(call: CallContext, ref: string): Promise<PlacementExplanation> {
    await this.#called("explainVm", call);
    const vm = this.#find(ref);
    return {
      vmId: vm.id,
      ...(vm.nodeId === undefined ? {} : { chosen: vm.nodeId }),
      nodes: this.nodes.map(({ id, name }, at) =>
        at === 0
          ? { nodeId: id, name, fits: true, score: 0.5, why: "spread: fewest VMs" }
          : { nodeId: id, name, fits: false, why: "memory: 1 of 256 MiB free" },
      ),
    };
  }

  async watch(
    call: CallContext,
    options: { fromRevision?: Revision; signal: AbortSignal },
  ): Promise<AsyncIterable<WatchEvent>> {
    await this.#called("watch", call);
    const { fromRevision } = options;
    if (fromRevision !== undefined && fromRevision < this.compactedBefore) {
      fail(
        "Compacted",
        { requested: fromRevision, oldest: this.compactedBefore },
        `Revision ${fromRevision} is no longer kept.`,
        "list again, and watch from the revision of the list",
      );
    }
    const start = this.history.findIndex((event) => event.revision > (fromRevision ?? Infinity));
    return this.#stream(start < 0 ? this.history.length : start, options.signal);
  }

  async *#stream(start: number, signal: AbortSignal): AsyncGenerator<WatchEvent> {
    this.watchers++;
    const generation = this.#generation;
    try {
      for (let next = start; !signal.aborted && generation === this.#generation;) {
        const event = this.history[next];
        if (event !== undefined) {
          next++;
          yield event;
          continue;
        }
        await new Promise<void>((resolve) => {
          const wake = (): void => {
            this.#wakes.delete(wake);
            signal.removeEventListener("abort", wake);
            resolve();
          };
          this.#wakes.add(wake);
          signal.addEventListener("abort", wake);
        });
      }
    } finally {
      this.watchers--;
    }
  }

  async logs(
    call: CallContext,
    ref: string,
    options: { follow: boolean; tailBytes?: number; signal: AbortSignal },
  ): Promise<AsyncIterable<Uint8Array>> {
    await this.#called("logs", call);
    const vm = this.#find(ref);
    const all = new TextEncoder().encode(this.logText);
    const { tailBytes, follow, signal } = options;
    const text = tailBytes === undefined ? all : all.slice(Math.max(0, all.length - tailBytes));
    return (async function* stream() {
      yield text;
      if (!follow) return;
      yield new TextEncoder().encode(`following ${vm.spec.name}\n`);
      if (!signal.aborted) {
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      }
    })();
  }

  async exec(call: CallContext, ref: string, request: ExecRequest): Promise<ExecSession> {
    await this.#called("exec", call);
    const vm = this.#find(ref);
    if (vm.phase !== "running") {
      fail("NotRunning", { vm: vm.spec.name, state: vm.phase }, `${vm.spec.name} is ${vm.phase}.`);
    }
    const exec = new FakeExec(request, this.script);
    this.execs.push(exec);
    return exec;
  }
}
