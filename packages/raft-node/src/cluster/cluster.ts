/**
 * RaftCluster: one member of a replicated state machine, as promises and typed errors. Everything goes
 * through RaftNode; this adds the encoding of commands, sessions, the disk's and the ticker's lifetime.
 */

import { assert, err, ok } from "@blixard/std";
import type { Clock, LogIndex, PeerId, Result } from "@blixard/std";
import type { ConfChange } from "@blixard/raft";

import { RaftNode } from "../driver/raft-node.ts";
import type { Bootstrap } from "../driver/raft-node.ts";
import { LEASE_DRIFT, PROPOSAL_BYTES_MAX } from "../limits.ts";
import type { Member, ProposeError, RaftNodeEvent } from "../types.ts";
import { ENTRY_ENVELOPE_BYTES, encodeEntry } from "./entry-codec.ts";
import type { ClusterEntry } from "./entry-codec.ts";
import { EventHub } from "./events.ts";
import { healthOf } from "./health.ts";
import { HostMachine } from "./host-machine.ts";
import type { Outcome } from "./host-machine.ts";
import type { ClusterTuning } from "./options.ts";
import { clusterError, clusterResult, leaderOnly } from "./outcome.ts";
import { RaftSession } from "./session.ts";
import type {
  CallOptions,
  ClusterEvents,
  ClusterHealth,
  ClusterMachine,
  ClusterPorts,
  ClusterResult,
  ClusterStatus,
  ClusterTransport,
  Consistency,
} from "./types.ts";

export interface ClusterParts<Command, Response, Query, Answer> {
  readonly id: PeerId;
  /** A folder of the operating system, made if absent, for this process alone. */
  readonly dir: string;
  readonly machine: ClusterMachine<Command, Response, Query, Answer>;
  readonly transport: ClusterTransport;
  readonly ports: ClusterPorts;
  readonly tuning: ClusterTuning;
}

type Disk = Awaited<ReturnType<ClusterPorts["openDisk"]>>;
type Done<T> = (result: Result<T, ProposeError>) => void;

export class RaftCluster<Command, Response, Query, Answer> {
  readonly id: PeerId;
  readonly #machine: ClusterMachine<Command, Response, Query, Answer>;
  readonly #host: HostMachine<Command, Response>;
  readonly #node: RaftNode<Outcome<Response>>;
  readonly #transport: ClusterTransport;
  readonly #clock: Clock;
  readonly #ports: ClusterPorts;
  readonly #tuning: ClusterTuning;
  readonly #disk: Disk;
  readonly #events = new EventHub();
  #roomWaiters: (() => void)[] = [];
  #tickWaiters: (() => void)[] = [];
  #stopTicking: () => void = () => undefined;
  #closing: Promise<void> | undefined;

  private constructor(
    parts: ClusterParts<Command, Response, Query, Answer>,
    disk: Disk,
    onCompletion: { deliver: (completion: Parameters<OnCompletion>[0]) => void },
  ) {
    const { id, machine, transport, ports, tuning } = parts;
    this.id = id;
    this.#machine = machine;
    this.#transport = transport;
    this.#clock = ports.clock;
    this.#ports = ports;
    this.#tuning = tuning;
    this.#disk = disk;
    this.#host = new HostMachine(machine, tuning.sessions, (index, reason) =>
      this.#events.emit("alarm", { index, reason }),
    );
    const { maxCommandBytes, ...node } = tuning;
    const maxProposalBytes = Math.min(maxCommandBytes + ENTRY_ENVELOPE_BYTES, PROPOSAL_BYTES_MAX);
    this.#node = new RaftNode<Outcome<Response>>(
      { ...node, id, dir: "", maxProposalBytes },
      {
        disk,
        network: transport.network,
        clock: ports.clock,
        random: ports.random,
        machine: this.#host,
        onEvent: (event) => this.#onNodeEvent(event),
      },
    );
    onCompletion.deliver = (completion) => this.#node.input({ kind: "disk", completion });
    transport.onMessage((from, message) => this.#node.input({ kind: "message", from, message }));
  }

  /** Opens the folder; `start` begins. Rejects when another process has it, or it cannot be made. */
  static async open<C, R, Q, A>(parts: ClusterParts<C, R, Q, A>): Promise<RaftCluster<C, R, Q, A>> {
    const onCompletion: { deliver: OnCompletion } = {
      deliver: () => assert(false, "no operation completes before one was submitted"),
    };
    const disk = await parts.ports.openDisk(parts.dir, (completion) =>
      onCompletion.deliver(completion),
    );
    return new RaftCluster(parts, disk, onCompletion);
  }

  /**
   * Recovers and takes part. `founders`: the members that found the cluster; none on a member that
   * will be added. Subscribe to events before: "recovered" or "fatal" is the first.
   */
  start(founders?: readonly Member[]): void {
    if (founders !== undefined) this.#transport.setMembers(founders);
    const bootstrap: Bootstrap | undefined =
      founders === undefined ? undefined : { members: [...founders] };
    this.#node.start(bootstrap);
    this.#stopTicking = this.#ports.every(this.#tuning.tickMs, () => this.#tick());
  }

  #tick(): void {
    this.#node.input({ kind: "tick" });
    for (const resume of this.#tickWaiters.splice(0)) resume();
    if (this.#roomWaiters.length > 0) this.#wakeForRoom();
  }

  #wakeForRoom(): void {
    if (!this.#node.hasRoom(0) && this.#closing === undefined) return;
    for (const resume of this.#roomWaiters.splice(0)) resume();
  }

  #onNodeEvent(event: RaftNodeEvent): void {
    if (event.kind === "members") this.#transport.setMembers(event.members);
    if (event.kind === "role") this.#events.emit("role", event.status);
    else {
      const { kind, ...data } = event;
      this.#events.emit(kind, data);
    }
  }

  /** Listens to one kind of event; the returned function ends it. */
  on<N extends keyof ClusterEvents>(
    name: N,
    listener: (event: ClusterEvents[N]) => void,
  ): () => void {
    return this.#events.on(name, listener);
  }

  #deadline({ timeoutMs }: CallOptions): number {
    return this.#clock.monotonicMs() + (timeoutMs ?? this.#tuning.callTimeoutMs);
  }

  /**
   * Replicates a command; resolves with what `apply` answered on this member. On a follower it is
   * forwarded to the leader. At most once: after `Timeout` it may have happened. For exactly once use
   * a session.
   */
  async propose(command: Command, options: CallOptions = {}): Promise<ClusterResult<Response>> {
    const encoded = this.#machine.command.encode(command);
    return await this.proposeEncoded(encoded, options);
  }

  /** As propose, for a command that is encoded already. */
  async proposeEncoded(
    command: Uint8Array,
    options: CallOptions = {},
  ): Promise<ClusterResult<Response>> {
    const { sessions, maxCommandBytes } = this.#tuning;
    if (command.length > maxCommandBytes) {
      return err({ code: "TooLarge", limit: maxCommandBytes, actual: command.length });
    }
    const entry = sessions ? encodeEntry({ kind: "plain", command }) : command;
    return await this.#entry(entry, options);
  }

  /** One attempt within a session; see `openSession` for the whole thing. */
  async proposeInSession(
    item: { session: number; sequence: number; acknowledged: number; command: Uint8Array },
    options: CallOptions = {},
  ): Promise<ClusterResult<Response>> {
    const { sessions, maxCommandBytes } = this.#tuning;
    if (!sessions) return err({ code: "Invalid", reason: "this cluster has no sessions" });
    if (item.command.length > maxCommandBytes) {
      return err({ code: "TooLarge", limit: maxCommandBytes, actual: item.command.length });
    }
    return await this.#entry(encodeEntry({ kind: "session", ...item }), options);
  }

  #entry(entry: Uint8Array, options: CallOptions): Promise<ClusterResult<Response>> {
    return new Promise((resolve) => {
      this.#node.propose(entry, this.#deadline(options), (result) => {
        if (this.#roomWaiters.length > 0) this.#wakeForRoom();
        resolve(clusterResult(result, entry.length));
      });
    });
  }

  /** Opens a session: commands proposed in it are applied exactly once. */
  async openSession(
    options: CallOptions = {},
  ): Promise<ClusterResult<RaftSession<Command, Response>>> {
    const opened = await this.openSessionId(options);
    return opened.ok ? ok(this.resumeSession(opened.value)) : opened;
  }

  /** The bare id of a new session, for carriers of their own. */
  async openSessionId(options: CallOptions = {}): Promise<ClusterResult<number>> {
    const outcome = await this.#sessionEntry({ kind: "open" }, "open a session", options);
    if (!outcome.ok) return outcome;
    if (outcome.value.kind === "opened") return ok(outcome.value.session);
    return err({ code: "Invalid", reason: `unexpected outcome ${outcome.value.kind}` });
  }

  async closeSession(session: number, options: CallOptions = {}): Promise<ClusterResult<void>> {
    const outcome = await this.#sessionEntry({ kind: "close", session }, "close", options);
    if (!outcome.ok) return outcome;
    if (outcome.value.kind === "closed") return ok(undefined);
    return err({ code: "SessionExpired", session });
  }

  /** A session opened earlier, perhaps by an earlier life of the caller. */
  resumeSession(id: number, nextSequence = 1): RaftSession<Command, Response> {
    const { tickMs, electionTicks } = this.#tuning;
    return new RaftSession<Command, Response>(
      {
        clock: this.#clock,
        attemptMs: 2 * electionTicks * tickMs,
        callTimeoutMs: this.#tuning.callTimeoutMs,
        send: ({ command, ...item }, timeoutMs) => {
          const encoded = this.#machine.command.encode(command);
          return this.proposeInSession({ ...item, command: encoded }, { timeoutMs });
        },
        close: (session, timeoutMs) => this.closeSession(session, { timeoutMs }),
        pause: () => new Promise((resolve) => void this.#tickWaiters.push(resolve)),
      },
      id,
      nextSequence,
    );
  }

  #sessionEntry(
    entry: ClusterEntry,
    operation: string,
    options: CallOptions,
  ): Promise<ClusterResult<Outcome<Response>>> {
    if (!this.#tuning.sessions) {
      return Promise.resolve(err({ code: "Invalid", reason: "this cluster has no sessions" }));
    }
    return new Promise((resolve) => {
      this.#node.propose(encodeEntry(entry), this.#deadline(options), (result) => {
        if (result.ok) resolve(ok(result.value.response));
        else resolve(err(clusterError(result.error, operation)));
      });
    });
  }

  /** Reads the state machine of this member; default linearizable. */
  async query(
    query: Query,
    options: CallOptions & { readonly consistency?: Consistency } = {},
  ): Promise<ClusterResult<Answer>> {
    const point = await this.readPoint(options);
    return point.ok ? ok(this.#machine.read(query)) : point;
  }

  /** Resolves when a read of this member's state has the consistency asked for. */
  async readPoint(
    options: CallOptions & { readonly consistency?: Consistency } = {},
  ): Promise<ClusterResult<LogIndex>> {
    const { consistency = "linearizable" } = options;
    if (consistency === "stale") return ok(this.#node.status().applied);
    const deadlineMs = this.#deadline(options);
    if (consistency === "linearizable") {
      return await this.#index("read", (done) => this.#node.readIndex(deadlineMs, done));
    }
    if (!this.#tuning.leaseReads) {
      return err({ code: "Invalid", reason: "this cluster has no lease reads" });
    }
    return await this.#onLeader((done) => this.#node.leaseRead(deadlineMs, done));
  }

  /** Leader only: a quorum round begun after the call, everything up to it applied here. */
  async confirmLeadership(options: CallOptions = {}): Promise<ClusterResult<LogIndex>> {
    const deadlineMs = this.#deadline(options);
    return await this.#onLeader((done) => this.#node.confirmLeadership(deadlineMs, done));
  }

  async #onLeader(ask: (done: Done<LogIndex>) => void): Promise<ClusterResult<LogIndex>> {
    const result = await this.#index("read", ask);
    return result.ok ? result : err(leaderOnly(result.error, this.#node.status().leader));
  }

  #index(operation: string, ask: (done: Done<LogIndex>) => void): Promise<ClusterResult<LogIndex>> {
    return new Promise((resolve) => {
      ask((result) => {
        if (result.ok) resolve(result);
        else resolve(err(clusterError(result.error, operation)));
      });
    });
  }

  /** Adds a member that gets the log but has no vote yet: the safe first step. */
  addLearner(member: Member, options: CallOptions = {}): Promise<ClusterResult<LogIndex>> {
    return this.changeMembership({ op: "addLearner", ...member }, options);
  }

  /** Adds a voter, or gives a learner its vote. */
  addMember(member: Member, options: CallOptions = {}): Promise<ClusterResult<LogIndex>> {
    return this.changeMembership({ op: "addVoter", ...member }, options);
  }

  /** Gives a learner its vote; it keeps the context that it came with. */
  promoteMember(peer: PeerId, options: CallOptions = {}): Promise<ClusterResult<LogIndex>> {
    const context = new Uint8Array(0);
    return this.changeMembership({ op: "addVoter", peer, context }, options);
  }

  removeMember(peer: PeerId, options: CallOptions = {}): Promise<ClusterResult<LogIndex>> {
    const context = new Uint8Array(0);
    return this.changeMembership({ op: "removeMember", peer, context }, options);
  }

  /** Resolves with the index at which the change took effect on this member. */
  changeMembership(
    change: ConfChange,
    options: CallOptions = {},
  ): Promise<ClusterResult<LogIndex>> {
    const deadlineMs = this.#deadline(options);
    return this.#index("change the membership", (done) =>
      this.#node.changeMembership(change, deadlineMs, done),
    );
  }

  /**
   * Asks `to` to lead instead of this member; resolves once this member knows that it does. Commands
   * proposed meanwhile wait.
   */
  async transferLeadership(to: PeerId, options: CallOptions = {}): Promise<ClusterResult<void>> {
    const deadlineMs = this.#deadline(options);
    const { role, leader } = this.#node.status();
    if (leader === to) return ok(undefined);
    if (role !== "leader") return err({ code: "NotLeader", leader });
    const done = new Promise<void>((resolve) => {
      const off = this.on("role", (status) => {
        if (status.leader !== to) return;
        off();
        resolve();
      });
    });
    this.#node.transferLeader(to);
    const reached = done.then(() => true);
    while (this.#clock.monotonicMs() < deadlineMs && this.#closing === undefined) {
      const tick = new Promise<false>((resolve) => {
        this.#tickWaiters.push(() => resolve(false));
      });
      if (await Promise.race([reached, tick])) return ok(undefined);
    }
    const reason = `member ${to} did not take over in time`;
    return err({ code: "Timeout", operation: "transfer leadership", reason });
  }

  /** False while a call would be answered Overloaded. */
  get hasRoom(): boolean {
    return this.#node.hasRoom(0);
  }

  /** Resolves when there is room again: the way to wait without a queue of your own. */
  async whenRoom(): Promise<void> {
    if (this.hasRoom || this.#closing !== undefined) return;
    await new Promise<void>((resolve) => void this.#roomWaiters.push(resolve));
  }

  /** Takes a snapshot now and releases the log behind it, unless one is under way or nothing is new. */
  takeSnapshot(): void {
    this.#node.takeSnapshot();
  }

  status(): ClusterStatus {
    return {
      ...this.#node.status(),
      ...this.#node.inspect(),
      members: this.#node.members(),
      sessions: this.#host.sessionCount,
    };
  }

  /** What a load balancer or an operator asks; each check says why. */
  health(): ClusterHealth {
    return healthOf(this.status());
  }

  /** The share by which clocks may differ before a lease read could be stale. */
  static readonly leaseDrift = LEASE_DRIFT;

  /**
   * Takes nothing more, hands leadership over, lets the log come to rest, closes disk and transport.
   * Calling it again waits for the same end.
   */
  async shutdown(): Promise<void> {
    this.#closing ??= this.#shutdown();
    await this.#closing;
  }

  async #shutdown(): Promise<void> {
    await new Promise<void>((resolve) => this.#node.stop(resolve));
    this.#stopTicking();
    for (const resume of [...this.#tickWaiters.splice(0), ...this.#roomWaiters.splice(0)]) resume();
    await this.#transport.close();
    await this.#disk.close();
  }
}

type OnCompletion = Parameters<ClusterPorts["openDisk"]>[1];
