/** How the speed changes with the working set, with the code footprint, and with several machines at once. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Context, order, reasonOf, withBoth, withSeveral } from "./context.ts";
import type { Guest, Side } from "./guest.ts";
import { buildFiles, CMDLINE, compile, compileFile, KERNELS } from "./kernels.ts";
import { ready, runOnce, type Task } from "./runs.ts";
import { rounded } from "./stats.ts";

const KIB = 1024;
const MEMORY_BYTES = 512 * 1024 * KIB;
const TIMEOUT_MS = 120_000;
const WORKING_SETS = [16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144].map((kib) => kib * KIB);
/** Enough for a second or so: small sets are fast. */
const stepsFor = (bytes: number): number => (bytes <= 256 * KIB ? 60_000_000 : 10_000_000);
/** Bytes of one generated function, about. */
const FUNCTION_BYTES = 256;
const FUNCTIONS_MAX = 8192;
const FOOTPRINTS = [16, 64, 256, 1024, 2048].map((kib) => kib * KIB);
const CALLS = 1_500_000;
const MACHINES = [1, 2, 4];

export interface Point {
  /** Bytes of the working set or of code, or machines. */
  readonly size: number;
  /** Million guest instructions a second, of all machines together; QEMU's from the same instruction count. */
  readonly oursMips: number;
  readonly qemuMips: number;
  readonly ratio: number;
}

export interface Scale {
  readonly memory?: readonly Point[] | { readonly reason: string };
  readonly code?: readonly Point[] | { readonly reason: string };
  readonly machines?: readonly Point[] | { readonly reason: string };
}

/** Functions of about 256 bytes that do not inline, called in an order that no predictor knows. */
function codeProgram(): string {
  const functions = Array.from({ length: FUNCTIONS_MAX }, (_, n) => {
    const step = (k: number): string => {
      const [a, b] = [(n * 13 + k * 7) % 61, (n * 29 + k * 11) % 59];
      return `  x = (x << ${1 + (a % 7)}) ^ (x >> ${3 + (b % 5)}) ^ ${a * 977 + b}u;\n`;
    };
    const steps = Array.from({ length: 9 }, (_unused, k) => step(k)).join("");
    return `static F f${n}(uint64_t x) {\n${steps}  return x;\n}\n`;
  });
  const table = Array.from({ length: FUNCTIONS_MAX }, (_, n) => `f${n}`).join(",\n");
  return `#include "bench.h"
#define F __attribute__((noinline)) uint64_t
${functions.join("")}
static uint64_t (*const table[])(uint64_t) = {${table}};
int main(int argc, char **argv) {
  if (argc != 3) return 2;
  uint64_t count = strtoull(argv[1], NULL, 10), calls = strtoull(argv[2], NULL, 10);
  uint64_t random = 88172645463325252u, sum = 1;
  bench_begin();
  for (uint64_t i = 0; i < calls; i++) sum = table[bench_random(&random) % count](sum) + i;
  bench_end(sum);
  return 0;
}
`;
}

const task = (name: string, command: string): Task => {
  return { name, group: "scale", command, timeoutMs: TIMEOUT_MS };
};

async function countedRun(guest: Guest, work: Task) {
  const before = (await guest.instructions()) ?? 0;
  const ran = await runOnce(guest, work);
  return { ...ran, instructions: ((await guest.instructions()) ?? 0) - before };
}

/**
 * The same command on both, `times` times. The instructions are those that ours counted, without what it takes to
 * get ready: that is a run of no times at all.
 */
async function point(
  size: number,
  command: string,
  times: number,
  guests: Readonly<Record<Side, Guest>>,
): Promise<Point> {
  const work = task(command, `${command} ${times}`);
  const nothing = await countedRun(guests.ours, task(command, `${command} 0`));
  const ours = await countedRun(guests.ours, work);
  const qemu = await runOnce(guests.qemu, work);
  const instructions = ours.instructions - nothing.instructions;
  if (ours.checksum !== qemu.checksum) throw new Error(`${work.name}: the sides disagree`);
  return pointOf(size, instructions, ours.ms, qemu.ms);
}

function pointOf(size: number, instructions: number, oursMs: number, qemuMs: number): Point {
  const mips = (ms: number): number => rounded(instructions / ms / 1000);
  return { size, oursMips: mips(oursMs), qemuMips: mips(qemuMs), ratio: rounded(qemuMs / oursMs) };
}

async function several(
  sizes: readonly number[],
  what: (size: number) => string,
  context: Context,
  measure: (size: number) => Promise<Point>,
): Promise<readonly Point[] | { readonly reason: string }> {
  const points: Point[] = [];
  try {
    for (const size of sizes) {
      const found = await measure(size);
      const { oursMips, qemuMips, ratio } = found;
      context.say(`  ${what(size).padEnd(22)} ours ${oursMips} qemu ${qemuMips} MIPS  ${ratio}x`);
      points.push(found);
    }
    return points;
  } catch (caught) {
    context.say(`  not measured: ${reasonOf(caught)}`);
    return { reason: reasonOf(caught) };
  }
}

const inKib = (bytes: number): string => `${bytes / KIB} KiB`;

async function memory(context: Context): Promise<Scale["memory"]> {
  context.say("scale: working set, random pointers");
  const files = await buildFiles(context.folder, await compile(context.folder, ["chase"]));
  const launch = { ...files, cmdline: CMDLINE, memoryBytes: MEMORY_BYTES };
  return await withBoth(launch, context, async (guests) => {
    await Promise.all([ready(guests.ours), ready(guests.qemu)]);
    return await several(WORKING_SETS, inKib, context, async (bytes) =>
      point(bytes, `/bench/chase ${bytes}`, stepsFor(bytes) / (context.quick ? 5 : 1), guests),
    );
  });
}

async function code(context: Context): Promise<Scale["code"]> {
  context.say("scale: code footprint, random calls");
  const source = join(context.folder, "code.c");
  await writeFile(source, codeProgram());
  const program = await compileFile(context.folder, "code", source);
  const files = await buildFiles(context.folder, [program]);
  const launch = { ...files, cmdline: CMDLINE, memoryBytes: MEMORY_BYTES };
  const calls = context.quick ? CALLS / 5 : CALLS;
  return await withBoth(launch, context, async (guests) => {
    await Promise.all([ready(guests.ours), ready(guests.qemu)]);
    return await several(FOOTPRINTS, inKib, context, async (bytes) => {
      const count = Math.min(FUNCTIONS_MAX, bytes / FUNCTION_BYTES);
      return await point(bytes, `/bench/code ${count}`, calls, guests);
    });
  });
}

/** All of one side's machines at once; then the other's. The time is until the last one has ended. */
async function machines(context: Context): Promise<Scale["machines"]> {
  context.say("scale: machines at once, each with coremark");
  const files = await buildFiles(context.folder, await compile(context.folder, ["coremark"]));
  const launch = { ...files, cmdline: CMDLINE, memoryBytes: MEMORY_BYTES / 4 };
  const full = KERNELS.find(({ name }) => name === "coremark")?.repetitions ?? 1;
  const work = task("coremark", `/bench/coremark ${context.quick ? full / 4 : full}`);
  return await several(
    MACHINES,
    (count) => `${count} machine(s)`,
    context,
    async (count) => {
      const ms: Record<Side, number> = { ours: 0, qemu: 0 };
      let instructions = 0;
      for (const side of order(count)) {
        await withSeveral(count, side, launch, context, async (guests) => {
          await Promise.all(guests.map(ready));
          const begun = await Promise.all(guests.map(async (guest) => guest.instructions()));
          const started = performance.now();
          await Promise.all(guests.map(async (guest) => runOnce(guest, work)));
          ms[side] = performance.now() - started;
          if (side !== "ours") return;
          const ended = await Promise.all(guests.map(async (guest) => guest.instructions()));
          ended.forEach((end, n) => (instructions += (end ?? 0) - (begun[n] ?? 0)));
        });
      }
      return pointOf(count, instructions, ms.ours, ms.qemu);
    },
  );
}

export async function scale(context: Context): Promise<Scale | undefined> {
  const { wanted } = context;
  const found = {
    ...(wanted("scale", "scale_memory") ? { memory: await memory(context) } : {}),
    ...(wanted("scale", "scale_code") ? { code: await code(context) } : {}),
    ...(wanted("scale", "scale_machines") ? { machines: await machines(context) } : {}),
  };
  return Object.keys(found).length === 0 ? undefined : found;
}
