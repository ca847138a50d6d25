/** Runs the same command on both sides and compares what it says. */

import { order, type Context } from "./context.ts";
import type { Guest, Side } from "./guest.ts";
import { median, rounded } from "./stats.ts";

export interface Task {
  readonly name: string;
  readonly group: string;
  /** Prints "bench: begin", then "bench: end CHECKSUM"; the guest's shell then says "bench: done 0". */
  readonly command: string;
  readonly timeoutMs: number;
}

export interface Row {
  readonly name: string;
  readonly group: string;
  readonly oursMs: number | null;
  readonly qemuMs: number | null;
  /** QEMU's time over ours: how many times as fast we are. */
  readonly ratio: number | null;
  readonly checksum: string | null;
  readonly rounds: Readonly<Record<Side, readonly number[]>>;
  readonly reason?: string;
}

export interface Ran {
  readonly ms: number;
  readonly checksum: string;
}

const READY_MS = 300_000;

export async function ready(guest: Guest): Promise<Guest> {
  await guest.console.waitFor(`${guest.side}'s shell`, /bench: ready\r?\n/, READY_MS);
  return guest;
}

/** For what is not measured. Errors: TimedOut; Error with what the guest said when the command fails. */
export async function prepare(guest: Guest, command: string): Promise<void> {
  guest.type(command);
  const done = await guest.console.waitFor(command, /bench: done (\d+)/, READY_MS);
  if (done.groups[0] !== "0") throw new Error(`${command} failed:\n${guest.console.tail()}`);
}

/** Errors: TimedOut; Error with what the guest said when the command fails. */
export async function runOnce(guest: Guest, task: Task): Promise<Ran> {
  const { console, side } = guest;
  const what = `${task.name} on ${side}`;
  guest.type(task.command);
  const begin = await console.waitFor(`start of ${what}`, /bench: begin\r?\n/, READY_MS);
  const end = await console.waitFor(`end of ${what}`, /bench: end (\S+)\r?\n/, task.timeoutMs);
  const done = await console.waitFor(`shell after ${what}`, /bench: done (\d+)/, READY_MS);
  if (done.groups[0] !== "0") throw new Error(`${what} failed:\n${console.tail()}`);
  return { ms: end.atMs - begin.atMs, checksum: end.groups[0] ?? "" };
}

/** One side after the other, `rounds` times. Errors: those of `once`; Error when checksums differ. */
export async function measure(
  { name, group }: Task,
  { rounds }: Context,
  once: (side: Side) => Promise<Ran>,
): Promise<Row> {
  const times: Record<Side, number[]> = { ours: [], qemu: [] };
  const checksums = new Set<string>();
  for (let round = 0; round < rounds; round++) {
    for (const side of order(round)) {
      const { ms, checksum } = await once(side);
      times[side].push(rounded(ms));
      checksums.add(checksum);
    }
  }
  const [checksum, ...others] = checksums;
  if (checksum === undefined || others.length > 0) {
    throw new Error(`${name}: the sides disagree: ${[...checksums].join(", ")}`);
  }
  const [oursMs, qemuMs] = [median(times.ours), median(times.qemu)];
  return { name, group, oursMs, qemuMs, ratio: rounded(qemuMs / oursMs), checksum, rounds: times };
}

export function unmeasured({ name, group }: Task, reason: string): Row {
  const rounds = { ours: [], qemu: [] };
  return { name, group, oursMs: null, qemuMs: null, ratio: null, checksum: null, rounds, reason };
}

export function describe(row: Row): string {
  const text = (ms: number | null): string => (ms === null ? "-" : `${Math.round(ms)} ms`);
  const ratio = row.ratio === null ? (row.reason ?? "") : `${row.ratio}x`;
  const [ours, qemu] = [text(row.oursMs), text(row.qemuMs)];
  return `  ${row.name.padEnd(12)} ours ${ours.padStart(9)}  qemu ${qemu.padStart(9)}  ${ratio}`;
}
