/**
 * One running member: the protocol's state and everything that performs its effects.
 *
 *   persist    -> log; once durable: advance, release the messages that waited for it
 *   messages   -> outbox, which holds each back until the write it names is durable
 *   committed  -> state machine, in order; then whoever waited for that index
 *   reads      -> whoever asked
 *
 * Nothing else writes to the log or sends protocol messages.
 */

import type { DiskError, LogIndex, PeerId, Result } from "@blixard/std";
import {
  advance,
  applyConfChange,
  createRaft,
  decodeMessage,
  lastIndex,
  ready,
  step,
} from "@blixard/raft";
import type { Entry, Message, Persist, RaftState, Ready, StepError } from "@blixard/raft";

import type { DiskIo } from "../io.ts";
import * as limits from "../limits.ts";
import type { Log } from "../log/log.ts";
import type { SnapshotId } from "../snapshot/format.ts";
import type { LoadedSnapshot } from "../snapshot/store.ts";
import type { RaftNodeDeps, RaftNodeOptions } from "../types.ts";
import { appendTo, refusalOf } from "./admission.ts";
import type { Refusal } from "./admission.ts";
import { Applier, decodedChange } from "./applier.ts";
import { CommitNotes } from "./commit-notes.ts";
import { DiskWatch } from "./disk-watch.ts";
import type { DiskState } from "./disk-watch.ts";
import { decodeEnvelope, encodeEnvelope } from "./envelope.ts";
import type { Envelope } from "./envelope.ts";
import { Forwards } from "./forwards.ts";
import { handOver } from "./hand-over.ts";
import { Outbox } from "./outbox.ts";
import { Proposals } from "./proposals.ts";
import type { ProposalHost } from "./proposals.ts";
import { protocolOf } from "./protocol.ts";
import { RaftDatagrams } from "./raft-datagrams.ts";
import { Reads } from "./reads.ts";
import { SnapshotReceiver } from "./receiver.ts";
import type { RecoveredNode } from "./recover.ts";
import { RoleWatch } from "./role-watch.ts";
import { SnapshotSender } from "./sender.ts";
import { SnapshotPolicy } from "./snapshot-policy.ts";
import { Snapshots } from "./snapshots.ts";
import { Suspicion } from "./suspicion.ts";

export interface EngineDeps<Response> extends RaftNodeDeps<Response> {
  readonly io: DiskIo;
  readonly log: Log;
  readonly onFatal: (code: "Corrupt" | "DiskFull" | "Io", reason: string) => void;
}

export class Engine<Response> {
  readonly state: RaftState;
  readonly applier: Applier<Response>;
  readonly proposals: Proposals<Response>;
  readonly reads: Reads;
  readonly #options: RaftNodeOptions;
  readonly #deps: EngineDeps<Response>;
  readonly log: Log;
  readonly #life: number;
  readonly #diskWatch: DiskWatch;
  readonly #policy: SnapshotPolicy;
  readonly #roles = new RoleWatch();
  readonly #suspicion: Suspicion;
  readonly #notes: CommitNotes;
  #tickedAtMs: number;
  readonly #outbox: Outbox;
  readonly #datagrams = new RaftDatagrams();
  readonly #forwards: Forwards;
  readonly #sender: SnapshotSender;
  readonly #receiver: SnapshotReceiver;
  readonly #snapshots: Snapshots;
  /** Committed entries that wait until a received snapshot is loaded. */
  #heldBack: Entry[] = [];
  #loading: LogIndex | undefined;
  #pumping = false;
  #again = false;
  #tick = 0;
  #closed = false;

  constructor(options: RaftNodeOptions, deps: EngineDeps<Response>, recovered: RecoveredNode) {
    this.#options = options;
    this.#deps = deps;
    this.log = deps.log;
    this.#tickedAtMs = deps.clock.monotonicMs();
    const { electionTicks, tickMs } = options;
    this.#diskWatch = new DiskWatch(deps.log, electionTicks * tickMs, (state) =>
      deps.onEvent({ kind: "disk", state }),
    );
    const { io, random } = deps;
    const { dir, id } = options;
    this.#life = random.u32();
    this.#policy = new SnapshotPolicy(options, deps.clock);
    this.applier = new Applier(deps.machine, deps.compression);
    this.state = createRaft(protocolOf(options), recovered.restored, random);
    const host = this.#proposalHost();
    const { send } = host;
    this.proposals = new Proposals(host, id);
    this.#forwards = new Forwards(host, options.maxProposalBytes);
    this.reads = new Reads({
      life: this.#life,
      self: id,
      leader: () => this.state.leader,
      readIndex: (context, isLease) => {
        // As late as a whole timeout: whoever asked for a round gets one, lease or not.
        const lateTicks = isLease ? this.#ticksSince(deps.clock.monotonicMs()) : electionTicks;
        return step(this.state, { kind: "readIndex", context, lateTicks });
      },
      send,
    });
    this.#suspicion = new Suspicion(this.state);
    this.#notes = new CommitNotes((message) => this.#sendMessage(message), deps.later);
    this.#outbox = new Outbox((message) => {
      if (!this.#notes.hold(message)) this.#sendMessage(message);
    });
    const onFatal = (error: DiskError): void => this.onDiskError(error);
    this.#sender = new SnapshotSender({
      io,
      dir,
      random,
      send,
      onEnd: (peer, isDone) => {
        step(this.state, { kind: "snapshotSent", peer, ok: isDone });
        if (!isDone) this.#snapshots.ifRotten(this.state.snapshot, () => this.takeSnapshot(true));
        this.#snapshots.prune();
      },
    });
    const isInUse = (file: SnapshotId): boolean =>
      file.index === this.state.snapshot.index ||
      file.index === this.#loading ||
      this.#sender.isSending(file);
    const files = { io, dir, onFatal, isInUse, compression: deps.compression };
    this.#snapshots = new Snapshots(files, recovered.snapshots);
    this.#receiver = new SnapshotReceiver({
      io,
      dir,
      onFatal,
      send,
      hasFile: (file) => this.#snapshots.has(file),
      onReceived: (message) => {
        this.#snapshots.add(message.meta);
        step(this.state, { kind: "message", message });
        this.pump();
      },
    });
    this.#snapshots.prune(recovered.rotten);
  }

  #proposalHost(): ProposalHost {
    return {
      life: this.#life,
      leader: () => ({ peer: this.state.leader, term: this.state.term }),
      isLogBusy: () => !this.log.idle,
      later: this.#deps.later,
      wake: () => this.pump(),
      send: (to, envelope) => this.#send(to, envelope),
      appendHere: (kind, entries) => this.#appendHere(kind, entries),
    };
  }

  #appendHere(
    kind: "command" | "config",
    entries: readonly Uint8Array[],
  ): { readonly lastIndex: LogIndex } | StepError {
    // A leader without room could never commit by its own vote; it hands over instead (onTick).
    if (this.#diskWatch.state !== "fine" || this.log.stalled) return { code: "Overloaded" };
    return appendTo(this.state, kind, entries);
  }

  get diskState(): DiskState {
    return this.#diskWatch.state;
  }

  get tickCount(): number {
    return this.#tick;
  }

  /** Does everything that is due. Calls from within (a callback that proposes) join the running one. */
  pump(): void {
    if (this.#closed) return;
    if (this.#pumping) {
      this.#again = true;
      return;
    }
    this.#pumping = true;
    // A long backlog goes on with the next input, so that messages and ticks are not kept waiting.
    let budget = limits.READY_PER_TURN_MAX;
    try {
      do {
        this.#again = false;
        this.proposals.dispatch(this.#tick);
        this.reads.dispatch(this.#tick);
        while (budget-- > 0) {
          const due = ready(this.state);
          if (due === undefined) break;
          this.#perform(due);
          if (this.#closed) return;
          this.#noteRole();
        }
      } while (this.#again && budget > 0);
    } finally {
      this.#pumping = false;
    }
    this.#noteRole();
    this.#considerSnapshot();
  }

  #perform(due: Ready): void {
    // Those that wait for no write first: the others are slower, who have a wire between.
    this.#outbox.add(due.messages);
    if (due.persist !== undefined) this.#persist(due.persist);
    if (due.committed.length > 0) this.#apply(due.committed);
    for (const read of due.reads) this.reads.onReadState(read);
    if (due.repaired === true) {
      this.log.clearDamage(() => {
        advance(this.state, { kind: "repaired" });
        this.#deps.onEvent({ kind: "repaired" });
        this.pump();
      });
    }
  }

  #persist(persist: Persist): void {
    const { seq, snapshot } = persist;
    if (snapshot !== undefined) this.#loading = snapshot.index;
    this.log.append(persist, () => {
      if (this.#closed) return;
      advance(this.state, { kind: "persisted", seq });
      this.#outbox.onDurable(seq);
      if (snapshot !== undefined) this.#load(persist);
      this.pump();
    });
  }

  /** A received snapshot is in the log for good: the state machine follows. */
  #load({ snapshot }: Persist): void {
    if (snapshot === undefined || snapshot.index !== this.#loading) return;
    this.#snapshots.load(snapshot, (result) => {
      if (this.#closed || snapshot.index !== this.#loading) return;
      if (!result.ok) this.onDiskError(result.error);
      else if (!result.value.ok) this.#corrupt(result.value.error);
      else this.#install(result.value.value);
    });
  }

  #corrupt(reason: string): void {
    this.#deps.onFatal("Corrupt", `the received snapshot cannot be restored: ${reason}`);
  }

  #install(loaded: LoadedSnapshot): void {
    const restored = this.applier.restore(loaded);
    if (!restored.ok) {
      this.#corrupt(restored.error);
      return;
    }
    const { index } = loaded.meta;
    this.#loading = undefined;
    this.#deps.onEvent({ kind: "restored", index });
    this.#emitMembers();
    this.log.release(index);
    this.#snapshots.prune();
    this.proposals.onRestored(index);
    this.reads.onApplied(index);
    const held = this.#heldBack.filter((entry) => entry.index > index);
    this.#heldBack = [];
    if (held.length > 0) this.#apply(held);
    this.pump();
  }

  #apply(entries: readonly Entry[]): void {
    if (this.#loading !== undefined) {
      this.#heldBack.push(...entries);
      return;
    }
    for (const entry of entries) {
      if (this.#closed) return;
      if (entry.kind === "command") {
        this.proposals.onApplied(entry, this.applier.command(entry));
      } else {
        if (entry.kind === "config") this.#applyConfig(entry);
        else this.applier.noop(entry);
        this.proposals.onApplied(entry, undefined);
      }
    }
    if (this.#closed) return;
    const { index } = this.applier;
    advance(this.state, { kind: "applied", index });
    this.reads.onApplied(index);
  }

  #applyConfig(entry: Entry): void {
    const change = decodedChange(entry.data);
    const before = this.state.conf;
    const after = applyConfChange(this.state, change);
    this.applier.config(entry, change, before, after);
    this.#emitMembers();
  }

  #emitMembers(): void {
    const members = this.applier.members();
    this.#deps.onEvent({ kind: "members", conf: this.state.conf, members });
  }

  /** What the owner learns once, before anything else happens. */
  announce(damaged: boolean): void {
    const { index } = this.applier;
    if (index > 0) {
      this.#deps.onEvent({ kind: "restored", index });
      this.#emitMembers();
    }
    this.reads.onApplied(index);
    this.proposals.onRestored(index);
    this.#deps.onEvent({ kind: "recovered", damaged, lastIndex: lastIndex(this.state) });
  }

  #sendMessage(message: Message): void {
    if (message.kind === "snapshot") {
      this.#sender.start(message);
      return;
    }
    const sent = this.#deps.network.send(message.to, this.#datagrams.encode(message));
    if (!sent && message.kind === "append") {
      step(this.state, { kind: "unreachable", peer: message.to });
    }
  }

  #send(to: PeerId, envelope: Envelope): boolean {
    return this.#deps.network.send(to, encodeEnvelope(envelope));
  }

  /** Whatever does not decode, or claims to come from somebody else, is dropped. */
  onMessage(from: PeerId, bytes: Uint8Array): void {
    const decoded = decodeEnvelope(bytes);
    if (!decoded.ok || from === this.#options.id) return;
    const envelope = decoded.value;
    switch (envelope.kind) {
      case "raft":
        this.#onRaft(from, envelope.message);
        break;
      case "forward": {
        const leads = this.state.role === "leader" && this.state.term === envelope.term;
        this.#send(from, this.#forwards.answer(from, envelope, leads));
        this.#notes.onForward(from);
        break;
      }
      case "forwardReply":
        if (envelope.life === this.#life) {
          this.proposals.onReply(from, envelope.term, envelope.outcomes);
        }
        break;
      case "readForward":
        this.reads.onForward(from, envelope.life, envelope.id);
        this.#notes.onForward(from);
        break;
      case "readReply":
        if (envelope.life === this.#life) this.reads.onReply(from, envelope.id, envelope.index);
        break;
      case "snapshotOffer":
        this.#receiver.onOffer(from, envelope);
        break;
      case "snapshotChunk":
        this.#receiver.onChunk(from, envelope);
        break;
      case "snapshotAck":
        this.#sender.onAck(from, envelope);
        break;
    }
    this.pump();
  }

  #onRaft(from: PeerId, bytes: Uint8Array): void {
    const message = decodeMessage(bytes);
    // A snapshot's message comes with its file only.
    if (!message.ok || message.value.from !== from || message.value.kind === "snapshot") return;
    step(this.state, { kind: "message", message: message.value });
  }

  /** Whole ticks since the last one, by the clock. */
  #ticksSince(nowMs: number): number {
    return Math.floor((nowMs - this.#tickedAtMs) / this.#options.tickMs);
  }

  onDisconnected(peer: PeerId): void {
    this.#suspicion.onDisconnected(peer, this.#tick);
    this.pump();
  }

  onTick(): void {
    this.#tick++;
    const nowMs = this.#deps.clock.monotonicMs();
    const missed = Math.max(0, this.#ticksSince(nowMs) - 1);
    this.#tickedAtMs = nowMs;
    step(this.state, { kind: "tick", missed });
    this.#suspicion.onTick(this.#tick);
    this.#notes.onTick(this.#tick);
    this.proposals.onTick(nowMs, this.#tick);
    this.reads.onTick(nowMs, this.#tick);
    this.#sender.onTick();
    this.#receiver.onTick();
    this.#watchDisk(nowMs);
    this.pump();
  }

  #watchDisk(nowMs: number): void {
    const disk = this.#diskWatch.onTick(nowMs);
    if (disk !== "fine") handOver(this.state);
    if (disk !== "hopeless") return;
    const seconds = limits.DISK_FULL_FATAL_MS / 1000;
    this.#deps.onFatal("DiskFull", `no room to write the log for ${seconds} s`);
  }

  onDiskError(error: DiskError): void {
    const reason = `${error.code} at "${error.path}": ${error.message}`;
    this.#deps.onFatal(error.code === "NoSpace" ? "DiskFull" : "Io", reason);
  }

  #noteRole(): void {
    const change = this.#roles.look(this.state);
    if (change === undefined) return;
    if (change.isElected) this.#forwards.onElected(this.state.term);
    if (change.isDeposed) this.#sender.clear();
    this.onRole();
    this.#again = true;
  }

  /** Set by the node, which knows how to describe its status. */
  onRole: () => void = () => undefined;

  #considerSnapshot(): void {
    if (this.#policy.isDue(this.applier.sinceSnapshot)) this.takeSnapshot();
  }

  /** With `again` also where the present one stands, whose file is no good any more. */
  takeSnapshot(again = false): void {
    const { index, term } = this.applier;
    if (this.#snapshots.isTaking || this.#loading !== undefined || this.#closed) return;
    if (index < this.state.snapshot.index + (again ? 0 : 1)) return;
    const meta = { index, term, conf: this.state.conf };
    const header = { meta, members: this.applier.members() };
    this.applier.noteSnapshot();
    this.#policy.onTaken();
    this.#snapshots.take(header, this.applier.snapshot(), (outcome) => {
      if (this.#closed) return;
      if (outcome === "full") {
        this.#policy.onFull();
        return;
      }
      // Overtaken by a received one: the file stays until it is superfluous.
      if (index <= this.state.snapshot.index) return;
      this.log.markSnapshot(meta, () => {
        if (this.#closed || index <= this.state.snapshot.index) return;
        advance(this.state, { kind: "compacted", meta });
        this.log.release(this.#snapshots.fallbackIndex(meta));
        this.#snapshots.prune();
        this.#deps.onEvent({ kind: "snapshot", index });
        this.pump();
      });
    });
  }

  restore(snapshot: LoadedSnapshot): Result<void, string> {
    return this.applier.restore(snapshot);
  }

  close(): void {
    this.#closed = true;
    this.#notes.clear();
    this.proposals.close();
    this.reads.close();
  }

  /** Refuses at once what can never be taken, or for which there is no room now. */
  refusal(bytes: number): Refusal | undefined {
    return refusalOf(bytes, this.#options, this.proposals);
  }
}
