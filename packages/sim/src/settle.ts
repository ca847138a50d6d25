/**
 * The liveness phase: all faults end, a core of machines heals, the others may stay away for ever.
 * Within the plan's time the core must elect, serve, agree, and hold every acknowledged write.
 */

import { isVoter, majority } from "@blixard/raft";
import type { Cluster } from "./cluster.ts";
import { linksBetween } from "./io/network.ts";
import { itemRandom, type Plan } from "./plan.ts";
import type { Workload } from "./workload.ts";
import { violated } from "./world/world.ts";

const STEP_US = 50_000;
const PROBE_EVERY_STEPS = 20;
const STABLE_US = 3_000_000;

/** Kinds after which which machines are voters is no longer what the plan began with. */
const CHANGES_MEMBERS = new Set(["membershipChurn", "lostDisk"]);

/**
 * Machines that heal. With a fixed membership: any majority of the voters that has a majority of
 * machines whose medium was never hurt. Else all of them: a change under way may need any one.
 */
export function drawCore<R>(cluster: Cluster<R>, plan: Plan): number[] {
  const all = cluster.machines.map(({ id }) => id);
  const isFixed =
    !plan.items.some((item) => item.type === "fault" && CHANGES_MEMBERS.has(item.kind)) &&
    !cluster.machines.some(({ isBroken, peer, id }) => isBroken || peer !== id);
  if (!isFixed || plan.profile === "control") return all;
  const random = itemRandom(plan.seed, 0);
  const { voters, learners } = plan.cluster;
  const need = majority(voters);
  const shuffle = (list: number[]): number[] => {
    for (let at = list.length - 1; at > 0; at--) {
      const other = random.below(at + 1);
      [list[at], list[other]] = [list[other] ?? 0, list[at] ?? 0];
    }
    return list;
  };
  const founders = all.slice(0, voters);
  const honest = shuffle(founders.filter((id) => !cluster.machine(id).disk.isHurt));
  const core = honest.slice(0, need);
  const isBare = plan.profile === "liveness" || random.chance(0.3);
  const rest = shuffle(all.filter((id) => !core.includes(id) && id <= voters + learners));
  for (const id of rest) {
    const isNeeded = core.filter((member) => member <= voters).length < need;
    if (isNeeded || (!isBare && random.chance(0.6))) core.push(id);
  }
  return core.sort((a, b) => a - b);
}

export class Settling<R> {
  readonly core: readonly number[];
  readonly #cluster: Cluster<R>;
  readonly #plan: Plan;
  readonly #workload: Workload;
  /** Proposes something and tells when it is committed. */
  readonly #probe: (machine: number, done: () => void) => void;

  constructor(
    cluster: Cluster<R>,
    plan: Plan,
    workload: Workload,
    probe: (machine: number, done: () => void) => void,
  ) {
    this.#cluster = cluster;
    this.#plan = plan;
    this.#workload = workload;
    this.#probe = probe;
    this.core = drawCore(cluster, plan);
  }

  run(): void {
    const cluster = this.#cluster;
    const { world } = cluster;
    this.#leaveOthers();
    world.note(0, `the core is ${this.core.join(",")}`);
    const untilUs = world.nowUs + this.#plan.cluster.livenessMs * 1000;
    let isProbed = false;
    let isReadBack = false;
    for (let step = 0; world.nowUs < untilUs; step++) {
      world.runUntil(world.nowUs + STEP_US);
      if (!isProbed) {
        const machine = this.core[Math.floor(step / PROBE_EVERY_STEPS) % this.core.length] ?? 1;
        if (step % PROBE_EVERY_STEPS === 0) this.#probe(machine, () => (isProbed = true));
        continue;
      }
      if (this.#unsettled() !== undefined) {
        // A leader that changed just then may have left a read unanswered.
        const isLate = step % (3 * PROBE_EVERY_STEPS) === 0;
        if (isReadBack && isLate) this.#workload.readBack(this.#members());
        continue;
      }
      if (isReadBack) return this.#stays();
      isReadBack = true;
      this.#workload.readBack(this.#members());
    }
    const why = isProbed ? this.#unsettled() : "nothing proposed was committed";
    const seconds = this.#plan.cluster.livenessMs / 1000;
    violated("converges", `${seconds} s after healing of ${this.core.join(",")}: ${why}`);
  }

  #leaveOthers(): void {
    const { machines, network, world } = this.#cluster;
    const others = machines.filter(({ id }) => !this.core.includes(id));
    if (others.length === 0) return;
    const away = others.map(({ id }) => id);
    const random = itemRandom(this.#plan.seed, 0);
    const isDown = random.chance(0.5);
    for (const machine of others) {
      if (!isDown) continue;
      machine.hold();
      machine.cutPower();
    }
    const links = linksBetween(away, this.core);
    network.add({ kind: "cut", links, rate: 1, amount: 0, random, fire: () => undefined });
    world.note(0, `${away.join(",")} ${isDown ? "stay down" : "are out of reach"}`);
  }

  #unsettled(): string | undefined {
    const cluster = this.#cluster;
    const leader = cluster.leader();
    for (const id of this.core) {
      const machine = cluster.machine(id);
      if (!machine.isServing) return `n${id} is down${machine.isBroken ? ", broken" : ""}`;
    }
    if (leader === undefined || !this.core.includes(leader.id)) return "nobody in it leads";
    const state = leader.raft?.protocol();
    if (state === undefined || !isVoter(state, leader.peer)) {
      return `n${leader.id} leads, and is no voter`;
    }
    return cluster.unfinished(leader) ?? this.#workload.unsettled(this.#members());
  }

  /** Those of the core that belong to the cluster now. */
  #members(): number[] {
    const conf = this.#cluster.leader()?.raft?.protocol()?.conf;
    return this.core.filter((id) => {
      const { peer } = this.#cluster.machine(id);
      return conf?.voters.includes(peer) === true || conf?.learners.includes(peer) === true;
    });
  }

  /** What has settled stays so: nothing fails any more, so nobody may lose the lead. */
  #stays(): void {
    if (this.#plan.profile !== "liveness") return;
    const { checker, world } = this.#cluster;
    const before = checker.leaderChanges;
    world.runUntil(world.nowUs + STABLE_US);
    if (checker.leaderChanges > before) {
      violated("stays settled", "the leader changed though nothing was wrong any more");
    }
  }
}
