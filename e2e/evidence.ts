/**
 * Keeps every console log that any node ever wrote, even when the node deletes it later, and checks from
 * the host's time stamps that no two epochs of a VM ever ran side by side.
 */

import { linkSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { readStampedConsole } from "@blixard/drivers";

/** What a guest's `blixard-agent --tick` prints; the epoch is the one that its agent was started with. */
const TICK = /^tick (\d+) \d+$/;
export const TICK_MS = 20;

/** A VM's command. `program`: for the fake driver, whose guests run programs of this machine. */
export function tickCommand(program = "/usr/bin/blixard-agent"): string[] {
  return [program, "--tick", String(TICK_MS)];
}

export interface Interval {
  readonly vm: string;
  readonly epoch: number;
  /** The node that ran it. */
  readonly node: string;
  /** When each tick had arrived, in ascending order; CLOCK_MONOTONIC of the host. */
  readonly stampsMs: readonly number[];
}

/** While a node and its VMs were stopped by a signal; the host's CLOCK_MONOTONIC. */
export interface Pause {
  readonly node: string;
  readonly fromMs: number;
  readonly toMs: number;
}

export class Evidence {
  readonly #dir: string;
  readonly #sources: readonly { node: string; vms: string }[];
  readonly #kept = new Set<number>();
  readonly #timer: NodeJS.Timeout;

  constructor(dir: string, sources: readonly { node: string; vms: string }[]) {
    this.#dir = dir;
    this.#sources = sources;
    this.#timer = setInterval(() => this.collect(), 100);
  }

  /** A second link to each new log file: appends go on showing in it, removal does not. */
  collect(): void {
    for (const { node, vms } of this.#sources) {
      for (const vm of namesIn(vms)) {
        for (const name of namesIn(join(vms, vm))) {
          if (name.startsWith("console-")) this.#keep(node, vm, join(vms, vm, name), name);
        }
      }
    }
  }

  #keep(node: string, vm: string, path: string, name: string): void {
    try {
      const { ino } = statSync(path);
      if (this.#kept.has(ino)) return;
      const folder = join(this.#dir, vm, `${node}-${ino}`);
      mkdirSync(folder, { recursive: true });
      linkSync(path, join(folder, name));
      this.#kept.add(ino);
    } catch (caught) {
      // The node removed it between the listing and the link; nothing ran from a folder that new.
      if (!(caught instanceof Error && "code" in caught && caught.code === "ENOENT")) throw caught;
    }
  }

  stop(): void {
    clearInterval(this.#timer);
    this.collect();
  }

  /** One interval for each epoch of each VM that ticked. */
  async intervals(): Promise<Interval[]> {
    const found = new Map<string, Interval & { readonly stampsMs: number[] }>();
    for (const vm of namesIn(this.#dir)) {
      for (const log of namesIn(join(this.#dir, vm))) {
        const node = log.slice(0, log.lastIndexOf("-"));
        for await (const stamped of readStampedConsole(join(this.#dir, vm, log))) {
          const tick = TICK.exec(stamped.line);
          if (tick === null || !stamped.complete) continue;
          const epoch = Number(tick[1]);
          if (epoch !== stamped.epoch)
            throw new Error(`guest says epoch ${epoch}, log ${stamped.epoch}`);
          const key = `${vm} ${epoch}`;
          const interval = found.get(key) ?? { vm, epoch, node, stampsMs: [] };
          interval.stampsMs.push(stamped.monotonicMs);
          found.set(key, interval);
        }
      }
    }
    // A log may be in two segments, which come in no order.
    for (const { stampsMs } of found.values()) stampsMs.sort((a, b) => a - b);
    return [...found.values()].sort((a, b) => a.vm.localeCompare(b.vm) || a.epoch - b.epoch);
  }
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch (caught) {
    if (caught instanceof Error && "code" in caught && caught.code === "ENOENT") return [];
    throw caught;
  }
}

export interface Overlap {
  readonly vm: string;
  readonly earlier: Interval;
  readonly later: Interval;
  readonly byMs: number;
}

/** Pairs of epochs of one VM of which the later began before the earlier had ended. */
export function overlaps(intervals: readonly Interval[]): Overlap[] {
  const found: Overlap[] = [];
  for (const later of intervals) {
    for (const earlier of intervals) {
      if (earlier.vm !== later.vm || earlier.epoch >= later.epoch) continue;
      const byMs = (earlier.stampsMs.at(-1) ?? -Infinity) - (later.stampsMs[0] ?? Infinity);
      if (byMs >= 0) found.push({ vm: later.vm, earlier, later, byMs });
    }
  }
  return found;
}

/** How close the ticks stand: the resolution with which `overlaps` sees. */
export interface TickRate {
  readonly ticks: number;
  readonly medianGapMs: number;
  readonly p99GapMs: number;
  /** Of the time that the gaps cover together. */
  readonly ticksPerSecond: number;
}

/** Over the gaps between the ticks of each interval, but those in which its node was paused. */
export function tickRate(intervals: readonly Interval[], pauses: readonly Pause[]): TickRate {
  const gapsMs: number[] = [];
  let ticks = 0;
  for (const { node, stampsMs } of intervals) {
    const own = pauses.filter((pause) => pause.node === node);
    ticks += stampsMs.length;
    for (const [index, atMs] of stampsMs.entries()) {
      const beforeMs = stampsMs[index - 1];
      if (beforeMs === undefined) continue;
      if (own.some((pause) => pause.fromMs < atMs && pause.toMs > beforeMs)) continue;
      gapsMs.push(atMs - beforeMs);
    }
  }
  gapsMs.sort((a, b) => a - b);
  const quantile = (part: number): number => gapsMs[Math.floor((gapsMs.length - 1) * part)] ?? NaN;
  const totalMs = gapsMs.reduce((sum, gap) => sum + gap, 0);
  const rounded = (value: number): number => Math.round(value * 10) / 10;
  return {
    ticks,
    medianGapMs: rounded(quantile(0.5)),
    p99GapMs: rounded(quantile(0.99)),
    ticksPerSecond: rounded((gapsMs.length * 1000) / totalMs),
  };
}
