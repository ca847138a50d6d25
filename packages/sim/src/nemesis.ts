/**
 * What goes wrong, and when. Each run draws which kinds of fault it has at all (swarm testing: a
 * run with few kinds reaches states that a run with all kinds hardly ever does), then injects them
 * at random times until the healing, after which the world must recover.
 */

import type { Prng } from "@blixard/std";
import type { SimClock } from "./clock.ts";
import { GOOD_DISK, type SimDisk } from "./disk.ts";
import { GOOD_LINK, type SimNetwork } from "./network.ts";
import type { Host, World } from "./world.ts";

export const FAULTS = [
  "kill",
  "powerCut",
  "blackout",
  "stop",
  "partition",
  "oneWay",
  "lossy",
  "straggle",
  "pause",
  "suspend",
  "drift",
  "wallJump",
  "slowDisk",
  "fullDisk",
  "syncFails",
  "sickDisk",
  "rot",
] as const;
export type Fault = (typeof FAULTS)[number];

/** One machine as the nemesis sees it. */
export interface Victim {
  readonly host: Host;
  readonly clock: SimClock;
  readonly disk?: SimDisk;
  kill(): void;
  cutPower(): void;
  /** Does nothing when it is up or broken for good. */
  restart(): void;
  /** The whole machine sleeps, with all that runs on it; absent: suspend is not simulated. */
  suspend?(forUs: number): void;
  /** Ends gracefully, within a bounded time; then it is down. */
  stop?(): void;
  /** Spoils something that was durable while the member is down; tells where. */
  rot?(random: Prng): string | undefined;
}

export interface NemesisOptions {
  readonly faults: readonly Fault[];
  /** Mean time between two faults. */
  readonly gapUs: number;
  /** The longest that one fault lasts. */
  readonly longestUs: number;
  readonly untilUs: number;
  /** Clocks stay within 1 +- this. */
  readonly driftPpm: number;
}

/** Draws which kinds of fault a run has: each with an even chance. */
export function drawFaults(random: Prng, possible: readonly Fault[]): Fault[] {
  return possible.filter(() => random.chance(0.5));
}

export class Nemesis {
  injected = 0;
  readonly #world: World;
  readonly #random: Prng;
  readonly #victims: readonly Victim[];
  readonly #networks: readonly SimNetwork[];
  readonly #options: NemesisOptions;
  /** Rot hits a minority only, always the same. */
  readonly #rotten: ReadonlySet<Victim>;
  #isHealed = false;

  constructor(
    world: World,
    random: Prng,
    victims: readonly Victim[],
    networks: readonly SimNetwork[],
    options: NemesisOptions,
  ) {
    this.#world = world;
    this.#random = random;
    this.#victims = victims;
    this.#networks = networks;
    this.#options = options;
    const first = random.below(victims.length);
    const minority = Math.floor((victims.length - 1) / 2);
    this.#rotten = new Set(
      Array.from({ length: minority }, (_, i) => victims[(first + i) % victims.length]).filter(
        (victim) => victim !== undefined,
      ),
    );
  }

  start(): void {
    if (this.#options.faults.length > 0) this.#next();
    this.#world.after(this.#options.untilUs - this.#world.nowUs, undefined, "fault", 0, () =>
      this.heal(),
    );
  }

  #next(): void {
    const delayUs = this.#random.between(1, 2 * this.#options.gapUs);
    this.#world.after(delayUs, undefined, "fault", 1, () => {
      if (this.#isHealed) return;
      this.#inject();
      this.#next();
    });
  }

  #note(victim: Victim | undefined, text: string): void {
    this.#world.note(victim?.host.id, `! ${text}`);
  }

  /** Runs `end` when the fault is over, unless everything was healed before. */
  #endLater(end: () => void): void {
    const forUs = this.#duration();
    this.#world.after(forUs, undefined, "fault", 2, () => {
      if (!this.#isHealed) end();
    });
  }

  #duration(): number {
    const { longestUs } = this.#options;
    const shortestUs = this.#random.chance(0.5) ? 1000 : Math.floor(longestUs / 2);
    return this.#random.between(shortestUs, longestUs);
  }

  #inject(): void {
    const random = this.#random;
    const fault = this.#options.faults[random.below(this.#options.faults.length)];
    const victim = this.#victims[random.below(this.#victims.length)];
    if (fault === undefined || victim === undefined) return;
    this.injected++;
    switch (fault) {
      case "kill":
      case "powerCut":
      case "blackout":
        return this.#crash(fault, victim);
      case "stop":
        if (victim.stop === undefined || !victim.host.up) return;
        this.#note(victim, "stop");
        victim.stop();
        return this.#endLater(() => victim.restart());
      case "partition":
      case "oneWay":
        return this.#cut(fault, victim);
      case "lossy":
      case "straggle":
        return this.#degrade(fault);
      case "pause":
      case "suspend":
        return this.#stall(fault, victim);
      case "drift": {
        const ppm = random.between(-this.#options.driftPpm, this.#options.driftPpm);
        victim.clock.setRate(1 + ppm / 1e6);
        return this.#note(victim, `drift ${ppm} ppm`);
      }
      case "wallJump":
        victim.clock.jumpWall(random.between(-1e7, 1e7));
        return this.#note(victim, "wall clock jumps");
      case "slowDisk":
      case "fullDisk":
      case "syncFails":
      case "sickDisk":
      case "rot":
        return this.#hurtDisk(fault, victim);
    }
  }

  #crash(fault: "kill" | "powerCut" | "blackout", victim: Victim): void {
    const hit = fault === "blackout" ? this.#victims : [victim];
    for (const one of hit) {
      if (one.host.up) {
        this.#note(one, fault);
        if (fault === "kill") one.kill();
        else one.cutPower();
      }
      this.#endLater(() => one.restart());
    }
  }

  #cut(fault: "partition" | "oneWay", victim: Victim): void {
    const random = this.#random;
    const ids = this.#victims.map((one) => one.host.id);
    const { id } = victim.host;
    let links: (readonly [number, number])[];
    if (fault === "oneWay") {
      const isDeaf = random.chance(0.5);
      const others = ids.filter((other) => other !== id && random.chance(0.7));
      links = others.map((other) => (isDeaf ? [other, id] : [id, other]));
      this.#note(victim, `${isDeaf ? "does not hear" : "is not heard by"} ${others.join(",")}`);
    } else {
      const left = ids.filter((other) => other === id || random.chance(0.3));
      const right = ids.filter((other) => !left.includes(other));
      links = left.flatMap((x) => right.flatMap((y) => [[x, y] as const, [y, x] as const]));
      this.#note(undefined, `partition ${left.join(",")} | ${right.join(",")}`);
    }
    const isNearSender = random.chance(0.5);
    const ends = this.#networks.map((network) => network.cut(links, isNearSender));
    this.#endLater(() => {
      for (const end of ends) end();
      this.#note(undefined, "a cut ends");
    });
  }

  #degrade(fault: "lossy" | "straggle"): void {
    const random = this.#random;
    const quality =
      fault === "lossy"
        ? { ...GOOD_LINK, loss: random.below(60) / 100, duplicate: random.below(40) / 100 }
        : { ...GOOD_LINK, straggle: random.below(40) / 100, straggleUs: this.#options.longestUs };
    for (const network of this.#networks) network.quality = quality;
    this.#note(undefined, fault);
    this.#endLater(() => {
      for (const network of this.#networks) network.quality = network.usual;
    });
  }

  #stall(fault: "pause" | "suspend", victim: Victim): void {
    const forUs = this.#duration();
    const { host } = victim;
    if (!host.up || host.pausedUntilUs > this.#world.nowUs) return;
    if (fault === "suspend" && victim.suspend === undefined) return;
    host.pausedUntilUs = this.#world.nowUs + forUs;
    if (fault === "suspend") victim.suspend?.(forUs);
    this.#note(victim, `${fault} for ${(forUs / 1000).toFixed(0)} ms`);
  }

  #hurtDisk(
    fault: "slowDisk" | "fullDisk" | "syncFails" | "sickDisk" | "rot",
    victim: Victim,
  ): void {
    if (fault === "rot") {
      const [...rotten] = this.#rotten;
      const chosen = rotten[this.#random.below(Math.max(1, rotten.length))];
      if (chosen?.rot === undefined) return;
      // At rest: what a running member keeps in memory would hide it until the next start anyway.
      if (chosen.host.up) this.#crash("powerCut", chosen);
      return this.#note(chosen, `rot at ${chosen.rot(this.#random) ?? "nothing"}`);
    }
    const { disk } = victim;
    if (disk === undefined) return;
    const before = disk.behaviour;
    disk.behaviour = {
      ...before,
      ...(fault === "slowDisk" ? { minLatencyUs: 500, maxLatencyUs: 50_000 } : {}),
      ...(fault === "fullDisk" ? { full: true } : {}),
      ...(fault === "syncFails" ? { syncFails: 0.05 } : {}),
      ...(fault === "sickDisk" ? { fails: 0.01 } : {}),
    };
    this.#note(victim, fault);
    // What could not be written is best lost while it cannot be.
    if (fault === "fullDisk" && this.#random.chance(0.5)) {
      this.#endLater(() => this.#crash(this.#random.chance(0.5) ? "kill" : "powerCut", victim));
    }
    this.#endLater(() => {
      disk.behaviour = { ...GOOD_DISK, lyingSync: before.lyingSync };
    });
  }

  /** Everything works again and stays so. */
  heal(): void {
    this.#isHealed = true;
    this.#note(undefined, "healed");
    for (const network of this.#networks) {
      network.healLinks();
      network.usual = GOOD_LINK;
      network.quality = GOOD_LINK;
    }
    for (const victim of this.#victims) {
      const { disk } = victim;
      if (disk !== undefined) {
        disk.behaviour = { ...GOOD_DISK, lyingSync: disk.behaviour.lyingSync };
      }
      victim.restart();
    }
  }
}
