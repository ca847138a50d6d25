/** What a guest costs that does nothing: three of them, as a host counts it. */

import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Measured } from "./bars.ts";
import { agentAnswers, warmImage } from "./boot.ts";
import { type Context, withSeveral } from "./context.ts";
import type { Guest } from "./guest.ts";

const MACHINES = 3;
const SETTLE_MS = 5000;
const WATCH_MS = 15_000;
const QUICK_WATCH_MS = 5000;
/** USER_HZ, which /proc counts in on every Linux. */
const TICKS_PER_SECOND = 100;

export interface Idle {
  readonly machines: number;
  readonly cpuPercent: Measured;
  readonly privateMb: Measured;
}

async function cpuSeconds(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8");
  // The name may hold spaces; utime and stime are fields 14 and 15.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Pages that no other process shares. */
async function privateBytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
  const rows = text.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB$/gm);
  return [...rows].reduce((sum, row) => sum + Number(row[1]) * 1024, 0);
}

async function beyondGuestRam(guest: Guest): Promise<number> {
  const touched = await guest.touchedBytes();
  if (touched === undefined) throw new Error("the machine does not say what RAM it has touched");
  return (await privateBytes(guest.pid)) - touched;
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

export async function idle(context: Context): Promise<Idle | undefined> {
  if (!context.wanted("idle", "idle_cpu_percent", "idle_private_mb")) return undefined;
  context.say(`idle: ${MACHINES} machines of ours`);
  // As on a node where the image has run before.
  const launch = await warmImage(context);
  return await withSeveral(MACHINES, "ours", launch, context, async (guests) => {
    await Promise.all(guests.map(agentAnswers));
    await sleep(SETTLE_MS);
    const watched = async (): Promise<number> =>
      sum(await Promise.all(guests.map(({ pid }) => cpuSeconds(pid))));
    const [before, startedMs] = [await watched(), performance.now()];
    await sleep(context.quick ? QUICK_WATCH_MS : WATCH_MS);
    const seconds = (performance.now() - startedMs) / 1000;
    const cpuPercent = (((await watched()) - before) / seconds / MACHINES) * 100;
    const beyond = sum(await Promise.all(guests.map(beyondGuestRam))) / MACHINES / 1e6;
    context.say(`  ${cpuPercent.toFixed(2)} % of a CPU, ${beyond.toFixed(1)} MB each`);
    return { machines: MACHINES, cpuPercent: { value: cpuPercent }, privateMb: { value: beyond } };
  });
}
