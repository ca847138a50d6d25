/** From the start of the process to a guest that answers: our image to its agent, Debian's kernel to init. */

import { Prng } from "@blixard/std";
import { access, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import { keptRegionsName } from "@blixard/machine";
import { buildDebian } from "../../guest/debian/build.ts";
import { CMDLINE as DEBIAN_CMDLINE, MARK } from "../../guest/debian/recipe.ts";
import { imagesDir } from "../../guest/image/build.ts";
import { CMDLINE } from "../../guest/riscv64/recipe.ts";
import { AgentClient } from "../../packages/drivers/src/agent/index.ts";
import { type Context, reasonOf, withGuest } from "./context.ts";
import type { Guest, Launch } from "./guest.ts";
import { STORE } from "./kernels.ts";
import { describe, measure, type Row, type Task, unmeasured } from "./runs.ts";

const MEMORY_BYTES = 256 * 1024 * 1024;
const TIMEOUT_MS = 120_000;

/** Our image, unpacked for QEMU. */
export async function ownImage(folder: string): Promise<Launch> {
  const kernel = join(folder, "own-Image");
  await writeFile(kernel, gunzipSync(await readFile(join(STORE, "vmlinuz"))));
  const initrd = join(STORE, "initrd.img");
  return { kernel, initrd, cmdline: CMDLINE, memoryBytes: MEMORY_BYTES };
}

const POLL_MS = 50;

/** The same, with what a first boot leaves behind for those that follow. */
export async function warmImage(context: Context): Promise<Launch> {
  const { folder } = context;
  const caches = { regions: join(folder, "regions"), modules: join(folder, "modules") };
  const launch = { ...(await ownImage(folder)), caches };
  const kept = join(caches.regions, keptRegionsName(MEMORY_BYTES));
  await withGuest("ours", launch, context, async (guest) => {
    await agentAnswers(guest);
    const until = performance.now() + TIMEOUT_MS;
    while (!(await exists(kept))) {
      if (performance.now() > until) throw new Error(`no compiled regions in ${caches.regions}`);
      await sleep(POLL_MS);
    }
  });
  return launch;
}

const exists = async (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

async function debianImage(say: (line: string) => void): Promise<Launch> {
  const { image, initrd } = await buildDebian({ cacheDir: imagesDir(), onProgress: say });
  return { kernel: image, initrd, cmdline: DEBIAN_CMDLINE, memoryBytes: MEMORY_BYTES };
}

/** Resolves with performance.now() when the guest's agent has answered. */
export async function agentAnswers(guest: Guest): Promise<number> {
  const client = new AgentClient({ stream: guest.agent, random: new Prng(1) });
  await client.hello(TIMEOUT_MS);
  const atMs = performance.now();
  client.close();
  return atMs;
}

async function initSpeaks(guest: Guest): Promise<number> {
  const { console } = guest;
  return (await console.waitFor("first line of init", new RegExp(MARK.init), TIMEOUT_MS)).atMs;
}

async function bootRow(
  name: string,
  context: Context,
  prepare: () => Promise<Launch>,
  booted: (guest: Guest) => Promise<number>,
): Promise<Row> {
  const task: Task = { name, group: "boot", command: "", timeoutMs: TIMEOUT_MS };
  const work = async (): Promise<Row> => {
    const launch = await prepare();
    return await measure(task, context, async (side) =>
      withGuest(side, launch, context, async (guest) => {
        const ms = (await booted(guest)) - guest.startedAtMs;
        return { ms, checksum: "booted" };
      }),
    );
  };
  const row = await work().catch((caught: unknown) => unmeasured(task, reasonOf(caught)));
  context.say(describe(row));
  return row;
}

export async function boot(context: Context): Promise<Row[]> {
  const rows: Row[] = [];
  const { folder, say } = context;
  const own = ["boot_own", "boot_own_cold_ratio", "boot_own_warm_ratio"];
  if (context.wanted("boot", ...own)) {
    say("boot: process start to the agent's answer");
    rows.push(await bootRow("boot_own", context, async () => ownImage(folder), agentAnswers));
    // An interpreter leaves nothing that a later boot could use.
    if (context.jit !== "off") {
      rows.push(await bootRow("boot_warm", context, async () => warmImage(context), agentAnswers));
    }
  }
  if (context.wanted("boot", "boot_debian", "boot_debian_ratio")) {
    say("boot: process start to the first line of init, Debian's kernel");
    rows.push(await bootRow("boot_debian", context, async () => debianImage(say), initSpeaks));
  }
  return rows;
}
