/**
 * `npm run test:soak`: a mixed load on the embedded machine for as long as asked. Debian's python, gcc, sqlite and a
 * shell that forks run one after another, while hot loops, pipes and random numbers run beside them; every checksum
 * must be that of a guest which is interpreted, and the kernel must have nothing to complain of.
 *
 *   --minutes N   how long (2)       --jit on|off  whether it compiles (on)       --json  one object
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { assert, toBlixardError } from "@blixard/std";
import { MEMORY_BYTES, MOUNT, NAMES, taskOf } from "./machine/cold.ts";
import { type Guest, type Launch, type Options, QEMU, startGuest } from "./machine/guest.ts";
import { buildFiles, CMDLINE, compile, KERNELS } from "./machine/kernels.ts";
import { buildRoot } from "./machine/root.ts";
import { prepare, ready, runOnce } from "./machine/runs.ts";

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    minutes: { type: "string", default: "2" },
    jit: { type: "string", default: "on" },
  },
});
const minutes = Number(values.minutes);
if (!(minutes > 0 && minutes <= 24 * 60))
  throw new TypeError("--minutes takes up to a day of them");
const jit: Options["jit"] = (["on", "off"] as const).find((word) => word === values.jit);
if (jit === undefined) throw new TypeError("--jit takes on or off");

const LOOPS = KERNELS.map(({ name }) => name);
const REPETITIONS = 20;
/** Adds the loops' last lines to a file, which must hold as many different ones as there are loops. */
const BESIDE = [
  `for k in ${LOOPS.join(" ")}; do /bench/$k ${REPETITIONS} | tail -n 1 | sed "s/^/$k /" >> /tmp/sums; done`,
  "head -c 2000000 /dev/urandom > /tmp/noise",
  "gzip < /tmp/noise | gunzip | cmp - /tmp/noise || echo torn >> /tmp/sums",
].join("; ");
const COMPLAINTS = "dmesg | grep -iE 'oops|bug:|segfault|unhandled signal|call trace|soft lockup'";
/** Far more than a quiet machine needs. */
const WAIT_MS = 900_000;
const taskFor = (name: (typeof NAMES)[number]) => ({ ...taskOf(name), timeoutMs: WAIT_MS });
const say = (line: string): void => void process.stderr.write(`${line}\n`);

async function within<T>(
  launch: Launch,
  compiler: Options["jit"],
  use: (guest: Guest) => Promise<T>,
): Promise<T> {
  const options = compiler === undefined ? { qemu: QEMU } : { qemu: QEMU, jit: compiler };
  const guest = await startGuest("ours", launch, options);
  try {
    await ready(guest);
    await prepare(guest, MOUNT);
    return await use(guest);
  } finally {
    await guest.stop();
  }
}

/** One pass over everything, with nothing beside it: what is right. */
async function expected(guest: Guest): Promise<{ tasks: Map<string, string>; sums: string }> {
  const tasks = new Map<string, string>();
  for (const name of NAMES) tasks.set(name, (await runOnce(guest, taskFor(name))).checksum);
  await prepare(guest, BESIDE);
  return { tasks, sums: await sumsOf(guest) };
}

async function sumsOf(guest: Guest): Promise<string> {
  guest.type("echo sums=$(sort -u /tmp/sums | md5sum) count=$(sort -u /tmp/sums | wc -l)");
  const found = await guest.console.waitFor("sums", /sums=(\w+) - count=(\d+)\r?\n/, WAIT_MS);
  await guest.console.waitFor("shell", /bench: done 0/, WAIT_MS);
  const [sums = "", count] = found.groups;
  assert(Number(count) === LOOPS.length, `${count} different results of ${LOOPS.length} loops`);
  return sums;
}

async function soak(folder: string) {
  const disk = await buildRoot(say);
  const files = await buildFiles(folder, await compile(folder, LOOPS));
  const launch = { ...files, cmdline: CMDLINE, memoryBytes: MEMORY_BYTES, disk };
  const right = await within(launch, "off", expected);
  say(`interpreted: ${[...right.tasks].map((pair) => pair.join(" ")).join(", ")}`);
  return await within(launch, jit, async (guest) => {
    await prepare(guest, `( while [ ! -e /tmp/stop ]; do ${BESIDE}; done; : > /tmp/stopped ) &`);
    const until = performance.now() + minutes * 60_000;
    let ran = 0;
    while (performance.now() < until) {
      for (const name of NAMES) {
        const { checksum, ms } = await runOnce(guest, taskFor(name));
        const same = checksum === right.tasks.get(name);
        assert(same, `${name}: ${checksum}, interpreted ${right.tasks.get(name)}`);
        ran++;
        say(`  ${name.padEnd(7)} ${Math.round(ms)} ms, the same`);
      }
    }
    await prepare(guest, ": > /tmp/stop; while [ ! -e /tmp/stopped ]; do sleep 0.1; done");
    assert((await sumsOf(guest)) === right.sums, "the loops gave what they give when interpreted");
    await prepare(guest, `! ${COMPLAINTS}`);
    return { ran, instructions: (await guest.instructions()) ?? 0 };
  });
}

const started = performance.now();
const seconds = (): number => Math.round((performance.now() - started) / 100) / 10;
const folder = await mkdtemp(join(tmpdir(), "blixard-soak-"));
try {
  const { ran, instructions } = await soak(folder);
  const result = { ok: true, ran, skipped: 0, seconds: seconds(), jit, instructions };
  console.log(
    values.json ? JSON.stringify(result) : `${ran} programs in ${seconds()} s: all right`,
  );
} catch (caught) {
  const { message, failure, exitCode } = toBlixardError(caught);
  const result = { ok: false, ran: 0, skipped: 0, seconds: seconds(), error: failure };
  if (values.json) console.log(JSON.stringify(result));
  say(`soak failed: ${message}`);
  process.exitCode = exitCode;
} finally {
  await rm(folder, { recursive: true, force: true });
}
