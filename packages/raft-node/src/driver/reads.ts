/** Linearizable reads: an index confirmed by a quorum round, then a wait until it is applied here. */

import { as, err, ok } from "@blixard/std";
import type { LogIndex, PeerId, Result } from "@blixard/std";
import type { ReadState, StepError } from "@blixard/raft";

import { FORWARD_RESEND_TICKS } from "../limits.ts";
import type { ProposeError } from "../types.ts";
import type { Envelope } from "./envelope.ts";

/** Groups of reads under way to the leader; later reads wait for the next group. */
const GROUPS_MAX = 4;
/** Reads of followers that this leader answers at a time. */
const ANSWERS_MAX = 4096;

type Done = (result: Result<LogIndex, ProposeError>) => void;

interface Read {
  readonly deadlineMs: number;
  /** Only this node, as leader, may answer. */
  readonly hereOnly: boolean;
  /** A lease of the leader will do instead of a round. */
  readonly isLease: boolean;
  readonly done: Done;
}

interface Group {
  readonly reads: Read[];
  readonly to: PeerId;
  sentAtTick: number;
}

export interface ReadHost {
  readonly life: number;
  readonly self: PeerId;
  readonly leader: () => PeerId | 0;
  readonly readIndex: (context: number, isLease: boolean) => StepError | undefined;
  readonly send: (to: PeerId, envelope: Envelope) => boolean;
}

export class Reads {
  readonly #host: ReadHost;
  #waiting: Read[] = [];
  /** By request id, asked of the leader over the network. */
  readonly #groups = new Map<number, Group>();
  /** By context, asked of the protocol here. */
  readonly #own = new Map<number, Read[]>();
  readonly #forPeers = new Map<number, { from: PeerId; life: number; id: number }>();
  /** Confirmed, not yet applied. */
  #confirmed: { readonly index: LogIndex; readonly reads: readonly Read[] }[] = [];
  #nextContext = 1;
  #count = 0;
  #applied = as<LogIndex>(0);
  #tick = 0;
  /** Who refused to answer, and when: it is not asked again within the same tick. */
  #refusedBy: PeerId | 0 = 0;
  #refusedAtTick = -1;

  constructor(host: ReadHost) {
    this.#host = host;
  }

  get count(): number {
    return this.#count;
  }

  add(read: Read): void {
    this.#count++;
    this.#waiting.push(read);
  }

  #finish(read: Read, result: Parameters<Done>[0]): void {
    this.#count--;
    read.done(result);
  }

  dispatch(tick: number): void {
    this.#tick = tick;
    if (this.#waiting.length === 0) return;
    const leader = this.#host.leader();
    if (leader === this.#refusedBy && tick <= this.#refusedAtTick) return this.#refuseHereOnly();
    if (leader === this.#host.self) {
      this.#askHere(true);
      this.#askHere(false);
      return;
    }
    this.#refuseHereOnly();
    if (leader === 0 || this.#waiting.length === 0 || this.#groups.size >= GROUPS_MAX) return;
    const id = this.#nextContext++;
    if (!this.#host.send(leader, { kind: "readForward", life: this.#host.life, id })) return;
    this.#groups.set(id, { reads: this.#waiting, to: leader, sentAtTick: tick });
    this.#waiting = [];
  }

  /** Those that take a lease and those that want a round are asked for apart. */
  #askHere(isLease: boolean): void {
    const isMixed = this.#waiting.some((read) => read.isLease !== isLease);
    const asked = isMixed
      ? this.#waiting.filter((read) => read.isLease === isLease)
      : this.#waiting;
    if (asked.length === 0) return;
    const context = this.#nextContext++;
    if (this.#host.readIndex(context, isLease) !== undefined) return;
    this.#own.set(context, asked);
    this.#waiting = isMixed ? this.#waiting.filter((read) => read.isLease !== isLease) : [];
  }

  #refuseHereOnly(): void {
    if (!this.#waiting.some(({ hereOnly }) => hereOnly)) return;
    const refused = this.#waiting.filter(({ hereOnly }) => hereOnly);
    this.#waiting = this.#waiting.filter(({ hereOnly }) => !hereOnly);
    for (const read of refused) this.#finish(read, err({ code: "NoLeader" }));
  }

  /** A follower asks; the answer goes out when the protocol confirms. */
  onForward(from: PeerId, life: number, id: number): void {
    const refuse = (): void => {
      this.#host.send(from, { kind: "readReply", life, id, index: as<LogIndex>(0) });
    };
    if (this.#host.leader() !== this.#host.self || this.#forPeers.size >= ANSWERS_MAX) {
      refuse();
      return;
    }
    const context = this.#nextContext++;
    if (this.#host.readIndex(context, false) === undefined)
      this.#forPeers.set(context, { from, life, id });
    else refuse();
  }

  onReply(from: PeerId, id: number, index: LogIndex): void {
    const group = this.#groups.get(id);
    if (group === undefined || group.to !== from) return;
    this.#groups.delete(id);
    if (index === 0) {
      // Asked again at once, it would refuse again, as often as the network allows.
      this.#refusedBy = from;
      this.#refusedAtTick = this.#tick;
    }
    this.#answered(group.reads, index === 0 ? undefined : index);
  }

  onReadState(read: ReadState): void {
    const peer = this.#forPeers.get(read.context);
    if (peer !== undefined) {
      this.#forPeers.delete(read.context);
      const { from, life, id } = peer;
      const index = read.index ?? as<LogIndex>(0);
      this.#host.send(from, { kind: "readReply", life, id, index });
      return;
    }
    const reads = this.#own.get(read.context);
    if (reads === undefined) return;
    this.#own.delete(read.context);
    this.#answered(reads, read.index);
  }

  /** Without an index the leader lost its place: ask again, whoever leads now. */
  #answered(reads: readonly Read[], index: LogIndex | undefined): void {
    if (index === undefined) {
      this.#waiting.push(...reads);
      return;
    }
    this.#confirmed.push({ index, reads });
    this.#release();
  }

  onApplied(index: LogIndex): void {
    this.#applied = index;
    if (this.#confirmed.length > 0) this.#release();
  }

  #release(): void {
    const ready = this.#confirmed.filter(({ index }) => index <= this.#applied);
    if (ready.length === 0) return;
    this.#confirmed = this.#confirmed.filter(({ index }) => index > this.#applied);
    for (const { index, reads } of ready) {
      for (const read of reads) this.#finish(read, ok(index));
    }
  }

  onTick(nowMs: number, tick: number): void {
    if (this.#count > 0) this.#expire(nowMs);
    for (const [id, group] of this.#groups) {
      if (group.reads.length === 0) this.#groups.delete(id);
      if (tick - group.sentAtTick < FORWARD_RESEND_TICKS) continue;
      const leader = this.#host.leader();
      if (leader === group.to) {
        group.sentAtTick = tick;
        this.#host.send(group.to, { kind: "readForward", life: this.#host.life, id });
      } else {
        this.#groups.delete(id);
        this.#waiting.push(...group.reads);
      }
    }
  }

  #expire(nowMs: number): void {
    const hasLeader = this.#host.leader() !== 0;
    const late: Read[] = [];
    const keep = (reads: readonly Read[]): Read[] =>
      reads.filter((read) => {
        if (read.deadlineMs <= nowMs) late.push(read);
        return read.deadlineMs > nowMs;
      });
    this.#waiting = keep(this.#waiting);
    for (const reads of [
      ...this.#own.values(),
      ...[...this.#groups.values()].map((group) => group.reads),
    ]) {
      const left = keep(reads);
      if (left.length < reads.length) reads.splice(0, reads.length, ...left);
    }
    this.#confirmed = this.#confirmed
      .map(({ index, reads }) => ({ index, reads: keep(reads) }))
      .filter(({ reads }) => reads.length > 0);
    const reason = "the deadline passed before the read was confirmed and applied here";
    for (const read of late) {
      this.#finish(read, err(hasLeader ? { code: "Dropped", reason } : { code: "NoLeader" }));
    }
  }

  close(): void {
    const all = [
      ...this.#waiting.splice(0),
      ...[...this.#own.values()].flat(),
      ...[...this.#groups.values()].flatMap(({ reads }) => reads),
      ...this.#confirmed.splice(0).flatMap(({ reads }) => reads),
    ];
    this.#own.clear();
    this.#groups.clear();
    for (const read of all) this.#finish(read, err({ code: "Stopped" }));
  }
}
