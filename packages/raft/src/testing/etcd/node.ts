/**
 * One member as etcd's interaction tests drive it: our protocol in the dialect of etcd, and around
 * it what its RawNode, its MemoryStorage and its test's state machine do. Every decision of the
 * protocol is made by `step`, `ready`, `advance` and `applyConfChange`; here it is stored, applied
 * and put into etcd's words.
 *
 * One thing cannot be shown: our messages name the write that they wait for, and more of them wait
 * than etcd's (a request for votes waits for the term it is made in). Etcd knows but two classes,
 * those that leave at once and those that answer an append, and so does this view.
 */

import { Prng, present, type LogIndex, type PeerId } from "@blixard/std";
import {
  advance,
  applyConfChange,
  createRaft,
  decodeAnyChange,
  hasReady,
  joiner,
  lastIndex,
  membersOf,
  ready,
  step,
  type Entry,
  type HardState,
  type Message,
  type Persist,
  type RaftConfig,
  type RaftState,
  type Ready,
  type Role,
  type SnapshotMeta,
} from "../../index.ts";
import { allVoters } from "../../quorum.ts";
import { logLastTerm, termAt, toIndex, toTerm } from "../../log.ts";
import { describeEntry, describeHardState, describeMessage, describeSnapshot } from "./describe.ts";
import { describeStart, describeTraced, type LogLine } from "./log.ts";
import { STATE_NAMES, type AnyMessage, type StorageMessage } from "./describe.ts";

const ACKS: readonly AnyMessage["kind"][] = ["appendReply", "voteReply", "preVoteReply"];
const REPLIES: readonly AnyMessage["kind"][] = [...ACKS, "heartbeatReply", "readIndexReply"];

/** What MemoryStorage holds. */
interface Storage {
  offset: number;
  entries: Entry[];
}

/** A Ready with what etcd adds to it. */
interface Handed {
  readonly persist: Persist | undefined;
  readonly committed: readonly Entry[];
  readonly messages: readonly Message[];
  readonly acks: readonly Message[];
}

export class EtcdNode {
  readonly id: PeerId;
  readonly state: RaftState;
  readonly appendWork: StorageMessage[] = [];
  readonly applyWork: StorageMessage[] = [];
  readonly #isAsync: boolean;
  readonly #storage: Storage;
  #hardState: HardState;
  #latest: SnapshotMeta;
  readonly #log: LogLine[] = [];
  #seenRole: Role = "follower";
  #seenLeader: PeerId | 0 = 0;

  constructor(config: RaftConfig, snapshot: SnapshotMeta | undefined) {
    this.id = config.id;
    this.#isAsync = config.storage === "async";
    const empty = joiner();
    this.#latest = snapshot ?? empty.snapshot;
    this.#hardState = { term: toTerm(0), vote: 0, commit: this.#latest.index };
    const restored = { ...empty, hardState: this.#hardState, snapshot: this.#latest };
    this.state = createRaft(config, restored, new Prng(config.id));
    this.#storage = { offset: this.#latest.index, entries: [] };
    this.#log.push(...describeStart(this.state, allVoters(this.state.conf), this.#latest.index));
  }

  /** What etcd's logger would have written since it was last asked. */
  takeLog(): readonly LogLine[] {
    this.#gather();
    return this.#log.splice(0);
  }

  #gather(): void {
    const traced = this.state.trace?.splice(0) ?? [];
    for (const each of traced) this.#log.push(...describeTraced(this.state, each));
  }

  get hasReady(): boolean {
    const { role, leader } = this.state;
    return role !== this.#seenRole || leader !== this.#seenLeader || hasReady(this.state);
  }

  /** The latest state that the state machine could be restored from. */
  get snapshot(): SnapshotMeta {
    return this.#latest;
  }

  /** Handles one Ready. @returns the text of it, and what goes out. */
  processReady(): { readonly text: string; readonly out: readonly AnyMessage[] } {
    const soft = this.#softState();
    const handed = splitReady(ready(this.state));
    const { persist, messages, acks, committed } = handed;
    const storage = this.#isAsync ? this.#storageMessages(handed) : [];
    const others = this.#isAsync ? storage : acks.filter(({ to }) => to !== this.id);
    const out = [...messages, ...others];
    const text = this.#describe(soft, handed, out);
    if (persist?.hardState !== undefined) this.#hardState = persist.hardState;
    if (this.#isAsync) {
      for (const each of storage) {
        (each.kind === "storageAppend" ? this.appendWork : this.applyWork).push(each);
      }
      return { text, out: messages };
    }
    if (persist !== undefined) this.#write(persist);
    this.#apply(committed);
    this.#advance(handed);
    return { text, out };
  }

  /** The order is etcd's: own acknowledgements, the writes they rest on, then what was applied. */
  #advance({ persist, acks, committed }: Handed): void {
    for (const message of acks) {
      if (message.to === this.id) step(this.state, { kind: "message", message });
    }
    if (persist !== undefined) advance(this.state, { kind: "persisted", seq: persist.seq });
    const last = committed.at(-1);
    if (last !== undefined) advance(this.state, { kind: "applied", index: last.index });
  }

  #softState(): string {
    const { role, leader } = this.state;
    if (role === this.#seenRole && leader === this.#seenLeader) return "";
    this.#seenRole = role;
    this.#seenLeader = leader;
    return `Lead:${leader} State:${STATE_NAMES[role]}\n`;
  }

  #describe(soft: string, { persist, committed }: Handed, out: readonly AnyMessage[]): string {
    const { hardState, entries = [], snapshot } = persist ?? {};
    const before = this.#hardState;
    let text = soft;
    if (hardState !== undefined) text += `HardState ${describeHardState(hardState)}\n`;
    const list = (all: readonly Entry[]): string =>
      all.map((entry) => `${describeEntry(entry)}\n`).join("");
    if (entries.length > 0) text += `Entries:\n${list(entries)}`;
    if (snapshot !== undefined) text += `Snapshot ${describeSnapshot(snapshot)}\n`;
    if (committed.length > 0) text += `CommittedEntries:\n${list(committed)}`;
    if (out.length > 0) text += `Messages:\n${out.map((m) => `${describeMessage(m)}\n`).join("")}`;
    if (text === "") return "<empty Ready>";
    const isNew = hardState?.term !== before.term || hardState.vote !== before.vote;
    const mustSync = entries.length > 0 || (hardState !== undefined && isNew);
    return `Ready MustSync=${mustSync}:\n${text}`;
  }

  #storageMessages({ persist, acks, committed }: Handed): StorageMessage[] {
    const messages: StorageMessage[] = [];
    const { state } = this;
    const none = { node: this.id, term: toTerm(0), logTerm: 0, index: 0, seq: 0 } as const;
    if (persist !== undefined || acks.length > 0) {
      const { hardState, entries = [], snapshot } = persist ?? {};
      const isUnstable = lastIndex(state) > Math.max(state.io.durableIndex, state.log.offset);
      const seq = state.io.nextSeq - 1;
      const responses: AnyMessage[] = [...acks];
      if (isUnstable || snapshot !== undefined) {
        const at = isUnstable ? { index: lastIndex(state), logTerm: logLastTerm(state.log) } : {};
        const kind = "storageAppendResp";
        const about = snapshot === undefined ? {} : { snapshot };
        const base = { ...none, kind, entries: [], responses: [], seq } as const;
        responses.push({ ...base, term: state.term, ...at, ...about });
      }
      const hard = hardState === undefined ? {} : { hardState };
      const snap = snapshot === undefined ? {} : { snapshot };
      messages.push({ ...none, kind: "storageAppend", entries, responses, seq, ...hard, ...snap });
    }
    if (committed.length > 0) {
      const base = { ...none, entries: committed } as const;
      const response = { ...base, kind: "storageApplyResp", responses: [] } as const;
      messages.push({ ...base, kind: "storageApply", responses: [response] });
    }
    return messages;
  }

  /** One message of the append thread, or undefined. */
  processAppend(): StorageMessage | undefined {
    const work = this.appendWork.shift();
    if (work === undefined) return undefined;
    const { entries, snapshot, seq, responses } = work;
    this.#write(snapshot === undefined ? { seq, entries } : { seq, entries, snapshot });
    // Where nothing is acknowledged, nothing was unstable but the hard state.
    const isAcknowledged = responses.some(({ kind }) => kind === "storageAppendResp");
    if (!isAcknowledged && seq > 0) advance(this.state, { kind: "persisted", seq });
    return work;
  }

  /** One message of the apply thread, or undefined. */
  processApply(): StorageMessage | undefined {
    const work = this.applyWork.shift();
    if (work !== undefined) this.#apply(work.entries);
    return work;
  }

  /** Takes a message from the network or from a thread. @returns what etcd says about it. */
  receive(message: AnyMessage): string | undefined {
    if ("responses" in message) {
      this.#onStorage(message);
      return undefined;
    }
    const isStranger = !membersOf(this.state.conf).includes(message.from);
    if (REPLIES.includes(message.kind) && isStranger) return "raft: cannot step as peer not found";
    const refused = step(this.state, { kind: "message", message });
    if (refused === undefined || message.kind === "transferLeader") return undefined;
    if (message.kind === "propose") return "raft proposal dropped";
    return `${refused.code} ${"reason" in refused ? refused.reason : ""}`;
  }

  #onStorage(work: StorageMessage): void {
    const { kind, term, seq, snapshot, entries } = work;
    const last = entries.at(-1);
    if (kind === "storageApplyResp" && last !== undefined) {
      advance(this.state, { kind: "applied", index: last.index });
    }
    // In a later term the entries may have been replaced: a later answer tells (as in etcd).
    const isCurrent = term === this.state.term || snapshot !== undefined;
    if (kind === "storageAppendResp") this.#noteStable(work);
    if (kind === "storageAppendResp" && isCurrent) {
      advance(this.state, { kind: "persisted", seq });
    }
  }

  /** Etcd says so where an answer is not about what it still waits for. */
  #noteStable({ term, index, logTerm }: StorageMessage): void {
    if (index === 0) return;
    const { state } = this;
    this.#gather();
    const say = (text: string): void => {
      this.#log.push({ level: "INFO", text });
    };
    if (term < state.term) {
      const what = "ignored entry appends from a MsgStorageAppendResp message with lower term";
      say(`${this.id.toString(16)} [term: ${state.term}] ${what} [term: ${term}]`);
    } else if (index <= state.io.durableIndex || index > lastIndex(state)) {
      say(`entry at index ${index} missing from unstable log; ignoring`);
    } else if (termAt(state.log, index) !== logTerm) {
      const own = `(${index},${termAt(state.log, index) ?? 0})`;
      const what = `entry at (index,term)=(${index},${logTerm}) mismatched with entry at ${own}`;
      say(`${what} in unstable log; ignoring`);
    }
  }

  #write({ snapshot, entries }: Persist): void {
    const storage = this.#storage;
    if (snapshot !== undefined) {
      storage.offset = snapshot.index;
      storage.entries = [];
      this.#latest = snapshot;
    }
    const fresh = entries.filter(({ index }) => index > storage.offset);
    const first = fresh[0];
    if (first === undefined) return;
    storage.entries.length = first.index - storage.offset - 1;
    storage.entries.push(...fresh);
  }

  /** The test's state machine takes a snapshot after every entry. */
  #apply(entries: readonly Entry[]): void {
    for (const { kind, data, index, term } of entries) {
      let { conf } = this.state;
      if (kind === "config") {
        const change = decodeAnyChange(data);
        conf = applyConfChange(this.state, change.ok ? change.value : undefined);
      }
      this.#latest = { index, term, conf };
      this.#report(this.state.log.offset);
    }
  }

  #report(upTo: LogIndex): void {
    advance(this.state, { kind: "compacted", meta: this.#latest, upTo });
  }

  compact(index: number): void {
    const storage = this.#storage;
    storage.entries.splice(0, index - storage.offset);
    storage.offset = index;
    this.#report(toIndex(index));
  }

  log(): string {
    const { offset, entries } = this.#storage;
    if (entries.length > 0) return entries.map((entry) => `${describeEntry(entry)}\n`).join("");
    return `log is empty: first index=${offset + 1}, last index=${offset}`;
  }

  /** Whom the next election timeout catches, and when. */
  setElectionTimeout(ticks: number): void {
    this.state.electionTimeout = ticks;
  }
}

function splitReady(due: Ready | undefined): Handed {
  const all = (due?.messages ?? []).map(({ message }) => message);
  return {
    persist: due?.persist,
    committed: due?.committed ?? [],
    messages: all.filter(({ kind }) => !ACKS.includes(kind)),
    acks: all.filter(({ kind }) => ACKS.includes(kind)),
  };
}

export function onlyNode(nodes: readonly EtcdNode[], id: number): EtcdNode {
  return present(nodes[id - 1], `node ${id}`);
}
