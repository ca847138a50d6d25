/**
 * The safety properties of Raft (paper, figure 3) as an outside observer sees them, checked at
 * every event, over all members and all their incarnations. A finding throws Violation.
 */

import type { Entry, RaftStatus } from "@blixard/raft";
import { digest } from "./hash.ts";
import { type Host, violated, type World } from "./world.ts";

interface Canonical {
  readonly term: number;
  readonly digest: number;
  readonly length: number;
  readonly by: number;
}

interface Seen {
  incarnation: number;
  term: number;
  commit: number;
  applied: number;
}

export class RaftChecker {
  /** What any member applied at each index: all members must agree. */
  readonly log = new Map<number, Canonical>();
  readonly ackedIndex = new Map<number, number>();
  highestAcked = 0;
  leaderChanges = 0;
  #highestTerm = 0;
  readonly #world: World;
  readonly #leaders = new Map<number, number>();
  readonly #states = new Map<number, { hash: bigint; by: number }>();
  readonly #committed = new Map<number, number>();
  readonly #seen = new Map<number, Seen>();
  readonly #votes = new Map<string, number>();

  constructor(world: World) {
    this.#world = world;
  }

  /**
   * Election safety, and counters that never go back within an incarnation. `termAt` looks into the
   * member's log, where the caller can: a new leader must then hold every committed entry.
   */
  observe(
    host: Host,
    status: Pick<RaftStatus, "role" | "term" | "commit" | "applied">,
    lastIndex: number,
    termAt?: (index: number) => number | undefined,
  ): void {
    const { term, commit, applied } = status;
    if (applied > commit) violated(`n${host.id} applied ${applied} beyond its commit ${commit}`);
    if (commit > lastIndex) {
      violated(`n${host.id} commit ${commit} beyond its last index ${lastIndex}`);
    }
    let seen = this.#seen.get(host.id);
    if (seen === undefined || seen.incarnation !== host.incarnation) {
      seen = { incarnation: host.incarnation, term: 0, commit: 0, applied: 0 };
      this.#seen.set(host.id, seen);
    }
    if (term < seen.term) violated(`n${host.id} went back from term ${seen.term} to ${term}`);
    if (commit < seen.commit) {
      violated(`n${host.id} commit went back from ${seen.commit} to ${commit}`);
    }
    if (applied < seen.applied) {
      violated(`n${host.id} applied went back from ${seen.applied} to ${applied}`);
    }
    seen.term = term;
    seen.commit = commit;
    seen.applied = applied;
    if (status.role === "leader") this.#observeLeader(host, term, lastIndex, termAt);
  }

  #observeLeader(
    host: Host,
    term: number,
    lastIndex: number,
    termAt?: (index: number) => number | undefined,
  ): void {
    const leader = this.#leaders.get(term);
    if (leader === host.id) return;
    if (leader !== undefined) violated(`two leaders in term ${term}: n${leader} and n${host.id}`);
    this.#leaders.set(term, host.id);
    this.leaderChanges++;
    this.#world.note(host.id, `leads term ${term}, last index ${lastIndex}`);
    // One that wins an old term late need not hold what was committed in newer ones.
    if (term < this.#highestTerm) return;
    this.#highestTerm = term;
    if (lastIndex < this.highestAcked) {
      violated(
        `n${host.id} leads term ${term} with last index ${lastIndex}, ` +
          `but ${this.highestAcked} was acknowledged`,
      );
    }
    if (termAt === undefined) return;
    for (const [index, committed] of this.#committed) {
      const held = termAt(index);
      // What is compacted away was committed here, and checked then.
      if (held === committed || (held === undefined && index <= lastIndex)) continue;
      violated(
        `n${host.id} leads term ${term} without the committed entry ${index} ` +
          `of term ${committed}: it holds ${held ?? "nothing"}`,
      );
    }
  }

  /** Log matching over committed entries: an index is committed with one term only. */
  committed(host: Host, index: number, term: number): void {
    const known = this.#committed.get(index);
    if (known === undefined) this.#committed.set(index, term);
    else if (known !== term) {
      violated(`index ${index} is committed with term ${known}, and on n${host.id} with ${term}`);
    }
  }

  /** One vote a term, also across restarts; call it for each granted vote that is sent. */
  voted(voter: number, term: number, candidate: number): void {
    const key = `${voter}/${term}`;
    const before = this.#votes.get(key);
    if (before !== undefined && before !== candidate) {
      violated(`n${voter} voted for n${before} and n${candidate} in term ${term}`);
    }
    this.#votes.set(key, candidate);
  }

  /** State-machine safety: the same index holds the same bytes everywhere. */
  applied(host: Host, entry: Pick<Entry, "index" | "term" | "data">): void {
    const { index, term } = entry;
    const sum = digest(entry.data);
    const known = this.log.get(index);
    if (known === undefined) {
      this.log.set(index, { term, digest: sum, length: entry.data.length, by: host.id });
    } else if (known.term !== term || known.digest !== sum || known.length !== entry.data.length) {
      violated(
        `index ${index} differs: n${known.by} applied term ${known.term} ` +
          `(${known.length} B), n${host.id} term ${term} (${entry.data.length} B)`,
      );
    }
  }

  /** Equal state at equal index, whether reached by entries or by a snapshot. */
  state(host: Host, index: number, hash: bigint): void {
    const known = this.#states.get(index);
    if (known === undefined) this.#states.set(index, { hash, by: host.id });
    else if (known.hash !== hash) {
      violated(`state at index ${index} differs between n${known.by} and n${host.id}`);
    }
  }

  /** The client was told that proposal `id` is committed at `index`. */
  acknowledged(id: number, index: number): void {
    this.ackedIndex.set(id, index);
    this.highestAcked = Math.max(this.highestAcked, index);
    if (!this.log.has(index)) violated(`proposal ${id} acknowledged at ${index}, applied nowhere`);
  }
}
