/** Members of a RaftCluster in one process over memory disks and virtual time; nothing here waits. */

import { as, err, ok, Prng } from "@blixard/std";
import type { LogIndex, PeerId, Result } from "@blixard/std";

import { raftCluster } from "../cluster/builder.ts";
import type { RaftCluster } from "../cluster/cluster.ts";
import { jsonCodec, textCodec } from "../cluster/codec.ts";
import type { ClusterTuning } from "../cluster/options.ts";
import type { ClusterMachine, ClusterPorts, ClusterTransport } from "../cluster/types.ts";
import { createMemoryHub } from "../transport/memory.ts";
import type { MemoryHub } from "../transport/memory.ts";
import { MemoryDisk } from "./memory-disk.ts";

/** "add <text>" appends and answers with how many there are; "boom" throws after appending. */
export class Journal implements ClusterMachine<string, number, "count" | "all", string> {
  readonly command = textCodec;
  readonly response = jsonCodec((value) => {
    if (typeof value !== "number") throw new TypeError("not a number");
    return value;
  });
  readonly query = jsonCodec((value) => {
    if (value !== "count" && value !== "all") throw new TypeError("no such query");
    return value;
  });
  readonly answer = textCodec;
  lines: string[] = [];

  apply(command: string): number {
    this.lines.push(command);
    if (command === "boom") throw new Error("it went boom");
    return this.lines.length;
  }

  read(query: "count" | "all"): string {
    return query === "count" ? String(this.lines.length) : this.lines.join(",");
  }

  *snapshot(): Iterator<Uint8Array> {
    yield new TextEncoder().encode(JSON.stringify(this.lines));
  }

  restore(chunks: Iterable<Uint8Array>): Result<void, string> {
    const decoder = new TextDecoder();
    let text = "";
    for (const chunk of chunks) text += decoder.decode(chunk);
    const lines: unknown = JSON.parse(text);
    if (!Array.isArray(lines)) return err("no lines");
    this.lines = lines.map(String);
    return ok(undefined);
  }
}

export type JournalCluster = RaftCluster<string, number, "count" | "all", string>;

export interface WorldMember {
  readonly id: PeerId;
  readonly cluster: JournalCluster;
  readonly journal: Journal;
  readonly disk: MemoryDisk;
  readonly transport: ClusterTransport;
  /** Tells it that its connection with a peer broke. */
  readonly disconnected: (peer: PeerId) => void;
  isUp: boolean;
}

const TICK_MS = 10;

export class ClusterWorld {
  readonly hub: MemoryHub = createMemoryHub();
  readonly members = new Map<number, WorldMember>();
  readonly random = new Prng(7);
  /** Members whose disks take operations and complete none. */
  readonly hung = new Set<number>();
  readonly #tickers = new Map<number, () => void>();
  readonly #tuning: Partial<ClusterTuning>;
  readonly #complete = new Map<number, Parameters<ClusterPorts["openDisk"]>[1]>();
  #nowMs = 1000;

  constructor(tuning: Partial<ClusterTuning> = {}) {
    this.#tuning = { tickMs: TICK_MS, segmentBytes: 64 * 1024, leaseReads: true, ...tuning };
  }

  #ports(id: number, disk: MemoryDisk): ClusterPorts {
    const now = (): number => this.#nowMs;
    return {
      clock: { monotonicMs: now, bootMs: now, wallMs: now },
      random: this.random.fork(),
      openDisk: (_dir, onCompletion) => {
        this.#complete.set(id, onCompletion);
        const close = (): Promise<void> => Promise.resolve();
        return Promise.resolve({ submit: (op) => disk.submit(op), close });
      },
      every: (_intervalMs, run) => {
        this.#tickers.set(id, run);
        return () => void this.#tickers.delete(id);
      },
    };
  }

  async start(id: number, founders?: readonly number[]): Promise<WorldMember> {
    const disk = this.members.get(id)?.disk ?? new MemoryDisk();
    const journal = new Journal();
    const peer = as<PeerId>(id);
    const connected = this.hub.connect(peer);
    let disconnected: (peer: PeerId) => void = () => undefined;
    const transport: ClusterTransport = {
      ...connected,
      onDisconnect: (listener) => {
        disconnected = listener;
        connected.onDisconnect?.(listener);
      },
    };
    const builder = raftCluster(journal)
      .preset("testing")
      .tune(this.#tuning)
      .id(id)
      .dir("unused")
      .transport(transport)
      .ports(this.#ports(id, disk));
    if (founders !== undefined) builder.founders(founders);
    const cluster = await builder.start();
    const member = { id: peer, cluster, journal, disk, transport, disconnected, isUp: true };
    this.members.set(id, member);
    return member;
  }

  async found(ids: readonly number[]): Promise<void> {
    for (const id of ids) await this.start(id, ids);
  }

  member(id: number): WorldMember {
    const member = this.members.get(id);
    if (member === undefined) throw new Error(`no member ${id}`);
    return member;
  }

  /** The process dies with what it had not written. */
  kill(id: number): void {
    const member = this.member(id);
    member.isUp = false;
    member.disk.kill();
    this.#tickers.delete(id);
    this.#complete.delete(id);
    // Its sockets are closed by the system, which the others notice.
    void member.transport.close();
  }

  get live(): WorldMember[] {
    return [...this.members.values()].filter(({ isUp }) => isUp);
  }

  leader(): WorldMember | undefined {
    return this.live.find(({ cluster }) => cluster.status().role === "leader");
  }

  /** Disk operations and datagrams until nothing moves. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 3;) {
      quiet++;
      for (const [id, complete] of this.#complete) {
        if (this.hung.has(id)) continue;
        const completion = this.members.get(id)?.disk.step(this.random);
        if (completion === undefined) continue;
        complete(completion);
        quiet = 0;
      }
      await new Promise<void>((resolve) => void setImmediate(resolve));
    }
  }

  async tick(count = 1): Promise<void> {
    for (let i = 0; i < count; i++) {
      this.#nowMs += TICK_MS;
      for (const run of this.#tickers.values()) run();
      await this.settle();
    }
  }

  async until(what: string, condition: () => boolean, ticksMax = 600): Promise<void> {
    await this.settle();
    for (let i = 0; i < ticksMax && !condition(); i++) await this.tick();
    if (!condition()) throw new Error(`not within ${ticksMax} ticks: ${what}`);
  }

  /** Lets the world run until the promise is settled. */
  async run<T>(promise: Promise<T>, ticksMax = 600): Promise<T> {
    let isDone = false;
    const watch = async (): Promise<void> => {
      await Promise.allSettled([promise]);
      isDone = true;
    };
    void watch();
    await this.until("the promise is settled", () => isDone, ticksMax);
    return await promise;
  }

  async elect(): Promise<WorldMember> {
    await this.until("a leader that all know", () => {
      const leader = this.leader()?.id;
      const knows = ({ cluster }: WorldMember): boolean => cluster.status().leader === leader;
      return leader !== undefined && this.live.every(knows);
    });
    const leader = this.leader();
    if (leader === undefined) throw new Error("no leader");
    return leader;
  }

  async follower(): Promise<WorldMember> {
    const leader = await this.elect();
    const found = this.live.find(({ id }) => id !== leader.id);
    if (found === undefined) throw new Error("no follower");
    return found;
  }
}

export function index(value: number): LogIndex {
  return as<LogIndex>(value);
}
