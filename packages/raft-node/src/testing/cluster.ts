/** Several nodes in one process, over test disks and a network that the test controls. */

import { as, ok, Prng } from "@blixard/std";
import type { Clock, LogIndex, PeerId, Result, Term } from "@blixard/std";

import { RaftNode } from "../driver/raft-node.ts";
import type { Member, ProposeError, Proposed, RaftNodeEvent, StateMachine } from "../types.ts";
import type { RaftNodeOptions } from "../types.ts";
import { MemoryDisk } from "./memory-disk.ts";

/** Keeps every command; answers with how many there are. */
export class ListMachine implements StateMachine<number> {
  items: string[] = [];

  apply(entry: { index: LogIndex; term: Term; data: Uint8Array }): number {
    this.items.push(new TextDecoder().decode(entry.data));
    return this.items.length;
  }

  *snapshot(): Iterator<Uint8Array> {
    const items = [...this.items];
    for (const item of items) yield new TextEncoder().encode(`${item}\n`);
  }

  restore(chunks: Iterable<Uint8Array>): Result<void, string> {
    const decoder = new TextDecoder();
    const items: string[] = [];
    for (const chunk of chunks) items.push(decoder.decode(chunk).slice(0, -1));
    this.items = items;
    return ok(undefined);
  }
}

export interface Host {
  readonly id: PeerId;
  disk: MemoryDisk;
  machine: ListMachine;
  node: RaftNode<number>;
  events: RaftNodeEvent[];
  isUp: boolean;
}

interface Datagram {
  readonly from: PeerId;
  readonly to: PeerId;
  readonly message: Uint8Array;
}

export const TICK_MS = 10;

export function peer(id: number): PeerId {
  return as<PeerId>(id);
}

export function member(id: number): Member {
  return { peer: peer(id), context: new TextEncoder().encode(`host-${id}`) };
}

export class Cluster implements Clock {
  readonly random: Prng;
  readonly hosts = new Map<PeerId, Host>();
  readonly options: Partial<RaftNodeOptions>;
  /** Datagrams for which it returns true are lost. */
  drops: (datagram: Datagram) => boolean = () => false;
  lossRate = 0;
  #datagrams: Datagram[] = [];
  #nowMs = 1000;

  constructor(seed: number, options: Partial<RaftNodeOptions> = {}) {
    this.random = new Prng(seed);
    this.options = options;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  bootMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#nowMs;
  }

  /** Founders of one cluster. */
  found(ids: readonly number[]): void {
    for (const id of ids) this.start(id, ids);
  }

  /** Starts a node, with the disk of its last life if it had one; founders bootstrap an empty disk. */
  start(id: number, founders: readonly number[] = []): Host {
    const old = this.hosts.get(peer(id));
    const disk = old?.disk ?? new MemoryDisk();
    const machine = new ListMachine();
    const events: RaftNodeEvent[] = [];
    const node = new RaftNode<number>(
      {
        id: peer(id),
        dir: "raft",
        tickMs: TICK_MS,
        electionTicks: 10,
        heartbeatTicks: 2,
        segmentBytes: 16 * 1024,
        snapshotEveryBytes: 1024 * 1024,
        snapshotEveryEntries: 100_000,
        maxProposalBytes: 64 * 1024,
        maxPendingProposals: 1000,
        ...this.options,
      },
      {
        disk,
        clock: this,
        random: this.random.fork(),
        machine,
        network: { send: (to, message) => this.#send(peer(id), to, message) },
        onEvent: (event) => void events.push(event),
      },
    );
    const host = { id: peer(id), disk, machine, node, events, isUp: true };
    this.hosts.set(peer(id), host);
    node.start(founders.includes(id) ? { members: founders.map(member) } : undefined);
    return host;
  }

  host(id: number): Host {
    const host = this.hosts.get(peer(id));
    if (host === undefined) throw new Error(`no host ${id}`);
    return host;
  }

  get live(): Host[] {
    return [...this.hosts.values()].filter(({ isUp }) => isUp);
  }

  /** The process dies; with `power`, so does what was not synced. */
  stop(id: number, power: boolean): void {
    const host = this.host(id);
    host.isUp = false;
    if (power) host.disk.crash(this.random);
    else host.disk.kill();
    this.#datagrams = this.#datagrams.filter(({ from, to }) => from !== host.id && to !== host.id);
  }

  restart(id: number): Host {
    return this.start(id);
  }

  #send(from: PeerId, to: PeerId, message: Uint8Array): boolean {
    if (this.#datagrams.length > 10_000) return false;
    this.#datagrams.push({ from, to, message: message.slice() });
    return true;
  }

  /** Delivers datagrams and completes disk operations until nothing is left. */
  settle(): void {
    for (let quiet = false; !quiet;) {
      quiet = true;
      for (const host of this.live) {
        const completion = host.disk.step(this.random);
        if (completion === undefined) continue;
        quiet = false;
        host.node.input({ kind: "disk", completion });
      }
      const datagrams = this.#datagrams.splice(0, 1 + this.random.below(4));
      if (datagrams.length > 0) quiet = false;
      for (const datagram of datagrams) this.#deliver(datagram);
    }
  }

  #deliver(datagram: Datagram): void {
    const host = this.hosts.get(datagram.to);
    if (host?.isUp !== true || this.drops(datagram)) return;
    if (this.lossRate > 0 && this.random.chance(this.lossRate)) return;
    const { from, message } = datagram;
    host.node.input({ kind: "message", from, message });
  }

  tick(count = 1): void {
    for (let i = 0; i < count; i++) {
      this.#nowMs += TICK_MS;
      for (const host of this.live) host.node.input({ kind: "tick" });
      this.settle();
    }
  }

  /** Ticks until the condition holds; fails after `ticksMax`. */
  until(what: string, condition: () => boolean, ticksMax = 500): void {
    this.settle();
    for (let i = 0; i < ticksMax; i++) {
      if (condition()) return;
      this.tick();
    }
    if (!condition()) throw new Error(`not within ${ticksMax} ticks: ${what}`);
  }

  leader(): Host | undefined {
    const leaders = this.live.filter(({ node }) => node.status().role === "leader");
    const term = Math.max(...leaders.map(({ node }) => node.status().term));
    return leaders.find(({ node }) => node.status().term === term);
  }

  /** Waits until one node leads and all live ones know it. */
  elect(): Host {
    this.until("a leader that all know", () => {
      const leader = this.leader();
      return (
        leader !== undefined && this.live.every(({ node }) => node.status().leader === leader.id)
      );
    });
    const leader = this.leader();
    if (leader === undefined) throw new Error("no leader");
    return leader;
  }

  follower(): Host {
    const leader = this.elect();
    const follower = this.live.find(({ id }) => id !== leader.id);
    if (follower === undefined) throw new Error("no follower");
    return follower;
  }

  deadline(ticks = 300): number {
    return this.#nowMs + ticks * TICK_MS;
  }

  /** Proposes and waits for the outcome. */
  propose(host: Host, text: string, ticks = 300): Result<Proposed<number>, ProposeError> {
    let outcome: Result<Proposed<number>, ProposeError> | undefined;
    host.node.propose(new TextEncoder().encode(text), this.deadline(ticks), (result) => {
      outcome = result;
    });
    this.until(`an outcome of ${text}`, () => outcome !== undefined, ticks + 10);
    if (outcome === undefined) throw new Error("no outcome");
    return outcome;
  }

  /** Waits for the answer to a call that takes a callback. */
  ask<T>(what: string, call: (done: (result: T) => void) => void): T {
    const answers: T[] = [];
    call((result) => void answers.push(result));
    this.until(what, () => answers.length > 0);
    const [answer] = answers;
    if (answer === undefined) throw new Error(`no answer: ${what}`);
    return answer;
  }
}
