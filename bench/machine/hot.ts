/** Small loops that run long: what a compiler is made for. One guest a side for all of them. */

import { type Context, reasonOf, withBoth } from "./context.ts";
import { buildFiles, CMDLINE, compile, KERNELS } from "./kernels.ts";
import { describe, measure, ready, type Row, runOnce, type Task, unmeasured } from "./runs.ts";

const QUICK_DIVISOR = 2;
const MEMORY_BYTES = 256 * 1024 * 1024;
const TIMEOUT_MS = 120_000;

export async function hot(context: Context): Promise<Row[]> {
  const kernels = KERNELS.filter(({ name, group }) => context.wanted(name, group, "hot"));
  if (kernels.length === 0) return [];
  const names = kernels.map(({ name }) => name);
  context.say(`hot: ${names.join(", ")}`);
  const files = await buildFiles(context.folder, await compile(context.folder, names));
  const tasks = kernels.map(({ name, group, repetitions }): Task => {
    const times = context.quick ? Math.ceil(repetitions / QUICK_DIVISOR) : repetitions;
    return { name, group, command: `/bench/${name} ${times}`, timeoutMs: TIMEOUT_MS };
  });
  const launch = { ...files, cmdline: CMDLINE, memoryBytes: MEMORY_BYTES };
  return await withBoth(launch, context, async (guests) => {
    await Promise.all([ready(guests.ours), ready(guests.qemu)]);
    const rows: Row[] = [];
    for (const task of tasks) {
      const once = measure(task, context, async (side) => runOnce(guests[side], task));
      const row = await once.catch((caught: unknown) => unmeasured(task, reasonOf(caught)));
      context.say(describe(row));
      rows.push(row);
    }
    return rows;
  });
}
