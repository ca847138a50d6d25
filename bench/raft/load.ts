/** The load generator, the same for both sides: so many clients, each one call after the other. */

import type { Door } from "../etcd.ts";

export interface Sample {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Share of one core that this process, the load generator, used. */
  readonly loadCpu: number;
}

export type Verb = "put" | "get";

const CALLS_MAX = 1_000_000;
/** Keys in use: both sides' states stay of one size. */
const KEYS = 10_000;
export const VALUE = "v".repeat(256);

let serial = 0;

export function nextKey(): string {
  return `bench-${(serial++ % KEYS).toString().padStart(8, "0")}`;
}

export async function load(
  door: Door,
  verb: Verb,
  clients: number,
  seconds: number,
): Promise<Sample> {
  const latencies: number[] = [];
  const call =
    verb === "put"
      ? () => door.put(nextKey(), VALUE)
      : () => door.get?.(nextKey()) ?? Promise.reject(new Error("this door cannot read"));
  const cpu = process.cpuUsage();
  const started = performance.now();
  const end = started + seconds * 1000;
  await Promise.all(
    Array.from({ length: clients }, async () => {
      for (let now = performance.now(); now < end && latencies.length < CALLS_MAX;) {
        await call();
        const after = performance.now();
        latencies.push(after - now);
        now = after;
      }
    }),
  );
  const elapsedMs = performance.now() - started;
  const { user, system } = process.cpuUsage(cpu);
  return {
    perSecond: Math.round((latencies.length / elapsedMs) * 1000),
    ...quantiles(latencies),
    loadCpu: round((user + system) / 1000 / elapsedMs),
  };
}

export function quantiles(latencies: number[]): { p50Ms: number; p99Ms: number } {
  latencies.sort((a, b) => a - b);
  const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? 0;
  return { p50Ms: round(at(0.5)), p99Ms: round(at(0.99)) };
}

export function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const lower = sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
  return (upper + lower) / 2;
}
