/**
 * One member of the protocol alone: its durable state is kept in memory and written in order, with
 * delays; what is under way at a crash is kept up to some point. This is the least that a driver of
 * the protocol must do, so it also shows what the protocol promises to any driver.
 */

import type {
  Entry,
  HardState,
  Input,
  Message,
  Outgoing,
  Persist,
  RaftState,
  RaftStatus,
  Ready,
  Restored,
  SnapshotMeta,
  StepError,
} from "@blixard/raft";
import {
  advance,
  applyConfChange,
  createRaft,
  decodeConfChange,
  decodeMessage,
  encodeMessage,
  ready,
  status,
  step,
} from "@blixard/raft";
import { as, type Network, type PeerId, type Prng, type Term } from "@blixard/std";
import type { RaftChecker } from "./checker.ts";
import { SimClock } from "./clock.ts";
import { Ledger } from "./ledger.ts";
import type { Victim } from "./nemesis.ts";
import type { SimNetwork } from "./network.ts";
import type { Mutant } from "./run.ts";
import { type Host, violated, type World } from "./world.ts";

/** What all members share. */
export interface RaftMemberDeps {
  readonly world: World;
  readonly checker: RaftChecker;
  /** The state at an index, for whoever installs a snapshot; filled by whoever takes one. */
  readonly snapshots: Map<number, readonly number[]>;
  readonly network: SimNetwork;
  readonly mutant: Mutant | undefined;
  /** The longest that a write takes to become durable. */
  readonly persistUs: number;
  /**
   * Chance that a member dies at the worst moment, and is back at once: as soon as it has given its
   * vote, or while it replaces a part of its log.
   */
  readonly diesAtWork: number;
}

interface Durable {
  hardState: HardState;
  snapshot: SnapshotMeta;
  entries: Entry[];
}

const TICK_MS = 20;
const COMPACT_EVERY = 24;
const ELECTION_TICKS = 10;

/** A read or proposal that waits at this member. */
interface Waiting {
  readonly done: (index: number | undefined) => void;
}

export class RaftMember implements Victim {
  readonly host: Host;
  readonly clock: SimClock;
  raft: RaftState;
  ledger: Ledger;
  installs = 0;
  repairs = 0;
  /** The durable mark of lost log content; stays until the protocol says that it is repaired. */
  isDamaged = false;
  readonly #deps: RaftMemberDeps;
  readonly #port: Network;
  #seenCommit = 0;
  readonly #random: Prng;
  #durable: Durable;
  #persists: Persist[] = [];
  #durableSeq = 0;
  #held: Outgoing[] = [];
  #toApply: Entry[] = [];
  #isApplying = false;
  #reads = new Map<number, Waiting>();
  #nextRead = 1;
  /** Reads that wait until their index is applied. */
  #readsAt: { index: number; waiting: Waiting }[] = [];
  #proposals = new Map<number, { term: number; waiting: Waiting }>();

  constructor(deps: RaftMemberDeps, id: number, random: Prng, initial: Restored) {
    this.#deps = deps;
    this.#random = random;
    this.host = { id, incarnation: 0, up: false, pausedUntilUs: 0 };
    this.clock = new SimClock(deps.world, { rate: 1, monotonicMs: 0, wallMs: 0 });
    this.#port = deps.network.attach(this.host, (_, bytes) => {
      const decoded = decodeMessage(bytes);
      if (!decoded.ok) violated(`a message cannot be decoded: ${decoded.error}`);
      this.input({ kind: "message", message: decoded.value });
    });
    this.#durable = {
      hardState: initial.hardState,
      snapshot: initial.snapshot,
      entries: [...initial.entries],
    };
    this.ledger = new Ledger();
    this.raft = this.#create();
  }

  #create(): RaftState {
    const { snapshot, entries } = this.#durable;
    return createRaft(
      {
        id: as<PeerId>(this.host.id),
        electionTicks: ELECTION_TICKS,
        heartbeatTicks: 2,
        maxAppendBytes: 600,
        maxInflight: 4,
        maxUncommittedBytes: 8192,
        maxApplyBytes: 600,
      },
      {
        hardState: this.#raisedHardState(),
        snapshot,
        entries: [...entries],
        damaged: this.isDamaged,
      },
      this.#random.fork(),
    );
  }

  status(): RaftStatus {
    return status(this.raft);
  }

  restart(): void {
    if (this.host.up) return;
    this.host.up = true;
    this.host.incarnation++;
    this.host.pausedUntilUs = 0;
    this.raft = this.#create();
    this.#seenCommit = this.raft.commit;
    const { snapshot } = this.#durable;
    this.ledger = new Ledger();
    this.ledger.load(snapshot.index, this.#deps.snapshots.get(snapshot.index) ?? []);
    this.#durableSeq = 0;
    this.#scheduleTick();
    this.drive();
  }

  #scheduleTick(): void {
    this.#deps.world.after(this.clock.trueUs(TICK_MS), this.host, "tick", 0, () => {
      this.#scheduleTick();
      this.input({ kind: "tick" });
    });
  }

  kill(): void {
    this.host.up = false;
    this.host.incarnation++;
    // In order, up to some point; the last one perhaps only in part.
    const kept = this.#random.below(this.#persists.length + 1);
    for (const persist of this.#persists.slice(0, kept)) this.#write(persist);
    const torn = this.#persists[kept];
    if (torn !== undefined && this.#random.chance(0.5)) this.#write(this.#firstPartOf(torn));
    this.#persists = [];
    this.#held = [];
    this.#toApply = [];
    this.#isApplying = false;
    this.#reads.clear();
    this.#readsAt = [];
    for (const { waiting } of this.#proposals.values()) waiting.done(undefined);
    this.#proposals.clear();
  }

  cutPower(): void {
    this.kill();
  }

  /** Snapshot, entries, hard state: that is the order in which a persist becomes durable. */
  #firstPartOf({ seq, snapshot, entries }: Persist): Persist {
    if (snapshot !== undefined && this.#random.chance(0.5)) return { seq, entries: [] };
    const length = this.#random.chance(0.5) ? 0 : this.#random.below(entries.length + 1);
    const first = { seq, entries: entries.slice(0, length) };
    return snapshot === undefined ? first : { ...first, snapshot };
  }

  /** The term of what is there is known, even where the hard state that said so was lost. */
  #raisedHardState(): HardState {
    const { hardState, snapshot, entries } = this.#durable;
    const term = Math.max(snapshot.term, entries.at(-1)?.term ?? 0);
    if (hardState.term >= term) return hardState;
    return { term: as<Term>(term), vote: 0, commit: hardState.commit };
  }

  /** Loses acknowledged entries from some point on, as a bad record below the watermark does. */
  rot(random: Prng): string | undefined {
    const { entries } = this.#durable;
    if (entries.length === 0) return undefined;
    const at = random.below(entries.length);
    entries.splice(at);
    this.isDamaged = true;
    return `entry ${at}`;
  }

  #write(persist: Persist): void {
    const durable = this.#durable;
    if (this.#deps.mutant === "lyingSync") return;
    if (persist.hardState !== undefined) {
      const isForgotten = this.#deps.mutant === "forgetVote";
      durable.hardState = isForgotten ? { ...persist.hardState, vote: 0 } : persist.hardState;
    }
    if (persist.snapshot !== undefined) {
      durable.snapshot = persist.snapshot;
      durable.entries = [];
    }
    const [first] = persist.entries;
    if (first !== undefined) {
      durable.entries = durable.entries.filter(({ index }) => index < first.index);
      durable.entries.push(...persist.entries);
    }
  }

  /** Feeds one input to the protocol and carries out what follows. */
  input(input: Input): StepError | undefined {
    const refused = step(this.raft, input);
    this.drive();
    return refused;
  }

  propose(data: Uint8Array, waiting: Waiting): boolean {
    const before = this.status();
    const refused = step(this.raft, { kind: "propose", entries: [data] });
    if (refused === undefined) {
      this.#proposals.set(before.lastIndex + 1, { term: before.term, waiting });
    }
    this.drive();
    return refused === undefined;
  }

  read(waiting: Waiting): boolean {
    const context = this.#nextRead++;
    this.#reads.set(context, waiting);
    const refused = this.input({ kind: "readIndex", context });
    if (refused !== undefined) this.#reads.delete(context);
    return refused === undefined;
  }

  drive(): void {
    for (let out = ready(this.raft); out !== undefined; out = ready(this.raft)) this.#carryOut(out);
    this.#finishReads();
    this.#observe();
    if (!this.#isApplying && this.#toApply.length > 0) {
      this.#isApplying = true;
      const delayUs = this.#random.chance(0.1) ? this.#random.below(30_000) : 0;
      const first = this.#toApply[0]?.index ?? 0;
      this.#deps.world.after(delayUs, this.host, "apply", first, () => this.#apply());
    }
  }

  #carryOut(out: Ready): void {
    if (out.persist !== undefined) this.#startPersist(out.persist);
    for (const outgoing of out.messages) {
      const isReady =
        outgoing.after <= this.#durableSeq || this.#deps.mutant === "sendBeforePersist";
      if (isReady) this.#send(outgoing.message);
      else this.#held.push(outgoing);
    }
    for (const { context, index } of out.reads) {
      const waiting = this.#reads.get(context);
      this.#reads.delete(context);
      if (waiting === undefined) continue;
      if (index === undefined) waiting.done(undefined);
      else this.#readsAt.push({ index, waiting });
    }
    this.#toApply.push(...out.committed);
    if (out.repaired === true) this.#clearDamage();
  }

  #observe(): void {
    const { checker } = this.#deps;
    const { raft } = this;
    const { log } = raft;
    const termAt = (index: number): number | undefined =>
      index === log.offset ? log.offsetTerm : log.entries[index - log.offset - 1]?.term;
    checker.observe(this.host, raft, log.offset + log.entries.length, termAt);
    for (let index = this.#seenCommit + 1; index <= raft.commit; index++) {
      const term = termAt(index);
      if (term !== undefined) checker.committed(this.host, index, term);
    }
    this.#seenCommit = raft.commit;
  }

  #clearDamage(): void {
    this.#deps.world.after(this.#random.between(100, 5000), this.host, "disk", 0, () => {
      this.isDamaged = false;
      this.repairs++;
      this.#deps.world.note(this.host.id, "repaired");
      advance(this.raft, { kind: "repaired" });
      this.drive();
    });
  }

  #startPersist(persist: Persist): void {
    const first = persist.entries[0]?.index ?? Infinity;
    const isReplacing = first <= (this.#durable.entries.at(-1)?.index ?? 0);
    if (isReplacing && this.#random.chance(this.#deps.diesAtWork)) this.#restartSoon();
    this.#persists.push(persist);
    if (this.#persists.length === 1) this.#schedulePersist();
  }

  #schedulePersist(): void {
    const latencyUs = this.#random.between(100, this.#deps.persistUs);
    const seq = this.#persists[0]?.seq ?? 0;
    this.#deps.world.after(latencyUs, this.host, "disk", seq, () => {
      const persist = this.#persists.shift();
      if (persist === undefined) return;
      this.#write(persist);
      this.#durableSeq = persist.seq;
      if (persist.snapshot !== undefined) this.#install(persist.snapshot);
      if (this.#persists.length > 0) this.#schedulePersist();
      advance(this.raft, { kind: "persisted", seq: persist.seq });
      const held = this.#held;
      this.#held = [];
      for (const outgoing of held) {
        if (outgoing.after <= persist.seq) this.#send(outgoing.message);
        else this.#held.push(outgoing);
      }
      this.drive();
    });
  }

  #send(message: Message): void {
    const { checker, world } = this.#deps;
    if (message.kind === "voteReply" && message.granted) {
      checker.voted(this.host.id, message.term, message.to);
      if (this.#random.chance(this.#deps.diesAtWork)) this.#restartSoon();
    }
    this.#port.send(message.to, encodeMessage(message));
    if (message.kind === "snapshot") {
      const ok = this.#random.chance(0.8);
      const peer = message.to;
      world.after(30_000, this.host, "net", peer, () => {
        this.input({ kind: "snapshotSent", peer, ok });
      });
    }
  }

  #restartSoon(): void {
    const { world } = this.#deps;
    world.after(0, this.host, "fault", 3, () => {
      world.note(this.host.id, "! dies at work");
      this.kill();
    });
    world.after(500, undefined, "fault", 4, () => this.restart());
  }

  #install(meta: SnapshotMeta): void {
    const ids = this.#deps.snapshots.get(meta.index);
    if (ids === undefined) violated(`no snapshot was ever taken at ${meta.index}`);
    this.installs++;
    this.ledger.load(meta.index, ids);
    this.#toApply = [];
    if (meta.index > 1) this.#deps.checker.state(this.host, meta.index, this.ledger.hash());
    this.#deps.world.note(this.host.id, `installs snapshot ${meta.index}`);
  }

  #apply(): void {
    const { checker, mutant } = this.#deps;
    this.#isApplying = false;
    const batch = this.#toApply;
    this.#toApply = [];
    for (const entry of batch) {
      checker.applied(this.host, entry);
      this.ledger.index = entry.index;
      if (entry.kind === "command") this.ledger.apply(entry);
      if (entry.kind === "config") this.#applyConf(entry);
      if (mutant === "applyTwice" && this.#random.chance(0.01)) this.ledger.append(0);
      checker.state(this.host, entry.index, this.ledger.hash());
      const proposal = this.#proposals.get(entry.index);
      this.#proposals.delete(entry.index);
      const isMine = proposal !== undefined && proposal.term === entry.term;
      proposal?.waiting.done(isMine ? entry.index : undefined);
    }
    const last = batch.at(-1);
    if (last !== undefined) advance(this.raft, { kind: "applied", index: last.index });
    this.#compact(last);
    this.drive();
  }

  #applyConf(entry: Entry): void {
    const change = decodeConfChange(entry.data);
    if (!change.ok) violated(`entry ${entry.index} is no membership change: ${change.error}`);
    applyConfChange(this.raft, change.value);
  }

  #finishReads(): void {
    const due = this.#readsAt.filter(({ index }) => index <= this.ledger.index);
    if (due.length === 0) return;
    this.#readsAt = this.#readsAt.filter(({ index }) => index > this.ledger.index);
    for (const { waiting } of due) waiting.done(this.ledger.index);
  }

  #compact(last: Entry | undefined): void {
    const durable = this.#durable;
    if (last === undefined || last.index - durable.snapshot.index < COMPACT_EVERY) return;
    const conf = this.status().conf;
    const meta: SnapshotMeta = { index: last.index, term: last.term, conf };
    this.#deps.snapshots.set(meta.index, [...this.ledger.ids]);
    this.#deps.world.after(this.#random.below(20_000), this.host, "disk", meta.index, () => {
      if (meta.index <= durable.snapshot.index) return;
      const held = durable.entries.some(({ index }) => index === meta.index);
      if (!held) return;
      durable.snapshot = meta;
      durable.entries = durable.entries.filter(({ index }) => index > meta.index);
      advance(this.raft, { kind: "compacted", meta });
    });
  }
}
