/**
 * The safety properties of Raft (paper, figure 3) as an outside observer sees them, checked at every
 * event, over all members and all their incarnations. A finding throws Violation.
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
  highestTerm = 0;
  leaderChanges = 0;
  readonly #world: World;
  readonly #leaders = new Map<number, number>();
  readonly #states = new Map<number, { hash: bigint; by: number }>();
  readonly #seen = new Map<number, Seen>();
  readonly #votes = new Map<string, number>();

  constructor(world: World) {
    this.#world = world;
  }

  /** Election safety, and counters that never go back within an incarnation. */
  observe(host: Host, status: RaftStatus): void {
    const { term, commit, applied } = status;
    if (applied > commit) violated(`n${host.id} applied ${applied} beyond its commit ${commit}`);
    if (commit > status.lastIndex) {
      violated(`n${host.id} commit ${commit} beyond its last index ${status.lastIndex}`);
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
    this.highestTerm = Math.max(this.highestTerm, term);
    if (status.role === "leader") this.#observeLeader(host, status);
  }

  #observeLeader(host: Host, status: RaftStatus): void {
    const leader = this.#leaders.get(status.term);
    if (leader === undefined) {
      this.#leaders.set(status.term, host.id);
      this.leaderChanges++;
      this.#world.note(host.id, `leads term ${status.term}, last index ${status.lastIndex}`);
      // Leader completeness, as far as the status shows it.
      if (status.lastIndex < this.highestAcked) {
        violated(
          `n${host.id} leads term ${status.term} with last index ${status.lastIndex}, ` +
            `but ${this.highestAcked} was acknowledged`,
        );
      }
    } else if (leader !== host.id) {
      violated(`two leaders in term ${status.term}: n${leader} and n${host.id}`);
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
