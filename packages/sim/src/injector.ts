/** Carries out a plan's faults: each begins at its time, ends at its time, and counts what it did. */

import type { Cluster } from "./cluster.ts";
import { type DiskEffect, FILE_CLASSES, fileClassOf } from "./io/disk-faults.ts";
import { POWER_LOSSES } from "./io/disk.ts";
import { linksBetween, linksTo, type NetworkEffect } from "./io/network.ts";
import type { Machine } from "./machine.ts";
import { type FaultItem, type FaultKind, itemRandom, LEADER, noFirings } from "./plan.ts";
import type { World } from "./world/world.ts";

const TORN_DOWN_US = 300_000;

/** What a fault undoes when its window ends, or when everything is healed. */
type End = () => void;

export class Injector<R> {
  readonly firings: Record<FaultKind, number> = noFirings();
  readonly #world: World;
  readonly #cluster: Cluster<R>;
  readonly #seed: number;
  /** Freezing a clock under a process that goes on breaks what leases assume of clocks. */
  readonly #sleepsInstead: boolean;
  readonly #open = new Map<number, End>();
  readonly #churned = new Set<number>();
  #isOver = false;

  constructor(cluster: Cluster<R>, seed: number, options: { readonly sleepsInstead: boolean }) {
    this.#world = cluster.world;
    this.#cluster = cluster;
    this.#seed = seed;
    this.#sleepsInstead = options.sleepsInstead;
    cluster.onChanged = (machine) => {
      if (this.#churned.delete(machine)) this.firings.membershipChurn++;
    };
  }

  schedule(items: readonly FaultItem[]): void {
    for (const item of items) {
      this.#world.after(item.atMs * 1000, undefined, "fault", item.id, () => this.#begin(item));
    }
  }

  /** The fault with the machine that leads now in place of LEADER. */
  #aimed(item: FaultItem): FaultItem {
    if (!item.targets.includes(LEADER)) return item;
    const leader = this.#cluster.leader()?.id ?? 1;
    const targets = item.targets.map((target) => (target === LEADER ? leader : target));
    return { ...item, targets: [...new Set(targets)] };
  }

  #begin(planned: FaultItem): void {
    if (this.#isOver) return;
    const item = this.#aimed(planned);
    if (this.#world.tracing) {
      const where = item.targets.length === 0 ? "all" : item.targets.join(",");
      this.#world.line(0, "fault", `${item.kind} [${where}] #${item.id}`);
    }
    const end = this.#inject(item);
    if (end === undefined) return;
    this.#open.set(item.id, end);
    this.#world.after((item.untilMs - item.atMs) * 1000, undefined, "fault", -item.id, () => {
      if (!this.#open.delete(item.id)) return;
      if (this.#world.tracing) this.#world.line(0, "fault", `${item.kind} #${item.id} ends`);
      end();
    });
  }

  /** Every fault ends now, and none begins any more. */
  heal(): void {
    this.#isOver = true;
    this.#world.line(0, "fault", "healed");
    const open = [...this.#open.values()];
    this.#open.clear();
    for (const end of open) end();
  }

  #machines({ targets }: FaultItem): Machine<R>[] {
    const { machines } = this.#cluster;
    return targets.length === 0 ? machines : targets.map((id) => this.#cluster.machine(id));
  }

  #inject(item: FaultItem): End | undefined {
    switch (item.kind) {
      case "loss":
      case "duplication":
      case "reordering":
      case "delay":
      case "clogging":
      case "boundedLinks":
      case "resetMidFrame":
      case "bitFlips":
      case "partitionSymmetric":
      case "partitionAsymmetric":
      case "isolateOne":
      case "bridge":
        return this.#disturb(item);
      case "crash":
      case "powerCut":
      case "blackout":
      case "quorumLoss":
      case "longOutage":
      case "lostDisk":
        return this.#takeDown(item);
      case "restart":
        for (const machine of this.#machines(item)) if (machine.stop()) this.firings.restart++;
        return undefined;
      case "pause":
      case "clockDrift":
      case "clockStep":
      case "clockFreeze":
        return this.#bendTime(item);
      case "membershipChurn":
      case "leadershipTransfer":
      case "compactionUnderLag":
        return this.#disturbCluster(item);
      case "diskLostDirectoryEntry":
        return this.#loseEntry(item);
      case "diskSlow":
      case "diskHung":
      case "diskTorn":
      case "diskLost":
      case "diskMisdirected":
      case "diskCorruptRead":
      case "diskCorruptWrite":
      case "diskLyingFsync":
      case "diskEio":
      case "diskEnospc":
        return this.#hurtDisk(item, item.kind);
      default:
        return item.kind satisfies never;
    }
  }

  #fire(kind: FaultKind): () => void {
    return () => {
      this.firings[kind]++;
    };
  }

  // Network.

  #links({ kind, targets, amount, isOneWay }: FaultItem): Set<number> | undefined {
    const all = this.#cluster.machines.map(({ id }) => id);
    const others = all.filter((id) => !targets.includes(id));
    switch (kind) {
      case "partitionSymmetric":
      case "isolateOne":
        return linksBetween(targets, others);
      case "partitionAsymmetric":
        return amount === 0 ? linksTo(others, targets) : linksTo(targets, others);
      case "bridge": {
        // The first target sees both sides; the other targets see nobody else.
        const [, ...side] = targets;
        return linksBetween(side, others);
      }
      default:
        if (targets.length === 0) return undefined;
        return isOneWay === true ? linksTo(targets, all) : linksBetween(targets, all);
    }
  }

  #disturb(item: FaultItem): End {
    const { kind, rate, amount } = item;
    const links = this.#links(item);
    const random = itemRandom(this.#seed, item.id);
    const isCut =
      kind === "partitionSymmetric" ||
      kind === "partitionAsymmetric" ||
      kind === "isolateOne" ||
      kind === "bridge";
    // Safe: what is no cut is one of the network's own kinds, as #inject has sorted them.
    const effect: NetworkEffect = {
      kind: isCut ? "cut" : (kind as NetworkEffect["kind"]),
      ...(links === undefined ? {} : { links }),
      rate,
      // A cut in the middle loses what is under way; every second item cuts near the sender.
      amount: isCut ? item.id % 2 : amount,
      random,
      fire: this.#fire(kind),
    };
    const { network } = this.#cluster;
    network.add(effect);
    return () => network.remove(effect);
  }

  // Processes and machines.

  #takeDown(item: FaultItem): End {
    const { kind } = item;
    const hit = this.#machines(item);
    const random = itemRandom(this.#seed, item.id);
    const down: Machine<R>[] = [];
    for (const machine of hit) {
      if (kind === "lostDisk") {
        if (!this.#cluster.replaceDisk(machine)) continue;
        this.firings.lostDisk++;
        machine.hold();
        down.push(machine);
        continue;
      }
      machine.hold();
      down.push(machine);
      if (machine.host.up) this.firings[kind]++;
      // Only scenes say what becomes of what was not synced; else it is left to chance.
      const loss = POWER_LOSSES[item.amount] ?? "chance";
      const isKilled = kind === "crash" && loss !== "chance";
      if (isKilled) machine.kill(loss);
      else if (kind === "powerCut" || kind === "blackout" || random.chance(0.3)) {
        machine.cutPower(loss);
      } else machine.kill();
      // One that sleeps cannot be killed; without power it is.
      if (machine.host.up) machine.cutPower();
    }
    return () => {
      if (kind === "longOutage") this.#compactAll(item.targets);
      for (const machine of down) machine.release();
    };
  }

  /** So that whoever was away needs a snapshot. */
  #compactAll(except: readonly number[]): void {
    for (const machine of this.#cluster.machines) {
      if (except.includes(machine.id) || !machine.isServing) continue;
      machine.raft?.takeSnapshot();
      machine.observe();
    }
  }

  #bendTime(item: FaultItem): End | undefined {
    const { kind, amount } = item;
    const forUs = (item.untilMs - item.atMs) * 1000;
    for (const machine of this.#machines(item)) {
      const { host, clock } = machine;
      const isAwake = host.up && host.pausedUntilUs <= this.#world.nowUs;
      if (kind === "clockDrift") {
        clock.setRate(1 + amount / 1e6);
        this.firings.clockDrift++;
      } else if (kind === "clockStep") {
        clock.jumpWall(amount);
        this.firings.clockStep++;
      } else if (!isAwake) continue;
      else if (kind === "pause") {
        host.pausedUntilUs = this.#world.nowUs + forUs;
        this.firings.pause++;
      } else {
        this.firings.clockFreeze++;
        if (this.#sleepsInstead) machine.suspend(forUs);
        else clock.setRate(0);
      }
    }
    if (kind === "clockStep" || kind === "pause") return undefined;
    if (kind === "clockFreeze" && this.#sleepsInstead) return undefined;
    return () => {
      for (const { clock } of this.#machines(item)) clock.setRate(1);
    };
  }

  // Disks.

  #hurtDisk(item: FaultItem, kind: DiskEffect["kind"]): End {
    const random = itemRandom(this.#seed, item.id);
    const hit = this.#machines(item);
    const only = FILE_CLASSES[item.amount];
    const isMedium =
      kind === "diskLost" ||
      kind === "diskMisdirected" ||
      kind === "diskCorruptRead" ||
      kind === "diskCorruptWrite" ||
      kind === "diskLyingFsync";
    const ends = hit.map((machine): End => {
      const effect: DiskEffect = {
        kind,
        rate: item.rate,
        amount: item.amount,
        untilUs: item.untilMs * 1000,
        ...(isMedium && only !== undefined ? { only } : {}),
        random: random.fork(),
        fire: this.#fire(kind),
        ...(kind === "diskTorn" ? { onTorn: () => this.#torn(machine, effect) } : {}),
      };
      machine.disk.effects.push(effect);
      // Most is read when a machine starts.
      if (kind === "diskCorruptRead" && random.chance(0.5)) this.#bounce(machine);
      return () => {
        remove(machine.disk.effects, effect);
        // What was lost shows when the machine comes back from a power cut.
        const isShown = kind === "diskLyingFsync" || (isMedium && random.chance(0.5));
        if (isShown && !this.#isOver) this.#bounce(machine);
      };
    });
    return () => {
      for (const end of ends) end();
    };
  }

  #torn(machine: Machine<R>, effect: DiskEffect): void {
    remove(machine.disk.effects, effect);
    this.#bounce(machine);
  }

  /** Down by a power cut, and up again soon. */
  #bounce(machine: Machine<R>): void {
    machine.hold();
    machine.cutPower();
    this.#world.after(TORN_DOWN_US, undefined, "start", machine.id, () => machine.release());
  }

  #loseEntry(item: FaultItem): undefined {
    const only = FILE_CLASSES[item.amount];
    const random = itemRandom(this.#seed, item.id);
    for (const machine of this.#machines(item)) {
      this.#bounce(machine);
      const path = machine.disk.loseEntry(random, (name) => fileClassOf(name) === only);
      if (path === undefined) continue;
      this.#world.note(machine.id, `its disk lost ${path}`);
      this.firings.diskLostDirectoryEntry++;
    }
    return undefined;
  }

  // The cluster as a whole.

  #disturbCluster(item: FaultItem): End | undefined {
    const cluster = this.#cluster;
    const [target] = this.#machines(item);
    if (target === undefined) return undefined;
    if (item.kind === "membershipChurn") {
      const parts = ["voter", "learner", "none"] as const;
      const part = parts[item.amount] ?? "voter";
      const voters = cluster.wanted.filter((wanted) => wanted === "voter").length;
      const before = cluster.wanted[target.id - 1];
      if (before === part || (before === "voter" && voters <= 2)) return undefined;
      cluster.wanted[target.id - 1] = part;
      this.#churned.add(target.id);
      return undefined;
    }
    if (item.kind === "leadershipTransfer") {
      const leader = cluster.leader();
      if (leader?.raft === undefined || leader === target) return undefined;
      leader.raft.transferLeader(target.peer);
      leader.observe();
      this.firings.leadershipTransfer++;
      return undefined;
    }
    // Compaction under lag: one falls behind, the others compact, and then it comes back.
    const others = cluster.machines.map(({ id }) => id).filter((id) => id !== target.id);
    const effect: NetworkEffect = {
      kind: "cut",
      links: linksBetween([target.id], others),
      rate: 1,
      amount: 1,
      random: itemRandom(this.#seed, item.id),
      fire: () => undefined,
    };
    cluster.network.add(effect);
    return () => {
      this.#compactAll([target.id]);
      this.firings.compactionUnderLag++;
      cluster.network.remove(effect);
    };
  }
}

function remove<T>(list: T[], item: T): void {
  const at = list.indexOf(item);
  if (at >= 0) list.splice(at, 1);
}
