/** Notices when a member's term, role or leader changed. */

import type { PeerId, Term } from "@blixard/std";
import type { RaftState, Role } from "@blixard/raft";

export interface RoleChange {
  /** It leads, and did not or in another term. */
  readonly isElected: boolean;
  readonly isDeposed: boolean;
}

export class RoleWatch {
  #term: Term | -1 = -1;
  #role: Role | "none" = "none";
  #leader: PeerId | 0 | -1 = -1;

  /** Undefined when nothing changed since the last call. */
  look({ term, role, leader }: RaftState): RoleChange | undefined {
    if (term === this.#term && role === this.#role && leader === this.#leader) return undefined;
    const led = this.#role === "leader";
    const isElected = role === "leader" && (!led || term !== this.#term);
    this.#term = term;
    this.#role = role;
    this.#leader = leader;
    return { isElected, isDeposed: led && role !== "leader" };
  }
}
