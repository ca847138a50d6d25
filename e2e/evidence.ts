/**
 * Keeps every console log that any node ever wrote, even when the node deletes it later, and checks from
 * the host's time stamps that no two epochs of a VM ever ran side by side.
 */

import { linkSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { readStampedConsole } from "@blixard/drivers";

/** What a guest prints every 20 ms; the epoch is the one that its agent was started with. */
const TICK = /^tick (\d+) \d+$/;
const TICK_SCRIPT = 'i=0; while :; do i=$((i+1)); echo "tick $BLIXARD_EPOCH $i"; PAUSE; done';
/** busybox' shell waits by itself; a fork for each tick would be too slow in an emulated guest. */
const PAUSES: Readonly<Record<string, string>> = {
  qemu: "read -t 0.02 nothing <&3",
  embedded: "read -t 0.02 nothing <&3",
  fake: "sleep 0.02",
};

export function tickCommand(driver: string): string[] {
  const script = TICK_SCRIPT.replace("PAUSE", PAUSES[driver] ?? "sleep 0.02");
  return [
    "sh",
    "-c",
    driver === "fake" ? script : `mkfifo /tmp/tick; exec 3<>/tmp/tick; ${script}`,
  ];
}

export interface Interval {
  readonly vm: string;
  readonly epoch: number;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly ticks: number;
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

  /** One interval for each epoch of each VM, from its first to its last tick. */
  async intervals(): Promise<Interval[]> {
    const found = new Map<string, Interval>();
    for (const vm of namesIn(this.#dir)) {
      for (const log of namesIn(join(this.#dir, vm))) {
        for await (const stamped of readStampedConsole(join(this.#dir, vm, log))) {
          const tick = TICK.exec(stamped.line);
          if (tick === null || !stamped.complete) continue;
          const epoch = Number(tick[1]);
          if (epoch !== stamped.epoch)
            throw new Error(`guest says epoch ${epoch}, log ${stamped.epoch}`);
          widen(found, vm, epoch, stamped.monotonicMs);
        }
      }
    }
    return [...found.values()].sort((a, b) => a.vm.localeCompare(b.vm) || a.epoch - b.epoch);
  }
}

function widen(found: Map<string, Interval>, vm: string, epoch: number, atMs: number): void {
  const key = `${vm} ${epoch}`;
  const known = found.get(key);
  found.set(key, {
    vm,
    epoch,
    firstMs: Math.min(known?.firstMs ?? atMs, atMs),
    lastMs: Math.max(known?.lastMs ?? atMs, atMs),
    ticks: (known?.ticks ?? 0) + 1,
  });
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
      const byMs = earlier.lastMs - later.firstMs;
      if (byMs >= 0) found.push({ vm: later.vm, earlier, later, byMs });
    }
  }
  return found;
}
