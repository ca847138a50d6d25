/** Clients of the registers: each operation asks one machine, and its outcome is part of a history. */

import type { Proposed, ProposeError, RaftNode } from "@blixard/raft-node";
import type { Result } from "@blixard/std";
import type { Cluster } from "./cluster.ts";
import { FILLER_BYTES_MAX } from "./limits.ts";
import type { App, Machine } from "./machine.ts";
import {
  itemRandom,
  LEADER,
  type OperationItem,
  type RegisterInput,
  type RegisterOperation,
  type RegisterOutput,
} from "./plan.ts";
import { encodeRegisterCommand, Registers } from "./registers.ts";
import type { Workload } from "./workload.ts";
import { violated } from "./world/world.ts";

const DEADLINE_MS = 3000;
/** Values of probes begin here: each value is written once in a run. */
const FIRST_PROBE = 0x7000_0000;
const NEVER_HELD = 0x7fff_ffff;

type Response = RegisterOutput;
type Mutable = { -readonly [K in keyof RegisterOperation]: RegisterOperation[K] };
interface Invoked {
  readonly operation: Mutable;
  isRefused: boolean;
}

export class RegisterWorkload implements Workload {
  #cluster: Cluster<Response> | undefined;
  readonly #invoked: Invoked[] = [];
  readonly #keys = new Set<number>();
  /** Where each value was applied; values are unique in a plan. */
  readonly #appliedAt = new Map<number, number>();
  readonly #refused = new Set<number>();
  #acked = 0;
  #reads = 0;
  /** Keys that the settled core has not answered for yet. */
  #unread = new Set<number>();
  #hasReadBack = false;
  #round = 0;
  #readsBack = 0;
  #probes = 0;
  #forwardedWrites = 0;
  #forwardedReads = 0;
  #leaseReads = 0;

  /** The machines are made with `start`, so they come after this object. */
  attach(cluster: Cluster<Response>): void {
    this.#cluster = cluster;
  }

  get #all(): Cluster<Response> {
    return this.#cluster ?? violated("wired", "the workload has no cluster");
  }

  start(machine: Machine<Response>): App<Response> {
    const { host } = machine;
    const registers = new Registers({
      onApply: (entry) => this.#onApply(machine, entry),
      onState: (index, hash) => this.#all.checker.state(host, index, hash),
    });
    return { machine: registers, onEvent: () => undefined };
  }

  #onApply(
    machine: Machine<Response>,
    entry: { index: number; term: number; data: Uint8Array },
  ): void {
    const { index, data } = entry;
    // Safe: the driver hands out indexes and terms of the log; the port spells them as numbers.
    this.#all.checker.applied(machine.host, entry as Parameters<Checker["applied"]>[1]);
    const value = new DataView(data.buffer, data.byteOffset).getUint32(5, true);
    const before = this.#appliedAt.get(value);
    if (before === undefined) {
      this.#appliedAt.set(value, index);
      if (this.#refused.has(value)) {
        violated("refused is not applied", `value ${value} was refused, and applied at ${index}`);
      }
    } else if (before !== index) {
      violated("applied once", `value ${value} is in the log at ${before} and ${index}`);
    }
  }

  #registers(machine: Machine<Response>): Registers | undefined {
    const replica = machine.app?.machine;
    return replica instanceof Registers ? replica : undefined;
  }

  /** The machine that the client asks, or the next one that would answer. */
  #serving(from: number): Machine<Response> | undefined {
    const { machines } = this.#all;
    if (from === LEADER) return this.#all.leader() ?? this.#serving(1);
    for (let n = 0; n < machines.length; n++) {
      const machine = machines[(from - 1 + n) % machines.length];
      if (machine?.isServing === true) return machine;
    }
    return undefined;
  }

  invoke(item: OperationItem): void {
    const { input } = item;
    if (input.kind !== "read" && input.kind !== "write" && input.kind !== "cas") {
      violated("valid plan", `operation ${item.id} is not one of registers: ${input.kind}`);
    }
    const machine = this.#serving(item.machine);
    if (machine?.raft === undefined) return;
    const { id, client, key } = item;
    this.#invoke(machine, { model: "register", item: id, client, key, input });
  }

  #invoke(
    machine: Machine<Response>,
    what: Pick<RegisterOperation, "model" | "item" | "client" | "key"> & { input: RegisterInput },
    onEnd: () => void = () => undefined,
  ): void {
    const { world } = this.#all;
    const invoked: Invoked = {
      operation: { ...what, invokedUs: world.nowUs },
      isRefused: false,
    };
    this.#invoked.push(invoked);
    const { key, input, item } = what;
    this.#keys.add(key);
    if (world.tracing) {
      world.line(machine.id, "operation", `#${item} ${describe(key, input)}`);
    }
    const deadlineMs = machine.clock.monotonicMs() + DEADLINE_MS;
    const isLeader = machine.raft?.protocol()?.role === "leader";
    if (input.kind === "read") {
      const floor = this.#all.checker.highestAcked;
      this.#read(machine, deadlineMs, (result) => {
        if (!result.ok) return this.#onError(invoked, result.error);
        if (!isLeader) this.#forwardedReads++;
        else if (this.#all.plan.leaseReads) this.#leaseReads++;
        this.#onRead(machine, invoked, floor);
        onEnd();
      });
    } else {
      const random = itemRandom(this.#all.world.seed, item);
      const drawn = random.chance(0.05) ? random.below(FILLER_BYTES_MAX) : random.below(40);
      const fillerBytes = input.kind === "write" ? (input.fillerBytes ?? drawn) : drawn;
      const data = encodeRegisterCommand(key, input, fillerBytes);
      machine.raft?.propose(data, deadlineMs, (result) => {
        this.#onProposed(invoked, result);
        if (!result.ok) return;
        if (!isLeader) this.#forwardedWrites++;
        onEnd();
      });
    }
    machine.observe();
  }

  #read(machine: Machine<Response>, deadlineMs: number, done: ReadDone): void {
    const { raft } = machine;
    const isLeader = raft?.protocol()?.role === "leader";
    if (this.#all.plan.leaseReads && isLeader) raft.leaseRead(deadlineMs, done);
    else raft?.readIndex(deadlineMs, done);
  }

  #onRead(machine: Machine<Response>, invoked: Invoked, floor: number): void {
    const registers = this.#registers(machine);
    if (registers === undefined) violated("serves", `n${machine.id} answers without a state`);
    if (machine.applied < floor) {
      violated(
        "reads are linearizable",
        `n${machine.id} read at ${machine.applied}; ${floor} was acknowledged before it began`,
      );
    }
    this.#reads++;
    const value = registers.get(invoked.operation.key) ?? null;
    this.#return(invoked, { kind: "value", value });
  }

  #onProposed(invoked: Invoked, result: Result<Proposed<Response>, ProposeError>): void {
    if (!result.ok) return this.#onError(invoked, result.error);
    this.#acked++;
    this.#all.checker.acknowledged(result.value.index);
    this.#return(invoked, result.value.response);
  }

  #return({ operation }: Invoked, output: RegisterOutput): void {
    const { world } = this.#all;
    operation.returnedUs = world.nowUs;
    operation.output = output;
    if (world.tracing) {
      const answer = output.kind === "value" ? String(output.value) : output.kind;
      world.line(0, "operation", `#${operation.item} -> ${answer}`);
    }
  }

  #onError(invoked: Invoked, error: ProposeError): void {
    const { operation } = invoked;
    const { input } = operation;
    if (this.#all.world.tracing) {
      this.#all.world.line(0, "operation", `#${operation.item} -> ${error.code}`);
    }
    if (input.kind === "read") {
      invoked.isRefused = true;
      return;
    }
    if (error.code === "OutcomeUnknown" || error.code === "Stopped") return;
    invoked.isRefused = true;
    this.#refused.add(input.value);
    const index = this.#appliedAt.get(input.value);
    if (index === undefined) return;
    const what = `value ${input.value} was applied at ${index}`;
    violated("refused is not applied", `${what} and then reported ${error.code}`);
  }

  /** Proposes what changes nothing: no register holds what this one is expected to. */
  probe(id: number, done: () => void): void {
    const machine = this.#all.machine(id);
    const input = { kind: "cas", expected: NEVER_HELD, value: FIRST_PROBE + this.#probes } as const;
    this.#probes++;
    const deadlineMs = machine.clock.monotonicMs() + DEADLINE_MS;
    machine.raft?.propose(encodeRegisterCommand(0, input, 0), deadlineMs, (result) => {
      if (!result.ok) return;
      this.#all.checker.acknowledged(result.value.index);
      done();
    });
    machine.observe();
  }

  heal(): void {
    // Registers do nothing wrong.
  }

  unsettled(core: readonly number[]): string | undefined {
    const acked = this.#all.checker.highestAcked;
    for (const id of core) {
      const machine = this.#all.machine(id);
      if (machine.applied < acked) return `n${id} has applied ${machine.applied} of ${acked}`;
    }
    if (!this.#hasReadBack) return undefined;
    return this.#unread.size > 0 ? `${this.#unread.size} reads are not answered` : undefined;
  }

  readBack(core: readonly number[]): void {
    if (!this.#hasReadBack) this.#unread = new Set(this.#keys);
    this.#hasReadBack = true;
    const keys = [...this.#unread].sort((a, b) => a - b);
    this.#round++;
    this.#readsBack += keys.length;
    keys.forEach((key, at) => {
      const done = (): void => {
        this.#unread.delete(key);
      };
      const machine = this.#all.machine(core[(at + this.#round) % core.length] ?? 1);
      if (machine.raft === undefined) return;
      const input = { kind: "read" } as const;
      this.#invoke(machine, { model: "register", item: 0, client: 0, key, input }, done);
    });
  }

  readsBack(): number {
    return this.#readsBack;
  }

  history(): readonly RegisterOperation[] {
    return this.#invoked.filter(({ isRefused }) => !isRefused).map(({ operation }) => operation);
  }

  reached(): Readonly<Record<string, number>> {
    return {
      acked: this.#acked,
      reads: this.#reads,
      forwardedWrites: this.#forwardedWrites,
      forwardedReads: this.#forwardedReads,
      leaseReads: this.#leaseReads,
    };
  }
}

type ReadDone = Parameters<RaftNode<Response>["readIndex"]>[1];
type Checker = Cluster<Response>["checker"];

function describe(key: number, input: RegisterInput): string {
  switch (input.kind) {
    case "read":
      return `read r${key}`;
    case "write":
      return `write r${key} = ${input.value}`;
    case "cas":
      return `cas r${key} ${input.expected ?? "nothing"} -> ${input.value}`;
    default:
      return input satisfies never;
  }
}
