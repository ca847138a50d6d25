/** Rows that take long or need no etcd: transfer gap, memory, embedded use, one process. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../../e2e/cluster.ts";
import { load, nextKey, round, VALUE } from "./load.ts";
import { ourDoor, startOurs } from "./ours.ts";

export interface TransferGaps {
  /** Largest gap between two acknowledged writes around each planned transfer, ms. */
  readonly gaps: readonly number[];
  /** The same over as long a time just before each, without one: what disk and machine do anyway. */
  readonly steady: readonly number[];
}

/** Under load of 63 clients, a third of them at each member. */
export async function transferGaps(count: number): Promise<TransferGaps> {
  const ours = await startOurs();
  try {
    const doors = [1, 2, 3].map((id) => ourDoor(ours.client(id)));
    const acks: number[] = [];
    const over = new AbortController();
    const writers = Array.from({ length: 63 }, async (_, i) => {
      const door = doors[i % 3];
      while (!over.signal.aborted) {
        await door?.put(nextKey(), VALUE);
        acks.push(performance.now());
      }
    });
    const gaps: number[] = [];
    const steady: number[] = [];
    for (let i = 0; i < count; i++) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      const from = await ours.leader();
      const admin = ours.client(from);
      const beganAt = performance.now();
      const moved = await admin.transferLeadership((from % 3) + 1, { timeoutMs: 5_000 });
      admin.close();
      if (!moved.ok) throw new Error(JSON.stringify(moved.error));
      await new Promise((resolve) => setTimeout(resolve, 300));
      gaps.push(largestGap(acks, beganAt - 20, beganAt + 250));
      steady.push(largestGap(acks, beganAt - 290, beganAt - 20));
    }
    over.abort();
    await Promise.all(writers);
    for (const door of doors) door.close();
    return { gaps, steady };
  } finally {
    await ours.close();
  }
}

function largestGap(acks: readonly number[], from: number, to: number): number {
  const near = acks.filter((at) => at > from && at < to);
  return round(Math.max(...near.slice(1).map((at, i) => at - (near[i] ?? at))));
}

function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
}

/** Resident memory of the largest member, again and again under load with frequent snapshots. */
export async function memorySeries(minutes: number): Promise<number[]> {
  const ours = await startOurs({ tune: { snapshotEveryEntries: 50_000 } });
  try {
    const door = ourDoor(ours.client(await ours.leader()));
    const series: number[] = [];
    for (let i = 0; i < minutes * 6; i++) {
      await load(door, "put", 64, 10);
      const members = [...ours.members.values()].map(({ pid }) => residentBytes(pid ?? 0));
      series.push(Math.max(...members));
    }
    door.close();
    return series;
  } finally {
    await ours.close();
  }
}

/** Growth after the first fifth, which warms up: the median of the last fifth over that of the second. */
export function growth(series: readonly number[]): number {
  const fifth = Math.max(1, Math.floor(series.length / 5));
  const middle = (part: readonly number[]): number =>
    part.toSorted((a, b) => a - b)[Math.floor(part.length / 2)] ?? Number.NaN;
  return middle(series.slice(-fifth)) / middle(series.slice(fifth, 2 * fifth));
}

/** Commits a second with 256 in flight, proposed in the leader's own process; or of the bare loop. */
export async function embeddedRate(kind: "cluster" | "loop", seconds: number): Promise<number> {
  const program = join(import.meta.dirname, kind === "cluster" ? "embedded.ts" : "loop.ts");
  const env = { BLIXARD_BENCH_SECONDS: String(seconds) };
  const ours = await startOurs({ program, env, ...(kind === "loop" ? { isBare: true } : {}) });
  try {
    return await until("the result", (seconds + 60) * 1000, () => {
      const text = readIfThere(join(ours.dir, "result.json"));
      return text === undefined ? undefined : Number(text);
    });
  } finally {
    await ours.close();
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (caught) {
    if (caught instanceof Error && "code" in caught && caught.code === "ENOENT") return undefined;
    throw caught;
  }
}
