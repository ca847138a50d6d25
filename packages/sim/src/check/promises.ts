/**
 * What members promise each other by messages must be on their disks: votes, and entries that they
 * acknowledge. Kept from what each member says is durable, over all its lives, and compared with what
 * candidates and leaders count, and with what is there after a restart.
 */

import type { RaftState } from "@blixard/raft";
import { violated } from "../world/world.ts";

/** Of one member, by its own account. */
interface Durable {
  incarnation: number;
  /** The log is durable up to `index`, whose entry is of term `indexTerm`. */
  index: number;
  indexTerm: number;
  /** Durable hard state. */
  term: number;
  vote: number;
  /** Handed out to be written, in this life. */
  handed: { readonly seq: number; readonly term: number; readonly vote: number }[];
  /** The highest durable index in the term that the member is in. */
  inTerm: number;
  inTermIndex: number;
  /** The vote as last seen, and where the log ended when it was given. */
  voteTerm: number;
  voteFor: number;
  voteLastTerm: number;
  voteLastIndex: number;
  /** The last entry of what was durable before the log was damaged; 0: the log is whole. */
  lostIndex: number;
  lostTerm: number;
}

export class Promises {
  readonly #members = new Map<number, Durable>();
  readonly #committedOf: (index: number, term: number) => number;

  /** `committedOf`: how far a log that ends with this entry is known to be committed. */
  constructor(committedOf: (index: number, term: number) => number) {
    this.#committedOf = committedOf;
  }

  /** Whether `voter` has written its vote for `candidate`; true where it has gone on since. */
  hasVoted(voter: number, term: number, candidate: number): boolean {
    const known = this.#members.get(voter);
    if (known === undefined) return false;
    return known.term > term || (known.term === term && known.vote === candidate);
  }

  /** Whether it has written its log up to `index` in `term`; true where it has gone on since. */
  hasWritten(voter: number, term: number, index: number): boolean {
    const known = this.#members.get(voter);
    if (known === undefined) return false;
    return known.inTerm > term || (known.inTerm === term && known.inTermIndex >= index);
  }

  observe(peer: number, incarnation: number, state: RaftState): void {
    const { io } = state;
    let known = this.#members.get(peer);
    if (known === undefined) {
      known = {
        incarnation,
        index: 0,
        indexTerm: 0,
        term: 0,
        vote: 0,
        handed: [],
        inTerm: state.term,
        inTermIndex: 0,
        voteTerm: state.term,
        voteFor: state.vote,
        voteLastTerm: 0,
        voteLastIndex: 0,
        lostIndex: 0,
        lostTerm: 0,
      };
      this.#members.set(peer, known);
    } else if (known.incarnation !== incarnation) {
      known.incarnation = incarnation;
      known.handed = [];
      // Where the log ended when a vote was given that is only seen now, nobody knows.
      known.voteLastTerm = 0;
      known.voteLastIndex = 0;
      if (state.damage.nonce !== 0) noteLost(peer, known, state);
      else {
        // Repaired just before it stopped, or it has forgotten that it is damaged.
        if (known.lostIndex > 0) this.#repaired(peer, known, state);
        recovered(peer, known, state);
      }
    } else if (known.lostIndex > 0 && state.damage.nonce === 0) {
      this.#repaired(peer, known, state);
    } else if (
      state.vote !== 0 &&
      (state.term !== known.voteTerm || state.vote !== known.voteFor)
    ) {
      voted(peer, known, state);
    }
    known.voteTerm = state.term;
    known.voteFor = state.vote;
    if (known.index !== io.durableIndex || known.indexTerm === 0) {
      known.index = io.durableIndex;
      known.indexTerm = termAt(state, io.durableIndex) ?? 0;
    }
    noteWritten(known, io);
    // A damaged member may come back in an earlier term; what it said in the later one was said.
    if (state.term > known.inTerm) {
      known.inTerm = state.term;
      known.inTermIndex = io.durableIndex;
    } else if (state.term === known.inTerm && io.durableIndex > known.inTermIndex) {
      known.inTermIndex = io.durableIndex;
    }
    if (state.role === "candidate") this.#counted(peer, state);
    else if (state.role === "leader") this.#matched(peer, state);
  }

  /** A damaged member is whole once it holds again what its lost acknowledgements have committed. */
  #repaired(peer: number, known: Durable, { io }: RaftState): void {
    const { lostIndex, lostTerm } = known;
    known.lostIndex = 0;
    const committed = this.#committedOf(lostIndex, lostTerm);
    if (io.durableIndex >= committed) return;
    const what = `p${peer} counts as whole with ${io.durableIndex} written`;
    violated("repaired members are whole", `${what}; it had acknowledged ${committed}`);
  }

  /** A candidate counts votes that are durable at those who gave them. */
  #counted(candidate: number, state: RaftState): void {
    const { term, votes, log } = state;
    const lastIndex = log.offset + log.entries.length;
    const lastTerm = log.entries.at(-1)?.term ?? log.offsetTerm;
    for (const [voter, isGranted] of votes) {
      const known = this.#members.get(voter);
      if (!isGranted || voter === candidate || known === undefined) continue;
      if (known.voteTerm === term && known.voteFor === candidate) {
        const { voteLastTerm, voteLastIndex } = known;
        const isBehind =
          lastTerm < voteLastTerm || (lastTerm === voteLastTerm && lastIndex < voteLastIndex);
        if (isBehind) {
          const log1 = `a log up to ${lastIndex} of term ${lastTerm}`;
          const log2 = `p${voter}'s up to ${voteLastIndex} of term ${voteLastTerm}`;
          violated("votes go to whole logs", `p${candidate}, with ${log1}, counts ${log2}`);
        }
      }
      if (known.term > term || (known.term === term && known.vote === candidate)) continue;
      const has = `p${voter} has written term ${known.term}, vote ${known.vote}`;
      violated("votes are durable", `p${candidate} counts its vote in term ${term}; ${has}`);
    }
  }

  /** A leader counts entries that are durable at those who acknowledged them. */
  #matched(leader: number, { term, progress }: RaftState): void {
    for (const { peer, match } of progress.values()) {
      if (peer === leader || match === 0) continue;
      const known = this.#members.get(peer);
      if (known === undefined || known.inTerm !== term || match <= known.inTermIndex) continue;
      const has = `p${peer} has written up to ${known.inTermIndex}`;
      violated(
        "acknowledgements are durable",
        `p${leader} counts ${match} in term ${term}; ${has}`,
      );
    }
  }
}

/** Several terms may be on their way to the disk: each is written once its own persist is. */
function noteWritten(known: Durable, { hardSeq, durableSeq, handedHard }: RaftState["io"]): void {
  const { handed } = known;
  const { term, vote } = handedHard;
  if (hardSeq > durableSeq && handed.at(-1)?.seq !== hardSeq) {
    handed.push({ seq: hardSeq, term, vote });
  }
  for (let first = handed[0]; first !== undefined && first.seq <= durableSeq; first = handed[0]) {
    known.term = first.term;
    known.vote = first.vote;
    handed.shift();
  }
  if (hardSeq > durableSeq) return;
  known.term = term;
  known.vote = vote;
}

/** A vote that was not there before. */
function voted(peer: number, known: Durable, { term, vote, log, damage }: RaftState): void {
  if (damage.nonce !== 0 && vote !== peer) {
    violated("damaged members do not vote", `p${peer} votes for p${vote} in term ${term}`);
  }
  known.voteLastIndex = log.offset + log.entries.length;
  known.voteLastTerm = log.entries.at(-1)?.term ?? log.offsetTerm;
}

function termAt({ log }: RaftState, index: number): number | undefined {
  if (index === log.offset) return log.offsetTerm;
  return log.entries[index - log.offset - 1]?.term;
}

/** A later term, or a vote where there was none. */
function keepsVote(known: Durable, { term, vote }: RaftState): boolean {
  return term > known.term || (term === known.term && (known.vote === 0 || vote === known.vote));
}

/** After a restart with damage term and vote are there: repair rests on that. */
function noteLost(peer: number, known: Durable, state: RaftState): void {
  if (!keepsVote(known, state)) {
    const was = `it had written term ${known.term}, vote ${known.vote}`;
    const is = `p${peer} came back in term ${state.term}, vote ${state.vote}`;
    violated("damaged members keep their vote", `${is}; ${was}`);
  }
  const isLater =
    known.indexTerm > known.lostTerm ||
    (known.indexTerm === known.lostTerm && known.index > known.lostIndex);
  if (known.lostIndex > 0 && !isLater) return;
  known.lostIndex = known.index;
  known.lostTerm = known.indexTerm;
}

/** After a restart without damage everything durable is there: a loss is noticed, or it is none. */
function recovered(peer: number, known: Durable, state: RaftState): void {
  const { term, vote, log, io } = state;
  if (!keepsVote(known, state)) {
    const was = `it had written term ${known.term}, vote ${known.vote}`;
    violated("losses are noticed", `p${peer} came back in term ${term}, vote ${vote}; ${was}`);
  }
  const end = log.offset + log.entries.length;
  const { commit } = io.handedHard;
  if (commit > end) {
    const what = `p${peer} came back with commit ${commit}, and a log up to ${end}`;
    violated("durable commits name durable entries", what);
  }
  if (known.index <= log.offset || termAt(state, known.index) === known.indexTerm) return;
  const was = `it had written ${known.index} of term ${known.indexTerm}`;
  violated("losses are noticed", `p${peer} came back with a log up to ${end}; ${was}`);
}
