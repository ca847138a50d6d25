/**
 * RaftCluster: one member of a replicated state machine, as promises and typed errors. Everything goes
 * through RaftNode; this adds the encoding of commands, sessions, the disk's and the ticker's lifetime.
 */

import { assert, err, fail, ok } from "@blixard/std";
import type { Clock, LogIndex, PeerId } from "@blixard/std";
import type { AnyConfChange, RaftStatus } from "@blixard/raft";

import { RaftNode } from "../driver/raft-node.ts";
import type { Bootstrap } from "../driver/raft-node.ts";
import { PROPOSAL_BYTES_MAX } from "../limits.ts";
import type { SnapshotHeader } from "../snapshot/format.ts";
import type { Member, RaftNodeEvent } from "../types.ts";
import { ENTRY_ENVELOPE_BYTES } from "./entry-codec.ts";
import { ClusterCalls } from "./calls.ts";
import type { Done, SessionItem } from "./calls.ts";
import { EventHub } from "./events.ts";
import { healthOf } from "./health.ts";
import { HostMachine } from "./host-machine.ts";
import type { Outcome } from "./host-machine.ts";
import type { ClusterTuning } from "./options.ts";
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

/** All that {@link RaftCluster.open} needs; the builder collects it. */
export interface ClusterParts<Command, Response, Query, Answer> {
  /** This member. */
  readonly id: PeerId;
  /** A folder of the operating system, made if absent, for this process alone. */
  readonly dir: string;
  /** What is replicated. */
  readonly machine: ClusterMachine<Command, Response, Query, Answer>;
  /** How members reach each other; closed by `shutdown`. */
  readonly transport: ClusterTransport;
  /** What the operating system does. */
  readonly ports: ClusterPorts;
  /** As checked by {@link clusterTuning}. */
  readonly tuning: ClusterTuning;
  /** Everything that the node tells, as one union; before the listeners of `on`. */
  readonly onNodeEvent?: (event: RaftNodeEvent) => void;
}

type Disk = Awaited<ReturnType<ClusterPorts["openDisk"]>>;

/**
 * One member of a replicated state machine, running in this process. {@link raftCluster} makes one.
 *
 * Calls may be made on any member: commands and linearizable reads of a follower go through the
 * leader. Each resolves with a {@link ClusterResult}, whose error says whether anything may have
 * happened. Calls made while the member recovers wait for the end of the recovery. Nothing is
 * retried but in a session.
 *
 * @typeParam Command - what changes the state
 * @typeParam Response - what the state machine answers to a command
 * @typeParam Query - what is asked of the state
 * @typeParam Answer - what the state machine answers to a query
 *
 * @example
 * ```ts
 * const added = await cluster.propose(5);
 * if (added.ok) console.log("the counter is at", added.value);
 * else if (added.error.code === "Timeout") console.log("it may have been added, or may be yet");
 * else console.log("nothing was added:", added.error.code);
 *
 * const fresh = await cluster.query("value");
 * const cheap = await cluster.query("value", { consistency: "stale" });
 * ```
 *
 * @example
 * ```ts
 * cluster.on("alarm", ({ index, reason }) => console.error("apply threw at", index, reason));
 * const { ok, checks } = cluster.health();
 * if (!ok) console.error(checks.filter((check) => !check.ok));
 * await cluster.shutdown();
 * ```
 */
export class RaftCluster<Command, Response, Query, Answer> {
  /** This member. */
  readonly id: PeerId;
  /** The same calls with callbacks: for doors that carry very many. */
  readonly calls: ClusterCalls<Command, Response, Query, Answer>;
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
  #starting: { readonly ended: Promise<void>; readonly end: () => void } | undefined = pending();

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
        ...(ports.compression === undefined ? {} : { compression: ports.compression }),
        ...(ports.soon === undefined ? {} : { soon: (run) => ports.soon?.(run) }),
        ...(ports.later === undefined ? {} : { later: (run) => ports.later?.(run) }),
        onEvent: (event) => {
          parts.onNodeEvent?.(event);
          this.#onNodeEvent(event);
        },
      },
    );
    this.calls = new ClusterCalls(this.#node, machine, tuning, ports.clock);
    onCompletion.deliver = (completion) => this.#node.input({ kind: "disk", completion });
    transport.onDisconnect?.((peer) => this.#node.input({ kind: "disconnected", peer }));
    transport.onMessage((from, message) => this.#node.input({ kind: "message", from, message }));
  }

  /**
   * What the builder does: opens the folder; `start` begins. Rejects when another process has it
   * (Conflict), or it cannot be made.
   */
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
   * will be added. `backup`: the state that a new cluster begins with, the same on every founder; a
   * folder that has a state of its own ignores it. Subscribe to events before: "recovered" or "fatal" is
   * the first.
   */
  start(founders?: readonly Member[], backup?: Iterable<Uint8Array>): void {
    if (backup !== undefined) {
      const restored = this.#machine.restore(backup);
      if (!restored.ok) {
        const data = { what: "backup", where: "its state" };
        fail("Corrupt", data, `The backup cannot be restored: ${restored.error}`);
      }
    }
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

  #endStarting(): void {
    this.#starting?.end();
    this.#starting = undefined;
  }

  #onNodeEvent(event: RaftNodeEvent): void {
    if (event.kind === "recovered" || event.kind === "fatal") this.#endStarting();
    if (event.kind === "members") this.#transport.setMembers(event.members);
    if (event.kind === "role") this.#events.emit("role", event.status);
    else {
      const { kind, ...data } = event;
      this.#events.emit(kind, data);
    }
  }

  /**
   * Listens to one kind of event; the returned function ends it. Listeners are called at once,
   * where the event happens: one that throws ends the process.
   */
  on<N extends keyof ClusterEvents>(
    name: N,
    listener: (event: ClusterEvents[N]) => void,
  ): () => void {
    return this.#events.on(name, listener);
  }

  /** One call with a callback as a promise; wakes who waits for room when it is done. */
  #promise<T>(call: (done: Done<T>) => void): Promise<ClusterResult<T>> {
    // Calls made during recovery wait for its end; only then does their time begin.
    if (this.#starting !== undefined) return this.#starting.ended.then(() => this.#promise(call));
    return new Promise((resolve) => {
      call((result) => {
        if (this.#roomWaiters.length > 0) this.#wakeForRoom();
        resolve(result);
      });
    });
  }

  /**
   * Replicates a command; resolves with what `apply` answered on this member, once a majority holds
   * it durably and it was applied here. On a follower it is forwarded to the leader. At most once:
   * after `Timeout` it may have happened. For exactly once use a session.
   */
  propose(command: Command, options: CallOptions = {}): Promise<ClusterResult<Response>> {
    const encoded = this.#machine.command.encode(command);
    return this.#promise((done) => this.calls.propose(encoded, options.timeoutMs, done));
  }

  /** One attempt within a session; see `openSession` for the whole thing. */
  proposeInSession(item: SessionItem, options: CallOptions = {}): Promise<ClusterResult<Response>> {
    return this.#promise((done) => this.calls.proposeInSession(item, options.timeoutMs, done));
  }

  /**
   * Opens a session: each command proposed in it is applied exactly once, however often it has to
   * be sent. Needs `sessions` of the tuning, else `Invalid`.
   */
  async openSession(
    options: CallOptions = {},
  ): Promise<ClusterResult<RaftSession<Command, Response>>> {
    const opened = await this.openSessionId(options);
    return opened.ok ? ok(this.resumeSession(opened.value)) : opened;
  }

  /** The bare id of a new session, for a {@link SessionCarrier} of your own. */
  openSessionId(options: CallOptions = {}): Promise<ClusterResult<number>> {
    return this.#promise((done) => this.calls.openSession(options.timeoutMs, done));
  }

  /** Forgets a session by its id; `SessionExpired` when there is none. */
  closeSession(session: number, options: CallOptions = {}): Promise<ClusterResult<undefined>> {
    return this.#promise((done) => this.calls.closeSession(session, options.timeoutMs, done));
  }

  /**
   * A session opened earlier, perhaps by an earlier life of the caller: `nextSequence` must be
   * beyond every number that was used in it. Nothing is checked here; the first command tells.
   */
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

  /** Asks the state machine of this member; default linearizable. */
  query(
    query: Query,
    options: CallOptions & { readonly consistency?: Consistency } = {},
  ): Promise<ClusterResult<Answer>> {
    const { consistency = "linearizable", timeoutMs } = options;
    return this.#promise((done) => this.calls.query(query, consistency, timeoutMs, done));
  }

  /**
   * Resolves when a read of this member's state has the consistency asked for, with the index of
   * the entry that it shows at least. For reads that are no queries.
   */
  readPoint(
    options: CallOptions & { readonly consistency?: Consistency } = {},
  ): Promise<ClusterResult<LogIndex>> {
    const { consistency = "linearizable", timeoutMs } = options;
    return this.#promise((done) => this.calls.readPoint(consistency, timeoutMs, done));
  }

  /**
   * Leader only (`NotLeader` elsewhere): resolves after a quorum round begun after the call,
   * everything up to the returned index applied here: no newer leader existed when it was called.
   */
  confirmLeadership(options: CallOptions = {}): Promise<ClusterResult<LogIndex>> {
    return this.#promise((done) => this.calls.confirmLeadership(options.timeoutMs, done));
  }

  /**
   * Adds a member that gets the log but has no vote yet: the safe first step. Start it without
   * founders; promote it once it has caught up.
   */
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

  /** Removes a member, voter or learner; a leader may remove itself. Stop the member afterwards. */
  removeMember(peer: PeerId, options: CallOptions = {}): Promise<ClusterResult<LogIndex>> {
    const context = new Uint8Array(0);
    return this.changeMembership({ op: "removeMember", peer, context }, options);
  }

  /**
   * Any change, several at once through a joint configuration. Resolves with the index at which it took
   * effect on this member. Waits while another change is under way; `ProposalDropped` says why a
   * change makes no sense, such as removing who is no member.
   */
  changeMembership(
    change: AnyConfChange,
    options: CallOptions = {},
  ): Promise<ClusterResult<LogIndex>> {
    return this.#promise((done) => this.calls.changeMembership(change, options.timeoutMs, done));
  }

  /**
   * Asks `to` to lead instead of this member; resolves once this member knows that it does.
   * Commands proposed meanwhile wait. `NotLeader` when this member does not lead, `Timeout` when
   * `to` did not take over in time.
   */
  async transferLeadership(
    to: PeerId,
    options: CallOptions = {},
  ): Promise<ClusterResult<undefined>> {
    const { timeoutMs = this.#tuning.callTimeoutMs } = options;
    const deadlineMs = this.#clock.monotonicMs() + timeoutMs;
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

  /**
   * Takes a snapshot now and releases the log behind it, unless one is under way or nothing is new.
   * The event "snapshot" tells when it is durable.
   */
  takeSnapshot(): void {
    this.#node.takeSnapshot();
  }

  /**
   * A copy of the state machine as of now, without sessions, and where it stands: what
   * {@link writeBackup} writes. Await `readPoint` first where it must not miss anything.
   */
  backupState(): {
    /** Where in the log the state stands, and the members. */
    readonly header: SnapshotHeader;
    /** As the state machine's `snapshot` gives them. */
    readonly chunks: Iterator<Uint8Array>;
  } {
    const { conf, applied, term } = this.#node.status();
    const header = { meta: { index: applied, term, conf }, members: this.#node.members() };
    return { header, chunks: this.#machine.snapshot() };
  }

  /** The protocol's own view alone: for callers that look often. */
  raftStatus(): RaftStatus {
    return this.#node.status();
  }

  /** Members as of what was applied here, by id. */
  members(): readonly Member[] {
    return this.#node.members();
  }

  /** What this member knows now, without asking the others. */
  status(): ClusterStatus {
    return {
      ...this.#node.status(),
      ...this.#node.inspect(),
      members: this.#node.members(),
      sessions: this.#host.sessionCount,
    };
  }

  /** What a load balancer or an operator asks, judged from `status`; each check says why. */
  health(): ClusterHealth {
    return healthOf(this.status());
  }

  /**
   * Takes nothing more, hands leadership over, lets the log come to rest, closes disk and
   * transport. Bounded by {@link STOP_TRANSFER_TICKS} ticks where nobody takes over. Calling it
   * again waits for the same end. The client door is closed apart, before.
   */
  async shutdown(): Promise<void> {
    this.#closing ??= this.#shutdown();
    await this.#closing;
  }

  async #shutdown(): Promise<void> {
    this.#endStarting();
    await new Promise<void>((resolve) => this.#node.stop(resolve));
    this.#stopTicking();
    for (const resume of [...this.#tickWaiters.splice(0), ...this.#roomWaiters.splice(0)]) resume();
    await this.#transport.close();
    await this.#disk.close();
  }
}

function pending(): { readonly ended: Promise<void>; readonly end: () => void } {
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  return { ended, end: () => end() };
}

type OnCompletion = Parameters<ClusterPorts["openDisk"]>[1];
