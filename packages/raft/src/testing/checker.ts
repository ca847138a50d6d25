/** The safety properties of Raft (paper, figure 3), checked after every step of every member. */

import { assert, type PeerId } from "@blixard/std";
import type { Entry, Message } from "../index.ts";
import { lastIndex, type RaftState } from "../state.ts";
import { termAt } from "../log.ts";
import type { Member } from "./member.ts";

interface Committed {
  readonly entryTerm: number;
  /** Lowest term in which some member knew it committed. */
  readonly seenIn: number;
}

interface Seen {
  life: RaftState;
  term: number;
  commit: number;
  applied: number;
}

export class Checker {
  readonly #leaders = new Map<number, PeerId>();
  readonly #committed: Committed[] = [];
  readonly #applied = new Map<number, string>();
  readonly #votes = new Map<string, PeerId>();
  readonly #seen = new Map<PeerId, Seen>();

  /** The highest index that any member has known committed. */
  get maxCommit(): number {
    return Math.max(0, this.#committed.length - 1);
  }

  /** Term, commit and applied never go back in one life; the term never at all. */
  #monotonic(member: Member): Seen {
    const { state } = member;
    const { term, commit, applied } = state;
    const before = this.#seen.get(member.id);
    const now: Seen = { life: state, term, commit, applied };
    if (before === undefined || before.life !== state) {
      this.#seen.set(member.id, now);
      return { ...now, commit: state.snapshot.index };
    }
    assert(term >= before.term, `member ${member.id}: term went back`);
    assert(commit >= before.commit, `member ${member.id}: commit went back`);
    assert(applied >= before.applied, `member ${member.id}: applied went back`);
    assert(applied <= commit, `member ${member.id}: applied beyond commit`);
    const old = { ...before };
    Object.assign(before, now);
    return old;
  }

  stepped(member: Member): void {
    const before = this.#monotonic(member);
    const { state } = member;
    if (state.role === "leader") this.#leader(state);
    if (state.commit > before.commit) this.#commit(state, before.commit);
  }

  /** Election safety, and leader completeness when a leader is new. */
  #leader(state: RaftState): void {
    const known = this.#leaders.get(state.term);
    if (known === state.id) return;
    assert(known === undefined, `two leaders in term ${state.term}: ${known} and ${state.id}`);
    this.#leaders.set(state.term, state.id);
    for (let index = state.log.offset + 1; index <= this.maxCommit; index++) {
      const entry = this.#committed[index];
      if (entry === undefined || entry.seenIn >= state.term) continue;
      assert(
        termAt(state.log, index) === entry.entryTerm,
        `leader ${state.id} of term ${state.term} lacks committed entry ${index}`,
      );
    }
  }

  /** Whatever is committed anywhere is the same everywhere. */
  #commit(state: RaftState, from: number): void {
    for (let index = Math.max(from, state.log.offset) + 1; index <= state.commit; index++) {
      const entryTerm = termAt(state.log, index) ?? -1;
      const known = this.#committed[index];
      if (known === undefined) {
        this.#committed[index] = { entryTerm, seenIn: state.term };
      } else {
        assert(
          known.entryTerm === entryTerm,
          `entry ${index} committed in terms ${known.entryTerm} and ${entryTerm}`,
        );
        if (known.seenIn > state.term) {
          this.#committed[index] = { entryTerm, seenIn: state.term };
        }
      }
    }
  }

  /** State machine safety. */
  applied(entry: Entry): void {
    const identity = `${entry.term}/${entry.kind}/${entry.data.join()}`;
    const known = this.#applied.get(entry.index);
    assert(known === undefined || known === identity, `entry ${entry.index} applied in two forms`);
    this.#applied.set(entry.index, identity);
  }

  /** One vote for each voter and term, across restarts. */
  sent(message: Message): void {
    let vote: PeerId;
    if (message.kind === "voteReply" && message.granted) vote = message.to;
    else if (message.kind === "vote") vote = message.from;
    else return;
    const key = `${message.term}/${message.from}`;
    const known = this.#votes.get(key);
    assert(known === undefined || known === vote, `member ${key} voted twice`);
    this.#votes.set(key, vote);
  }

  /** Log matching: logs that agree on one entry's term agree on everything before it. */
  logsMatch(members: readonly Member[]): void {
    const states = members.filter((member) => member.up).map((member) => member.state);
    for (const a of states) {
      for (const b of states) if (a.id < b.id) matchPair(a, b);
    }
  }
}

function matchPair(a: RaftState, b: RaftState): void {
  const low = Math.max(a.log.offset, b.log.offset);
  let index = Math.min(lastIndex(a), lastIndex(b));
  while (index > low && termAt(a.log, index) !== termAt(b.log, index)) index--;
  for (; index > low; index--) {
    const x = a.log.entries[index - a.log.offset - 1];
    const y = b.log.entries[index - b.log.offset - 1];
    assert(
      x !== undefined && y !== undefined && x.term === y.term && x.kind === y.kind,
      `logs of ${a.id} and ${b.id} differ at ${index} below a common entry`,
    );
    assert(x.data.join() === y.data.join(), `data of ${a.id} and ${b.id} differ at ${index}`);
  }
}
