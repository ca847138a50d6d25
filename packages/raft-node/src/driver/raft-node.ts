/**
 * RaftNode: a member of a consensus group over the ports of std. Single-threaded and synchronous: it does
 * things only within `input` and the calls below, and calls back only from there.
 *
 *   start -> recovering -> running -> stopping -> stopped
 *                 \-> failed (after a "fatal" event; the owner stops the process)
 */

import { as, assert, err, ok } from "@blixard/std";
import type { LogIndex, PeerId, Result, Term } from "@blixard/std";
import { allVoters, emptyConf, encodeAnyChange, status, step } from "@blixard/raft";
import type { AnyConfChange, Persist, RaftState, RaftStatus, SnapshotMeta } from "@blixard/raft";

import { DiskIo } from "../io.ts";
import type { IoTask } from "../io.ts";
import * as limits from "../limits.ts";
import { UnknownVersionError } from "../log/format.ts";
import { Log } from "../log/log.ts";
import { writeSnapshot } from "../snapshot/store.ts";
import type {
  Member,
  ProposeError,
  Proposed,
  RaftNodeDeps,
  RaftNodeInput,
  RaftNodeOptions,
} from "../types.ts";
import { DiskWatch } from "./disk-watch.ts";
import { Engine } from "./engine.ts";
import { handOver } from "./hand-over.ts";
import type { Proposal } from "./proposals.ts";
import { isRepairable, recoverNode } from "./recover.ts";
import type { RecoveredNode } from "./recover.ts";

type Phase = "new" | "recovering" | "running" | "stopping" | "stopped" | "failed";
type Recovery = { readonly kind: "recovered"; readonly node: RecoveredNode } | Unreadable;
interface Unreadable {
  readonly kind: "unreadable";
  readonly reason: string;
}

/** What a founding cluster starts from; the same on every founder. */
export interface Bootstrap {
  /** All of them voters. */
  readonly members: readonly Member[];
}

/** What {@link RaftNode.inspect} answers. */
export interface RaftNodeInspection {
  /** starting: it recovers from disk; failed: after the event "fatal". */
  readonly phase: "starting" | "running" | "stopping" | "stopped" | "failed";
  /** full: the log found no room; hung: a write has taken longer than an election timeout. */
  readonly disk: "fine" | "full" | "hung";
  /** Acknowledged log content was lost here and is not yet back. */
  readonly damaged: boolean;
  /** Proposals made on this node that wait for their outcome. */
  readonly pendingProposals: number;
  /** Reads made on this node that wait for their index. */
  readonly pendingReads: number;
  /** The last entry that the newest snapshot contains; 0 before the first. */
  readonly snapshotIndex: LogIndex;
}

/**
 * A member over the ports of std, synchronous and with callbacks: what {@link RaftCluster} and the
 * simulator are made of. All that it does, it does within `start`, `input` and its calls.
 */
export class RaftNode<Response> {
  readonly #options: RaftNodeOptions;
  readonly #deps: RaftNodeDeps<Response>;
  readonly #io: DiskIo;
  #phase: Phase = "new";
  #engine: Engine<Response> | undefined;
  /** The log while it is made to agree with what the node starts from. */
  #settling: DiskWatch | undefined;
  #bootstrap: Bootstrap | undefined;
  #stopped: (() => void)[] = [];
  #stopAtTick = 0;
  #isPumpDue = false;

  /** Does nothing yet. Sizes out of bounds are a broken invariant: it throws. */
  constructor(options: RaftNodeOptions, deps: RaftNodeDeps<Response>) {
    const { segmentBytes, maxProposalBytes } = options;
    assert(segmentBytes >= limits.SEGMENT_BYTES_MIN, "segmentBytes is at least SEGMENT_BYTES_MIN");
    assert(segmentBytes <= limits.SEGMENT_BYTES_MAX, "segmentBytes is at most SEGMENT_BYTES_MAX");
    assert(
      maxProposalBytes <= limits.PROPOSAL_BYTES_MAX,
      "maxProposalBytes is at most PROPOSAL_BYTES_MAX",
    );
    this.#options = options;
    this.#deps = deps;
    this.#io = new DiskIo(deps.disk);
  }

  /**
   * Recovers from disk. With `bootstrap`, an empty folder becomes a founding member's; a folder that
   * already belongs to a cluster ignores it. Without, an empty folder waits to be joined to a cluster.
   * Ends with the event "recovered" or "fatal".
   */
  start(bootstrap?: Bootstrap): void {
    assert(this.#phase === "new", "a node is started once");
    this.#phase = "recovering";
    this.#bootstrap = bootstrap;
    this.#recover();
  }

  #recover(): void {
    const { id, dir, segmentBytes } = this.#options;
    this.#io.run(guarded(recoverNode(id, dir, segmentBytes)), (result) => {
      if (this.#phase !== "recovering") return;
      if (!result.ok) {
        const { code, path, message } = result.error;
        const kind = code === "NoSpace" ? "DiskFull" : "Io";
        this.#fatal(kind, `cannot open the log: ${code} at "${path}": ${message}`);
      } else if (result.value.kind === "unreadable") {
        this.#fatal(
          "Corrupt",
          `${result.value.reason}; start the version that wrote it, or a later`,
        );
      } else {
        this.#recovered(result.value.node);
      }
    });
  }

  #recovered(node: RecoveredNode): void {
    const { id } = this.#options;
    if (node.empty && this.#bootstrap !== undefined) {
      this.#found(this.#bootstrap);
      return;
    }
    const { untouched } = node.log;
    if (node.damage !== undefined && (untouched || !isRepairable(node.conf, id))) {
      const hint =
        "no other member is known that could repair it, and nothing was changed; restore this " +
        "folder from a backup, or empty it and join a cluster anew";
      this.#fatal("Corrupt", `acknowledged data is lost: ${node.damage}; ${hint}`);
      return;
    }
    const log = new Log(
      {
        io: this.#io,
        dir: this.#options.dir,
        segmentBytes: this.#options.segmentBytes,
        onFatal: (error) => {
          const reason = `${error.code} at "${error.path}": ${error.message}`;
          this.#fatal(error.code === "NoSpace" ? "DiskFull" : "Io", reason);
        },
      },
      node.log,
    );
    this.#settling = new DiskWatch(log, Infinity, (state) =>
      this.#deps.onEvent({ kind: "disk", state }),
    );
    this.#settle(log, node, () => this.#run(log, node));
  }

  /** Writes the founding snapshot and recovers once more, now from it. */
  #found({ members }: Bootstrap): void {
    const voters = members.map(({ peer }) => peer).sort((a, b) => a - b);
    assert(new Set(voters).size === voters.length, "founding members are distinct");
    const conf = { ...emptyConf(), voters };
    const meta: SnapshotMeta = { index: as<LogIndex>(1), term: as<Term>(1), conf };
    const chunks = this.#deps.machine.snapshot();
    this.#io.run(writeSnapshot(this.#options.dir, { meta, members }, chunks), (result) => {
      if (this.#phase !== "recovering") return;
      if (result.ok) this.#recover();
      else {
        const { code, path, message } = result.error;
        const kind = code === "NoSpace" ? "DiskFull" : "Io";
        this.#fatal(kind, `cannot write the founding snapshot: ${code} at "${path}": ${message}`);
      }
    });
  }

  /** Makes the log agree with what the node starts from, durably, before it starts. */
  #settle(log: Log, node: RecoveredNode, done: () => void): void {
    const { restored, damage } = node;
    const { contents } = node.log;
    const base = restored.snapshot;
    const isNamed = contents.snapshot !== undefined && contents.snapshot.index >= base.index;
    // Entries on disk that the snapshot overrules must not be found behind it by a later start.
    const last = contents.entries.at(-1);
    const isEnd = last?.index === base.index && last.term === base.term;
    const isReplaced = restored.entries.length === 0 && last !== undefined && !isEnd;
    const persist: { -readonly [K in keyof Omit<Persist, "seq">]: Omit<Persist, "seq">[K] } = {
      entries: [],
    };
    if (restored.hardState.term !== contents.hardState.term) persist.hardState = restored.hardState;
    if (base.index > 0 && (damage !== undefined || (!isNamed && isReplaced))) {
      persist.snapshot = base;
    }
    const steps: ((next: () => void) => void)[] = [];
    if (damage !== undefined && !log.damaged) steps.push((next) => log.markDamage(next));
    if (persist.hardState !== undefined || persist.snapshot !== undefined) {
      steps.push((next) => log.append(persist, next));
    }
    if (persist.snapshot === undefined && base.index > 0 && !isNamed) {
      steps.push((next) => log.markSnapshot(base, next));
    }
    const run = (at: number): void => {
      const next = steps[at];
      if (next === undefined) done();
      else next(() => run(at + 1));
    };
    run(0);
  }

  #run(log: Log, node: RecoveredNode): void {
    if (this.#phase !== "recovering") return;
    this.#settling = undefined;
    const deps = {
      ...this.#deps,
      io: this.#io,
      log,
      onFatal: (code: "Corrupt" | "DiskFull" | "Io", reason: string) => this.#fatal(code, reason),
    };
    const engine = new Engine<Response>(this.#options, deps, node);
    if (node.snapshot !== undefined) {
      const restored = engine.restore(node.snapshot);
      if (!restored.ok) {
        this.#fatal("Corrupt", `the snapshot cannot be restored: ${restored.error}`);
        return;
      }
    }
    this.#engine = engine;
    this.#phase = "running";
    engine.onRole = () => this.#deps.onEvent({ kind: "role", status: this.status() });
    engine.announce(node.damage !== undefined);
    const voters = allVoters(engine.state.conf);
    // Nobody else to ask: no reason to wait for an election timeout.
    if (voters.length === 1 && voters[0] === this.#options.id && node.damage === undefined) {
      step(engine.state, { kind: "campaign" });
    }
    engine.pump();
  }

  #fatal(code: "Corrupt" | "DiskFull" | "Io", reason: string): void {
    if (this.#phase === "failed" || this.#phase === "stopped") return;
    this.#phase = "failed";
    this.#engine?.close();
    this.#deps.onEvent({ kind: "fatal", code, reason });
    this.#callStopped();
  }

  /** Takes what happened and does all that follows from it; ignored once stopped or failed. */
  input(input: RaftNodeInput): void {
    if (this.#phase === "stopped" || this.#phase === "failed") return;
    switch (input.kind) {
      case "disk":
        if (this.#io.complete(input.completion)) this.#engine?.pump();
        break;
      case "message":
        this.#engine?.onMessage(input.from, input.message);
        break;
      case "disconnected":
        this.#engine?.onDisconnected(input.peer);
        break;
      case "tick":
        this.#engine?.onTick();
        this.#watchSettling();
        break;
    }
    if (this.#phase === "stopping") this.#tryStop();
  }

  /** Before there is an engine, nobody else looks for room on a full disk. */
  #watchSettling(): void {
    if (this.#settling?.onTick(this.#deps.clock.monotonicMs()) !== "hopeless") return;
    const seconds = limits.DISK_FULL_FATAL_MS / 1000;
    this.#fatal("DiskFull", `no room to open the log for ${seconds} s`);
  }

  /** The running engine, or undefined when nothing may be asked any more or yet. */
  #accepting(): Engine<Response> | undefined {
    return this.#phase === "running" ? this.#engine : undefined;
  }

  #unavailable(): Result<never, ProposeError> {
    const isStarting = this.#phase === "new" || this.#phase === "recovering";
    return err(isStarting ? { code: "NoLeader" } : { code: "Stopped" });
  }

  /**
   * Proposes a command; on a follower it is forwarded to the leader. `done` is called once: with the
   * result of `apply` on this node, or with why not. `deadlineMs` is a point on the monotonic clock.
   */
  propose(
    data: Uint8Array,
    deadlineMs: number,
    done: (result: Result<Proposed<Response>, ProposeError>) => void,
  ): void {
    // Safe: a command's entry always carries what apply returned.
    this.#add("command", data, deadlineMs, done as Proposal<Response>["done"]);
  }

  /** Adds, promotes or removes a member. `done` gives the index at which the change took effect here. */
  changeMembership(
    change: AnyConfChange,
    deadlineMs: number,
    done: (result: Result<LogIndex, ProposeError>) => void,
  ): void {
    this.#add("config", encodeAnyChange(change), deadlineMs, (result) =>
      done(result.ok ? ok(result.value.index) : result),
    );
  }

  #add(
    kind: "command" | "config",
    data: Uint8Array,
    deadlineMs: number,
    done: Proposal<Response>["done"],
  ): void {
    const engine = this.#accepting();
    const refused = engine === undefined ? this.#unavailable() : engine.refusal(data.length);
    if (engine === undefined || refused !== undefined) {
      done(refused ?? this.#unavailable());
      return;
    }
    if (engine.log.stalled) {
      done(err({ code: "DiskFull" }));
      return;
    }
    engine.proposals.add({ kind, data, deadlineMs, done });
    this.#pumpSoon(engine);
  }

  /** Calls made in one turn share an append, or a read round, where there is a `soon`. */
  #pumpSoon(engine: Engine<Response>): void {
    const { soon } = this.#deps;
    if (soon === undefined) {
      engine.pump();
    } else if (!this.#isPumpDue) {
      this.#isPumpDue = true;
      soon(() => {
        this.#isPumpDue = false;
        engine.pump();
      });
    }
  }

  /** A linearizable read point: `done` is called once everything up to it is applied on this node. */
  readIndex(deadlineMs: number, done: (result: Result<LogIndex, ProposeError>) => void): void {
    this.#read(deadlineMs, { hereOnly: false, isLease: false }, done);
  }

  /** As readIndex, but answers only if this node itself leads: NoLeader otherwise. */
  confirmLeadership(
    deadlineMs: number,
    done: (result: Result<LogIndex, ProposeError>) => void,
  ): void {
    this.#read(deadlineMs, { hereOnly: true, isLease: false }, done);
  }

  #read(
    deadlineMs: number,
    how: { readonly hereOnly: boolean; readonly isLease: boolean },
    done: (result: Result<LogIndex, ProposeError>) => void,
  ): void {
    const engine = this.#accepting();
    if (engine === undefined) done(this.#unavailable());
    else if (engine.reads.count >= limits.PENDING_READS_MAX) done(err({ code: "Overloaded" }));
    else {
      engine.reads.add({ deadlineMs, ...how, done });
      this.#pumpSoon(engine);
    }
  }

  /** Asks `to` to lead instead of this node; nothing happens when this node does not lead. */
  transferLeader(to: PeerId): void {
    const engine = this.#accepting();
    if (engine === undefined) return;
    step(engine.state, { kind: "transferLeader", to });
    engine.pump();
  }

  /**
   * As confirmLeadership, but without a quorum round while the lease holds. Needs the option
   * `leaseReads`; without it, a round each time.
   */
  leaseRead(deadlineMs: number, done: (result: Result<LogIndex, ProposeError>) => void): void {
    this.#read(deadlineMs, { hereOnly: true, isLease: true }, done);
  }

  /** Takes a snapshot now, unless one is under way or there is nothing new. */
  takeSnapshot(): void {
    this.#accepting()?.takeSnapshot();
  }

  /** The protocol's view; before recovery is done, of a follower that knows nothing. */
  status(): RaftStatus {
    if (this.#engine !== undefined) return status(this.#engine.state);
    const zero = as<LogIndex>(0);
    return {
      id: this.#options.id,
      role: "follower",
      term: as<Term>(0),
      leader: 0,
      commit: zero,
      applied: zero,
      lastIndex: zero,
      conf: emptyConf(),
      progress: [],
    };
  }

  /** What the protocol's status does not tell. */
  inspect(): RaftNodeInspection {
    const engine = this.#engine;
    const phase = this.#phase;
    return {
      phase: phase === "new" || phase === "recovering" ? "starting" : phase,
      disk: engine?.diskState ?? this.#settling?.state ?? "fine",
      damaged: engine?.log.damaged ?? false,
      pendingProposals: engine?.proposals.count ?? 0,
      pendingReads: engine?.reads.count ?? 0,
      snapshotIndex: engine?.state.snapshot.index ?? as<LogIndex>(0),
    };
  }

  /** Whether a proposal of so many bytes would be taken now. */
  hasRoom(bytes: number): boolean {
    const engine = this.#accepting();
    return engine !== undefined && engine.refusal(bytes) === undefined;
  }

  /** @internal The protocol's state, to be looked at only: for the simulator's checkers. */
  protocol(): Readonly<RaftState> | undefined {
    return this.#engine?.state;
  }

  /** Members as of what was applied here, by id. */
  members(): Member[] {
    return this.#engine?.applier.members() ?? [];
  }

  /**
   * Stops gracefully: takes nothing more, hands leadership over, lets the log come to rest. Bounded by
   * STOP_TRANSFER_TICKS, so ticks must go on until `done`.
   */
  stop(done: () => void): void {
    this.#stopped.push(done);
    if (this.#phase === "failed" || this.#phase === "stopped") {
      this.#callStopped();
    } else if (this.#engine === undefined) {
      this.#phase = "stopped";
      this.#callStopped();
    } else if (this.#phase === "running") {
      this.#phase = "stopping";
      this.#stopAtTick = this.#engine.tickCount + limits.STOP_TRANSFER_TICKS;
      handOver(this.#engine.state);
      this.#engine.pump();
      this.#tryStop();
    }
  }

  #tryStop(): void {
    const engine = this.#engine;
    if (engine === undefined || this.#phase !== "stopping") return;
    if (engine.tickCount < this.#stopAtTick) {
      const others = allVoters(engine.state.conf).some((peer) => peer !== this.#options.id);
      if (engine.state.role === "leader" && others) {
        // Whoever was asked first did not take over within an election timeout.
        if (engine.state.transferee === 0 && handOver(engine.state)) engine.pump();
        return;
      }
      if (!engine.log.idle) return;
    }
    this.#phase = "stopped";
    engine.close();
    this.#callStopped();
  }

  #callStopped(): void {
    for (const done of this.#stopped.splice(0)) done();
  }
}

/** A format of a later version becomes a value: it must neither crash the process nor look like rot. */
function* guarded(task: IoTask<RecoveredNode>): IoTask<Recovery> {
  try {
    return { kind: "recovered", node: yield* task };
  } catch (caught) {
    if (!(caught instanceof UnknownVersionError)) throw caught;
    return { kind: "unreadable", reason: caught.message };
  }
}
