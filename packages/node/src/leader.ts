/**
 * What only the leader does: grants leases, declares them lost, places VMs, and keeps the membership of the
 * consensus group equal to the set of admitted nodes. Decisions are pure functions of control and raft;
 * everything here may be repeated or lost without harm.
 */

import {
  becameLeader,
  type Command,
  type CommandResult,
  createGrantor,
  encodeLeaseMessage,
  getNode,
  grantorAbandoned,
  grantorConfirmed,
  grantorRequest,
  grantorTick,
  type LeaseGrantor,
  type LeaseMessage,
  type LeaseOptions,
  listNodes,
  lostLeadership,
  plan,
} from "@blixard/control";
import type { ConfChange } from "@blixard/raft";
import type { Clock, Network, NodeId, PeerId } from "@blixard/std";
import type { Consensus } from "./consensus.ts";
import type { Logger } from "./log.ts";
import { encodeMember, peerInfo } from "./member.ts";

/** A learner this close to the leader's log may become a voter. */
const PROMOTE_LAG_ENTRIES = 100;

export interface LeaderDeps {
  readonly selfPeer: PeerId;
  readonly consensus: Consensus;
  readonly clock: Clock;
  readonly network: Network;
  readonly options: LeaseOptions;
  readonly log: Logger;
  readonly propose: (command: Command) => Promise<CommandResult>;
  /** Answers to this node's own renewals. */
  readonly local: (message: LeaseMessage) => void;
}

export class LeaderLoop {
  readonly #deps: LeaderDeps;
  readonly #grantor: LeaseGrantor;
  #term = 0;
  #planning = false;
  /** Where the next plan goes on, when one could not look at every pending VM. */
  #planFrom: Parameters<typeof plan>[1] = {};
  #changing = false;

  constructor(deps: LeaderDeps) {
    this.#deps = deps;
    this.#grantor = createGrantor(deps.options);
  }

  #leads(): boolean {
    const { role, term } = this.#deps.consensus.status();
    const now = this.#deps.clock.monotonicMs();
    if (role !== "leader") {
      if (this.#term !== 0) lostLeadership(this.#grantor);
      this.#term = 0;
      return false;
    }
    if (this.#term !== term) {
      this.#term = term;
      becameLeader(this.#grantor, now, term);
    }
    return true;
  }

  /** Runs on a timer and after each change of the state. */
  tick(): void {
    if (!this.#leads()) return;
    this.#expire();
    if (!this.#planning) {
      this.#planning = true;
      this.#place()
        .finally(() => (this.#planning = false))
        .catch(this.#logged("placement"));
    }
    if (!this.#changing) {
      this.#changing = true;
      this.#membership()
        .finally(() => (this.#changing = false))
        .catch(this.#logged("membership"));
    }
  }

  #logged(what: string): (caught: unknown) => void {
    return (caught) => this.#deps.log.debug({ err: String(caught) }, `${what} will be tried again`);
  }

  #expire(): void {
    const state = this.#deps.consensus.state;
    const now = this.#deps.clock.monotonicMs();
    for (const effect of grantorTick(this.#grantor, now, listNodes(state))) {
      if (effect.kind !== "expire") continue;
      const { nodeId, leaseEpoch, term } = effect;
      this.#deps.log.warn(
        { lostNode: nodeId, leaseEpoch },
        "lease ran out: declaring the node lost",
      );
      this.#deps
        .propose({ kind: "expireLease", nodeId, leaseEpoch, term })
        .catch(this.#logged("expiry"));
    }
  }

  async #place(): Promise<void> {
    const { placements, next } = plan(this.#deps.consensus.state, this.#planFrom);
    this.#planFrom = next === undefined ? {} : { after: next };
    const results = await Promise.all(placements.map((command) => this.#deps.propose(command)));
    for (const result of results) {
      if (!result.ok) this.#deps.log.debug({ why: result.error.message }, "placement refused");
    }
  }

  /** One step towards: members = admitted nodes, each first a learner, then a voter. */
  async #membership(): Promise<void> {
    const change = nextMembershipChange(this.#deps.consensus);
    if (change === undefined) return;
    this.#deps.log.info({ op: change.op, peer: change.peer }, "changing the membership");
    await this.#deps.consensus.changeMembership(change);
  }

  /** A renewal from `from`; the answer goes out after a quorum round begun now. */
  async renew(from: PeerId, message: LeaseMessage): Promise<void> {
    if (message.kind !== "renew" || !this.#leads()) return;
    const { consensus, clock } = this.#deps;
    const node = getNode(consensus.state, message.nodeId);
    // A node renews its own lease only; the transport has proved who it is.
    if (node?.peerId !== from) return;
    const receivedAtMs = clock.monotonicMs();
    for (const effect of grantorRequest(this.#grantor, { ...message, receivedAtMs })) {
      if (effect.kind === "confirm") await this.#grant(from, effect.token);
    }
  }

  async #grant(from: PeerId, token: number): Promise<void> {
    const { consensus, clock } = this.#deps;
    try {
      await consensus.confirmLeadership();
    } catch (caught) {
      grantorAbandoned(this.#grantor, token);
      throw caught;
    }
    if (!this.#leads()) return;
    const recordOf = (id: NodeId) => getNode(consensus.state, id);
    const answer = grantorConfirmed(this.#grantor, token, clock.monotonicMs(), recordOf);
    if (answer === undefined) return;
    if (from === this.#deps.selfPeer) this.#deps.local(answer);
    else this.#deps.network.send(from, encodeLeaseMessage(answer));
  }
}

function nextMembershipChange(consensus: Consensus): ConfChange | undefined {
  const { conf, progress, commit } = consensus.status();
  const nodes = listNodes(consensus.state);
  for (const node of nodes) {
    const context = encodeMember(peerInfo(node));
    if (conf.voters.includes(node.peerId)) continue;
    if (!conf.learners.includes(node.peerId)) {
      return { op: "addLearner", peer: node.peerId, context };
    }
    const follower = progress.find((row) => row.peer === node.peerId);
    // A young log is short: being near its end says nothing of one that never answered, and a voter
    // that is not there yet could cost the quorum.
    const hasAnswered = follower?.active === true && follower.match > 0;
    if (hasAnswered && follower.match + PROMOTE_LAG_ENTRIES >= commit)
      return { op: "addVoter", peer: node.peerId, context };
  }
  // The first node's record appears only after its first command: never remove by an empty list.
  if (nodes.length === 0) return undefined;
  const stale = [...conf.voters, ...conf.learners].find(
    (peer) => !nodes.some((node) => node.peerId === peer),
  );
  if (stale === undefined) return undefined;
  return { op: "removeMember", peer: stale, context: new Uint8Array(0) };
}
