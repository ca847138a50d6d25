/**
 * What only the leader does: grants leases, declares them lost, places VMs, and keeps the membership
 * of the consensus group equal to the set of admitted nodes. It decides; whoever owns it carries out
 * what it asks for through `LeaderDeps` and tells how that ended, each `done` exactly once or, when
 * the process dies, never. Everything here may be repeated or lost without harm.
 */

import type { Clock, Failure, NodeId, PeerId, Result } from "@blixard/std";
import { type LeaseMessage } from "../leases/codec.ts";
import {
  becameLeader,
  createGrantor,
  grantorAbandoned,
  grantorConfirmed,
  grantorRequest,
  grantorTick,
  type LeaseGrantor,
  lostLeadership,
} from "../leases/grantor.ts";
import { getNode, listNodes } from "../lookup.ts";
import { plan } from "../planner/plan.ts";
import type { ControlState } from "../state.ts";
import type { Command, CommandResult, LeaseOptions, NodeRecord } from "../types.ts";
import { type LeaderStatus, type MembershipChange, nextMembershipChange } from "./membership.ts";

/** How something that was asked for ended; an error means that nobody knows, or that it did not. */
export type Done<T> = (result: Result<T, Failure>) => void;

export interface LeaderDeps {
  readonly clock: Clock;
  readonly options: LeaseOptions;
  readonly state: () => ControlState;
  readonly status: () => LeaderStatus;
  readonly propose: (command: Command, done: Done<CommandResult>) => void;
  readonly changeMembership: (change: MembershipChange, done: Done<void>) => void;
  /** A quorum round begun after the call, and everything up to it applied here. */
  readonly confirmLeadership: (done: Done<void>) => void;
  /** To the node of that member, which may be this one. */
  readonly answer: (to: PeerId, message: LeaseMessage) => void;
  /** What a membership entry says of a node. */
  readonly contextOf: (node: NodeRecord) => Uint8Array;
  readonly note: (level: "debug" | "info" | "warn", data: object, text: string) => void;
}

export class LeaderLoop {
  readonly #deps: LeaderDeps;
  readonly #grantor: LeaseGrantor;
  #term = 0;
  #placing = 0;
  /** Where the next plan goes on, when one could not look at every pending VM. */
  #planFrom: Parameters<typeof plan>[1] = {};
  #changing = false;

  constructor(deps: LeaderDeps) {
    this.#deps = deps;
    this.#grantor = createGrantor(deps.options);
  }

  #leads(): boolean {
    const { role, term } = this.#deps.status();
    if (role !== "leader") {
      if (this.#term !== 0) lostLeadership(this.#grantor);
      this.#term = 0;
      return false;
    }
    if (this.#term !== term) {
      this.#term = term;
      becameLeader(this.#grantor, this.#deps.clock.monotonicMs(), term);
    }
    return true;
  }

  /** Call it several times a second, and after each change of the state. */
  tick(): void {
    if (!this.#leads()) return;
    this.#expire();
    if (this.#placing === 0) this.#place();
    if (!this.#changing) this.#changeMembership();
  }

  #again(what: string, error: Failure): void {
    this.#deps.note("debug", { err: error.message }, `${what} will be tried again`);
  }

  #expire(): void {
    const { clock, state, propose, note } = this.#deps;
    for (const effect of grantorTick(this.#grantor, clock.monotonicMs(), listNodes(state()))) {
      if (effect.kind !== "expire") continue;
      const { nodeId, leaseEpoch, term } = effect;
      note("warn", { lostNode: nodeId, leaseEpoch }, "lease ran out: declaring the node lost");
      propose({ kind: "expireLease", nodeId, leaseEpoch, term }, (result) => {
        if (!result.ok) this.#again("expiry", result.error);
      });
    }
  }

  #place(): void {
    const { state, propose, note } = this.#deps;
    const { placements, next } = plan(state(), this.#planFrom);
    this.#planFrom = next === undefined ? {} : { after: next };
    this.#placing += placements.length;
    for (const command of placements) {
      propose(command, (result) => {
        this.#placing--;
        if (!result.ok) this.#again("placement", result.error);
        else if (!result.value.ok) {
          note("debug", { why: result.value.error.message }, "placement refused");
        }
      });
    }
  }

  #changeMembership(): void {
    const { state, status, contextOf, changeMembership, note } = this.#deps;
    const change = nextMembershipChange(status(), state(), contextOf);
    if (change === undefined) return;
    note("info", { op: change.op, peer: change.peer }, "changing the membership");
    this.#changing = true;
    changeMembership(change, (result) => {
      this.#changing = false;
      if (!result.ok) this.#again("membership", result.error);
    });
  }

  /** A renewal from `from`; the answer goes out after a quorum round begun now. */
  renew(from: PeerId, message: LeaseMessage): void {
    if (message.kind !== "renew" || !this.#leads()) return;
    const { state, clock } = this.#deps;
    // A node renews its own lease only; the transport has proved who it is.
    if (getNode(state(), message.nodeId)?.peerId !== from) return;
    const receivedAtMs = clock.monotonicMs();
    for (const effect of grantorRequest(this.#grantor, { ...message, receivedAtMs })) {
      if (effect.kind === "confirm") this.#grant(from, effect.token);
    }
  }

  #grant(from: PeerId, token: number): void {
    const { confirmLeadership, state, clock, answer } = this.#deps;
    confirmLeadership((result) => {
      if (!result.ok) {
        grantorAbandoned(this.#grantor, token);
        this.#again("a grant", result.error);
        return;
      }
      if (!this.#leads()) return;
      const recordOf = (id: NodeId) => getNode(state(), id);
      const reply = grantorConfirmed(this.#grantor, token, clock.monotonicMs(), recordOf);
      if (reply !== undefined) answer(from, reply);
    });
  }
}
