/**
 * The safety properties of Raft (paper, figure 3) as an outside observer sees them, over all members
 * and all their incarnations. Called after every input of a member; each call costs what changed.
 */

import {
  type ConfState,
  type Entry,
  majority,
  type RaftState,
  type SnapshotMeta,
} from "@blixard/raft";
import { digest } from "../world/hash.ts";
import { type Host, violated, type World } from "../world/world.ts";
import { Features } from "./features.ts";
import { Promises } from "./promises.ts";

interface Applied {
  readonly term: number;
  readonly digest: number;
  readonly by: number;
}

/** What was last seen of one member; begins anew with each life. */
interface Seen {
  incarnation: number;
  term: number;
  commit: number;
  applied: number;
  /** The snapshot that its log begins with. */
  snapshot: SnapshotMeta | undefined;
  /** Entries that were compared, by index. */
  readonly entries: (Entry | undefined)[];
}

/** Entries in one map: terms and indexes of a run are small. */
const INDEX_MAX = 2 ** 26;

export class RaftChecker {
  leaderChanges = 0;
  highestAcked = 0;
  highestCommit = 0;
  /** To be shown the same, after `observe`. */
  readonly features: Features;
  readonly #world: World;
  readonly #promises = new Promises((index, term) => this.#committedOf(index, term));
  readonly #seen = new Map<number, Seen>();
  readonly #leaders = new Map<number, number>();
  #highestTerm = 0;
  /** Term of what is committed at each index, by index. */
  readonly #committed: (number | undefined)[] = [];
  /** The first index that was seen committed: what founders start from. */
  #firstCommitted = Number.POSITIVE_INFINITY;
  /** Each entry that any log ever held: its content and the term before it. */
  readonly #entries = new Map<number, { digest: number; before: number }>();
  readonly #applied: (Applied | undefined)[] = [];
  readonly #states = new Map<number, { hash: number | bigint; by: number }>();
  readonly #votes = new Map<number, number>();

  constructor(world: World) {
    this.#world = world;
    this.features = new Features(world, this.#promises);
  }

  observe(host: Host, peer: number, state: RaftState): void {
    let seen = this.#seen.get(peer);
    if (seen === undefined || seen.incarnation !== host.incarnation) {
      const { incarnation } = host;
      seen = { incarnation, term: 0, commit: 0, applied: 0, snapshot: undefined, entries: [] };
      this.#seen.set(peer, seen);
    }
    this.#promises.observe(peer, host.incarnation, state);
    this.#monotonic(peer, seen, state);
    this.#compareLog(peer, seen, state);
    if (seen.snapshot !== state.snapshot) this.#founded(peer, seen, state);
    if (state.commit > seen.commit) {
      if (state.role === "leader") this.#counted(peer, state);
      this.#commit(peer, seen.commit, state);
    }
    seen.term = state.term;
    seen.commit = state.commit;
    seen.applied = state.applied;
    if (state.role === "leader" && this.#leaders.get(state.term) !== peer) {
      this.#elected(host, peer, state);
    }
    // Only what is durable was promised to anybody.
    if (state.vote !== 0 && state.io.hardSeq <= state.io.durableSeq) this.#voted(peer, state);
  }

  #monotonic(peer: number, seen: Seen, state: RaftState): void {
    const { term, commit, applied, log } = state;
    if (term < seen.term) violated("monotonic", `p${peer}: term ${seen.term}, then ${term}`);
    if (commit < seen.commit) {
      violated("monotonic", `p${peer}: commit ${seen.commit}, then ${commit}`);
    }
    if (applied < seen.applied) {
      violated("monotonic", `p${peer}: applied ${seen.applied}, then ${applied}`);
    }
    if (applied > commit) violated("applied is committed", `p${peer}: ${applied} > ${commit}`);
    const { durableIndex } = state.io;
    if (applied > durableIndex) {
      violated("applied is durable here", `p${peer}: ${applied} > ${durableIndex}`);
    }
    const last = log.offset + log.entries.length;
    if (commit > last) violated("committed is held", `p${peer}: commit ${commit}, last ${last}`);
  }

  /** Whoever begins with a snapshot has the membership that comes with it. */
  #founded(peer: number, seen: Seen, { snapshot, conf, handedApply }: RaftState): void {
    seen.snapshot = snapshot;
    if (handedApply > snapshot.index || isSameConf(conf, snapshot.conf)) return;
    const what = `p${peer} has the snapshot at ${snapshot.index} with voters`;
    const voters = `${snapshot.conf.voters.join(",")}, and counts ${conf.voters.join(",")}`;
    violated("snapshots bring their membership", `${what} ${voters}`);
  }

  /** The last of the entries of a log that ends with this one that is known to be committed. */
  #committedOf(last: number, lastTerm: number): number {
    let term = lastTerm;
    for (let index = last; index > 0; index--) {
      if (this.#committed[index] === term) return index;
      const entry = this.#entries.get(term * INDEX_MAX + index);
      if (entry === undefined) return 0;
      term = entry.before;
    }
    return 0;
  }

  /** Log matching: the same (index, term) is the same entry, after the same entries. */
  #compareLog(peer: number, seen: Seen, state: RaftState): void {
    const { log } = state;
    const { entries, offset } = log;
    for (let at = entries.length - 1; at >= 0; at--) {
      const entry = entries[at];
      const index = offset + 1 + at;
      if (entry === undefined || seen.entries[index] === entry) break;
      seen.entries[index] = entry;
      if (entry.kind === "config") this.#proposed(peer, entry, state);
      const before = at === 0 ? log.offsetTerm : (entries[at - 1]?.term ?? 0);
      const key = entry.term * INDEX_MAX + index;
      const known = this.#entries.get(key);
      const sum = digest(entry.data);
      if (known === undefined) this.#entries.set(key, { digest: sum, before });
      else if (known.digest !== sum || known.before !== before) {
        violated("log matching", `p${peer} holds another entry ${index} of term ${entry.term}`);
      }
    }
  }

  /**
   * A leader changes the membership only once an entry of its own term is committed: before that, a
   * change of its predecessor may be one that it does not know of (thesis, 4.1, as corrected in 2015).
   */
  #proposed(peer: number, { index, term }: Entry, state: RaftState): void {
    if (state.role !== "leader" || term !== state.term) return;
    const [first] = state.configs;
    if (first !== undefined && first < index) {
      violated("one membership change at a time", `p${peer} proposed ${index} behind ${first}`);
    }
    const { log, commit } = state;
    const committed = commit === log.offset ? log.offsetTerm : entryTerm(log, commit);
    if (committed === term) return;
    const what = `p${peer}, leader of term ${term}, proposed ${index} when ${commit} of term`;
    violated("membership waits for its term", `${what} ${committed ?? "?"} was committed`);
  }

  /** A leader commits by counting copies of entries of its own term only (figure 8). */
  #counted(peer: number, { log, term, commit }: RaftState): void {
    const counted = entryTerm(log, commit);
    if (counted === undefined || counted === term) return;
    const what = `p${peer}, leader of term ${term}, committed ${commit} of term ${counted}`;
    violated("leaders commit their own term", what);
  }

  #commit(peer: number, from: number, state: RaftState): void {
    const { log, commit } = state;
    for (let index = Math.max(from + 1, log.offset + 1); index <= commit; index++) {
      const term = log.entries[index - log.offset - 1]?.term;
      if (term === undefined) continue;
      const known = this.#committed[index];
      if (known === undefined) {
        this.#committed[index] = term;
        this.#firstCommitted = Math.min(this.#firstCommitted, index);
      } else if (known !== term) {
        violated(
          "state machine safety",
          `index ${index} is committed with term ${known}, and on p${peer} with ${term}`,
        );
      }
    }
    this.highestCommit = Math.max(this.highestCommit, commit);
  }

  #elected(host: Host, peer: number, state: RaftState): void {
    const { term, log } = state;
    const leader = this.#leaders.get(term);
    if (leader !== undefined) {
      violated("one leader a term", `term ${term} is led by p${leader} and p${peer}`);
    }
    this.#leaders.set(term, peer);
    this.leaderChanges++;
    // Else it could vote for another in this very term after a restart.
    if (state.io.hardSeq > state.io.durableSeq || state.io.handedHard.vote !== state.vote) {
      violated(
        "a leader's vote is durable",
        `p${peer} leads term ${term} before it has written it`,
      );
    }
    const last = log.offset + log.entries.length;
    this.#world.note(host.id, `leads term ${term}, last index ${last}`);
    // One that wins an old term late need not hold what was committed in newer ones.
    if (term < this.#highestTerm) return;
    this.#highestTerm = term;
    if (last < this.highestAcked) {
      const missing = `leads term ${term} to ${last}, but ${this.highestAcked} was acknowledged`;
      violated("acknowledged is durable", `p${peer} ${missing}`);
    }
    // What is compacted away was committed here, and compared then.
    const from = Math.max(this.#firstCommitted, log.offset + 1);
    for (let index = from; index < this.#committed.length; index++) {
      const committed = this.#committed[index];
      const held = log.entries[index - log.offset - 1]?.term;
      if (committed === undefined || held === committed) continue;
      violated(
        "leader completeness",
        `p${peer} leads term ${term} without the committed entry ${index} of term ` +
          `${committed}: it holds ${held ?? "nothing"}`,
      );
    }
  }

  /** One vote a term, also across restarts. */
  #voted(peer: number, { term, vote }: RaftState): void {
    const key = term * 4096 + peer;
    const before = this.#votes.get(key);
    if (before === undefined) this.#votes.set(key, vote);
    else if (before !== vote) {
      violated("one vote a term", `p${peer} voted for p${before} and p${vote} in term ${term}`);
    }
  }

  /**
   * Configurations that follow each other have a member in common in any two of their quorums. Call
   * it for each that takes effect; without `before` the member begins anew, or leaps by a snapshot.
   */
  configured(peer: number, before: ConfState | undefined, conf: ConfState): void {
    if (before === undefined || before.voters.length === 0) return;
    leavesWhole(peer, before, conf);
    if (overlap(before, conf)) return;
    const show = ({ voters, votersOutgoing }: ConfState): string =>
      `${voters.join(",")}${votersOutgoing.length > 0 ? ` & ${votersOutgoing.join(",")}` : ""}`;
    violated("membership safety", `p${peer} went from ${show(before)} to ${show(conf)} at once`);
  }

  /** State-machine safety: the same index holds the same bytes everywhere. */
  applied(host: Host, entry: Pick<Entry, "index" | "term" | "data">): void {
    const { index, term } = entry;
    const sum = digest(entry.data);
    const known = this.#applied[index];
    if (known === undefined) this.#applied[index] = { term, digest: sum, by: host.id };
    else if (known.term !== term || known.digest !== sum) {
      violated(
        "state machine safety",
        `index ${index} differs: n${known.by} applied term ${known.term}, n${host.id} ${term}`,
      );
    }
    const committed = this.#committed[index];
    if (committed !== undefined && committed !== term) {
      violated("state machine safety", `n${host.id} applied ${index} of term ${term}`);
    }
  }

  /** Equal state at equal index, whether reached by entries or by a snapshot. */
  state(host: Host, index: number, hash: number | bigint): void {
    const known = this.#states.get(index);
    if (known === undefined) this.#states.set(index, { hash, by: host.id });
    else if (known.hash !== hash) {
      violated("equal state at equal index", `${index}: n${known.by} and n${host.id} differ`);
    }
  }

  /** A client was told that its command is committed at `index`. */
  acknowledged(index: number): void {
    if (index > this.highestAcked) this.highestAcked = index;
    if (this.#applied[index] === undefined) {
      violated("acknowledged is durable", `index ${index} was acknowledged and applied nowhere`);
    }
  }
}

function entryTerm({ entries, offset }: RaftState["log"], index: number): number | undefined {
  return entries[index - offset - 1]?.term;
}

/** Leaving a joint configuration removes its outgoing half, and nobody else. */
function leavesWhole(peer: number, before: ConfState, conf: ConfState): void {
  if (before.votersOutgoing.length === 0 || conf.votersOutgoing.length > 0) return;
  const list = (peers: readonly number[]): string => peers.toSorted((a, b) => a - b).join();
  const learners = list([...before.learners, ...before.learnersNext]);
  if (list(before.voters) === list(conf.voters) && learners === list(conf.learners)) return;
  const was = `voters ${list(before.voters)}, learners ${learners}`;
  const is = `voters ${list(conf.voters)}, learners ${list(conf.learners)}`;
  violated("a joint change ends as it began", `p${peer} left ${was} for ${is}`);
}

function isSameConf(a: ConfState, b: ConfState): boolean {
  const lists = (conf: ConfState): string =>
    [conf.voters, conf.votersOutgoing, conf.learners, conf.learnersNext]
      .map((ids) => ids.join())
      .join(";");
  return a === b || lists(a) === lists(b);
}

function union(a: readonly number[], b: readonly number[]): number {
  return new Set([...a, ...b]).size;
}

/** A quorum is a majority of each part that has members. */
function overlap(a: ConfState, b: ConfState): boolean {
  const parts = (conf: ConfState) =>
    [conf.voters, conf.votersOutgoing].filter((part) => part.length > 0);
  return parts(a).some((x) =>
    parts(b).some((y) => majority(x.length) + majority(y.length) > union(x, y)),
  );
}
