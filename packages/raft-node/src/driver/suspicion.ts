/**
 * The connection to the leader broke: it has probably died. Its followers stop counting on it and one
 * after the other ask for a pre-vote, in the order of their ids, instead of waiting for their timeouts.
 * Where the leader lives on, it is heard again and the others refuse; nothing happened.
 */

import type { PeerId } from "@blixard/std";
import { allVoters, step } from "@blixard/raft";
import type { RaftState } from "@blixard/raft";

/** Between the attempts of one follower and those of the next. */
const STAGGER_TICKS = 2;

export class Suspicion {
  readonly #state: RaftState;
  #campaignAtTick = 0;

  constructor(state: RaftState) {
    this.#state = state;
  }

  onDisconnected(peer: PeerId, tick: number): void {
    const state = this.#state;
    if (state.role !== "follower" || state.leader !== peer) return;
    // Refused where leases rest on it.
    if (step(state, { kind: "forgetLeader" }) !== undefined) return;
    const others = allVoters(state.conf).filter((voter) => voter !== peer);
    const rank = others.indexOf(state.id);
    if (rank >= 0) this.#campaignAtTick = tick + 1 + rank * STAGGER_TICKS;
  }

  onTick(tick: number): void {
    if (this.#campaignAtTick === 0 || tick < this.#campaignAtTick) return;
    this.#campaignAtTick = 0;
    const { role, leader } = this.#state;
    // A refusal (it is no voter any more) changes nothing.
    if (role === "follower" && leader === 0) step(this.#state, { kind: "campaign" });
  }
}
