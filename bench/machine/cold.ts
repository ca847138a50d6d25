/** Large programs that run once: Debian's, in a guest that has just booted, so that nothing is compiled yet. */

import { type Context, reasonOf, withGuest } from "./context.ts";
import { buildFiles, CMDLINE } from "./kernels.ts";
import { buildRoot } from "./root.ts";
import {
  describe,
  measure,
  prepare,
  ready,
  type Row,
  runOnce,
  type Task,
  unmeasured,
} from "./runs.ts";

/** In /bench of the Debian root. */
export const NAMES = ["python", "gcc", "sqlite", "shell"] as const;
export const MEMORY_BYTES = 512 * 1024 * 1024;
export const TIMEOUT_MS = 180_000;
/** The Debian root at /mnt. */
export const MOUNT = [
  "mount -t ext4 -o ro /dev/vda /mnt",
  "mount -t proc proc /mnt/proc",
  "mount -t tmpfs tmp /mnt/tmp",
  "mount -t devtmpfs dev /mnt/dev",
].join(" && ");

export function taskOf(name: (typeof NAMES)[number]): Task {
  const command = `chroot /mnt /bench/run ${name}`;
  return { name, group: "cold", command, timeoutMs: TIMEOUT_MS };
}

export async function cold(context: Context): Promise<Row[]> {
  const names = NAMES.filter((name) => context.wanted(name, "cold", "cold_geomean"));
  if (names.length === 0) return [];
  context.say(`cold: ${names.join(", ")}`);
  const tasks = names.map(taskOf);
  let disk = "";
  try {
    disk = await buildRoot(context.say);
  } catch (caught) {
    context.say(`  the disk cannot be made: ${reasonOf(caught)}`);
    return tasks.map((task) => unmeasured(task, reasonOf(caught)));
  }
  const files = await buildFiles(context.folder, []);
  const launch = { ...files, cmdline: CMDLINE, memoryBytes: MEMORY_BYTES, disk };
  const rows: Row[] = [];
  for (const task of tasks) {
    const once = measure(task, context, async (side) =>
      withGuest(side, launch, context, async (guest) => {
        await ready(guest);
        await prepare(guest, MOUNT);
        return await runOnce(guest, task);
      }),
    );
    const row = await once.catch((caught: unknown) => unmeasured(task, reasonOf(caught)));
    context.say(describe(row));
    rows.push(row);
  }
  return rows;
}
