/** All machines of a run, and the operator who keeps the membership as it is wanted. */

import type { AnyConfChange, ConfChange } from "@blixard/raft";
import { as, type PeerId, present, type Prng } from "@blixard/std";
import { RaftChecker } from "./check/raft-checker.ts";
import { SimNetwork } from "./io/network.ts";
import { Machine, type MachineDeps } from "./machine.ts";
import type { ClusterPlan } from "./plan.ts";
import type { World } from "./world/world.ts";

const OPERATOR_EVERY_US = 400_000;
const CHANGE_DEADLINE_MS = 4000;
/** A learner this close to the leader's log becomes a voter. */
const PROMOTE_LAG = 20;
/** Chance that the operator goes through a joint configuration. */
const JOINT = 0.5;
/** Chance, each time it looks, that the operator leaves a joint configuration as it is. */
const LINGER = 0.5;

export type Part = "voter" | "learner" | "none";

export class Cluster<R> {
  readonly world: World;
  readonly plan: ClusterPlan;
  readonly checker: RaftChecker;
  readonly network: SimNetwork;
  readonly machines: Machine<R>[] = [];
  readonly founders: readonly PeerId[];
  /** What the operator wants each machine to be, by machine - 1. */
  readonly wanted: Part[] = [];
  memberChanges = 0;
  /** Learners that the operator made voters while they were far behind. */
  promotedLagging = 0;
  /** Called when a machine that was meant to change its part has. */
  onChanged: (machine: number) => void = () => undefined;
  /** Whether the operator works at all; the control plane has a leader loop of its own for that. */
  readonly #operates: boolean;
  readonly #onLostDisk: ((machine: Machine<R>) => boolean) | undefined;
  readonly #random: Prng;
  #nextPeer: number;
  #isChanging = false;

  constructor(
    world: World,
    plan: ClusterPlan,
    start: MachineDeps<R>["start"],
    options: {
      readonly hardware?: (machine: number) => NonNullable<MachineDeps<R>["hardware"]>;
      readonly operates: boolean;
      /** Who replaces disks, when that is not the operator. */
      readonly onLostDisk?: (machine: Machine<R>) => boolean;
      /** How many machines found the cluster; absent: all that the plan has as voters. */
      readonly founders?: number;
    },
  ) {
    this.world = world;
    this.plan = plan;
    this.checker = new RaftChecker(world);
    this.network = new SimNetwork(world, plan.linkUs);
    this.#operates = options.operates;
    this.#onLostDisk = options.onLostDisk;
    this.#random = world.stream("operator", 0);
    const { voters, learners, spares } = plan;
    const { founders: count = voters } = options;
    this.founders = Array.from({ length: count }, (_, i) => as<PeerId>(i + 1));
    const { checker, network, founders } = this;
    for (let id = 1; id <= voters + learners + spares; id++) {
      this.wanted.push(id <= voters ? "voter" : id <= voters + learners ? "learner" : "none");
      const hardware = options.hardware?.(id);
      const deps = { world, checker, network, cluster: plan, founders, start };
      this.machines.push(new Machine<R>(hardware === undefined ? deps : { ...deps, hardware }, id));
    }
    this.#nextPeer = this.machines.length + 1;
  }

  machine(id: number): Machine<R> {
    return present(this.machines[id - 1], `machine ${id}`);
  }

  start(): void {
    for (const machine of this.machines) machine.start();
    if (this.#operates) this.#operateLater();
  }

  /** Whoever leads the highest term, among those that are up. */
  leader(): Machine<R> | undefined {
    let best: Machine<R> | undefined;
    let bestTerm = -1;
    for (const machine of this.machines) {
      if (!machine.isServing) continue;
      const state = machine.raft?.protocol();
      if (state?.role !== "leader" || state.term <= bestTerm) continue;
      best = machine;
      bestTerm = state.term;
    }
    return best;
  }

  /** The machine's disk is replaced; it will be joined under a new id. False: not now. */
  replaceDisk(machine: Machine<R>): boolean {
    if (this.#onLostDisk !== undefined) return this.#onLostDisk(machine);
    machine.loseDisk();
    machine.become(as<PeerId>(this.#nextPeer++));
    return true;
  }

  #operateLater(): void {
    const delayUs = OPERATOR_EVERY_US + this.#random.below(100_000);
    this.world.after(delayUs, undefined, "operator", 0, () => {
      this.#operateLater();
      this.#operate();
    });
  }

  #operate(): void {
    for (const machine of this.machines) {
      if (!machine.isBroken) continue;
      this.replaceDisk(machine);
      machine.start();
    }
    const leader = this.leader();
    if (leader?.raft === undefined) return;
    // Now and then it does not wait for the answer: that is the protocol's to refuse.
    if (this.#isChanging && !this.#random.chance(0.2)) return;
    const change = this.#nextChange(leader);
    if (change === undefined) return;
    this.#isChanging = true;
    const deadlineMs = leader.clock.monotonicMs() + CHANGE_DEADLINE_MS;
    const changes = "changes" in change ? change.changes : [change];
    if (this.world.tracing) {
      const what = changes.map(({ op, peer }) => `${op} p${peer}`).join(", ");
      this.world.note(leader.id, `proposes ${what || "to leave the joint configuration"}`);
    }
    this.#countLagging(leader, changes);
    leader.raft.changeMembership(change, deadlineMs, (result) => {
      this.#isChanging = false;
      if (!result.ok) return;
      this.memberChanges++;
      for (const { id, peer } of this.machines) {
        if (changes.some((one) => one.peer === peer)) this.onChanged(id);
      }
    });
    leader.observe();
    // A leader that dies never answers.
    this.world.after(CHANGE_DEADLINE_MS * 1000, undefined, "operator", 1, () => {
      this.#isChanging = false;
    });
  }

  #countLagging(leader: Machine<R>, changes: readonly ConfChange[]): void {
    const state = leader.raft?.protocol();
    if (state === undefined) return;
    for (const { op, peer } of changes) {
      const match = state.progress.get(peer)?.match ?? 0;
      if (op === "addVoter" && match + PROMOTE_LAG < state.commit) this.promotedLagging++;
    }
  }

  /** What the operator still has to do, as far as the leader knows; undefined: nothing. */
  unfinished(leader: Machine<R>): string | undefined {
    if (!this.#operates) return undefined;
    const { voters = [], votersOutgoing = [] } = leader.raft?.protocol()?.conf ?? {};
    if (votersOutgoing.length > 0) return `${voters.join()} & ${votersOutgoing.join()} is joint`;
    const left = this.#steps(leader, true).map(({ op, peer }) => `${op} p${peer}`);
    return left.length === 0 ? undefined : `${left.join(", ")} is left to be done`;
  }

  /** One step, or several of them through a joint configuration; undefined when all is as wanted. */
  #nextChange(leader: Machine<R>): AnyConfChange | undefined {
    const conf = leader.raft?.protocol()?.conf;
    if (conf === undefined) return undefined;
    if (conf.votersOutgoing.length > 0) {
      if (conf.autoLeave || this.#random.chance(LINGER)) return undefined;
      return { transition: "auto", changes: [] };
    }
    if (!this.#random.chance(JOINT)) return this.#steps(leader, false)[0];
    const steps = this.#steps(leader, true);
    if (steps.length === 0) return undefined;
    const transition = (["auto", "implicit", "explicit"] as const)[this.#random.below(3)];
    return { transition: transition ?? "auto", changes: steps };
  }

  /** All that separates the membership from the wanted one, each step good by itself. */
  #steps(leader: Machine<R>, isJoint: boolean): ConfChange[] {
    const state = leader.raft?.protocol();
    if (state === undefined) return [];
    const { voters, learners } = state.conf;
    const context = new Uint8Array();
    const known = new Set<number>(this.machines.map(({ peer }) => peer));
    const stale = [...voters, ...learners].filter((peer) => !known.has(peer));
    const steps: ConfChange[] = stale.map((peer) => ({ op: "removeMember", peer, context }));
    let left = voters.length - stale.filter((peer) => voters.includes(peer)).length;
    for (const { peer, host, isRecovered, id } of this.machines) {
      const wanted = this.wanted[id - 1] ?? "none";
      const isVoter = voters.includes(peer);
      const isLearner = learners.includes(peer);
      if (wanted === "none" || (wanted === "learner" && isVoter)) {
        // The leader itself would have to hand over first; it is left for the next time.
        const isLast = isVoter && (left <= 2 || (peer === leader.peer && !isJoint));
        if ((!isVoter && !isLearner) || isLast) continue;
        if (isVoter) left--;
        // A voter becomes a learner by way of a joint configuration, or not at all.
        const op = wanted === "learner" && isJoint ? "addLearner" : "removeMember";
        steps.push({ op, peer, context });
        continue;
      }
      if (isVoter || (isLearner && wanted === "learner") || !host.up || !isRecovered) continue;
      if (!isLearner) {
        // Who may be made a voter however far behind may be one at once.
        const isAtOnce = isJoint && wanted === "voter" && this.plan.promoteLag !== undefined;
        steps.push({ op: isAtOnce ? "addVoter" : "addLearner", peer, context });
        continue;
      }
      const progress = state.progress.get(peer);
      if (progress === undefined || !progress.active || progress.match === 0) continue;
      if (progress.match + (this.plan.promoteLag ?? PROMOTE_LAG) >= state.commit) {
        steps.push({ op: "addVoter", peer, context });
      }
    }
    return steps;
  }
}
