/**
 * `npm run bench:machine`: the embedded machine beside Debian's qemu-system-riscv64, in one run: the same
 * programs in the same kernel, both emulating a whole system, taking turns, medians of the host's clock.
 *
 *   --json          one object, with `bars`; progress goes to stderr
 *   --rounds N      turns of each side (3)
 *   --only A,B      some of the rows, by name or group
 *   --quick         half of the work, one round: for direction
 *   --qemu PROGRAM  another QEMU than the one on the PATH
 */

import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { run } from "../guest/image/run.ts";
import { toBlixardError } from "@blixard/std";
import { BARS, judge, meanOf, type Bar, type BarName, type Measured } from "./machine/bars.ts";
import { QEMU, startGuest, type Guest, type Launch, type Side } from "./machine/guest.ts";
import { buildFiles, CMDLINE, compile, KERNELS } from "./machine/kernels.ts";
import { measure, ready, unmeasured, type Row, type Task } from "./machine/runs.ts";

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string" },
    only: { type: "string" },
    quick: { type: "boolean", default: false },
    qemu: { type: "string", default: QEMU },
  },
});
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));
if (!Number.isSafeInteger(rounds) || rounds < 1) throw new TypeError("--rounds takes 1, 2, 3 ...");
const only = values.only?.split(",");
const QUICK_DIVISOR = 2;
const MEMORY_BYTES = 256 * 1024 * 1024;
const KERNEL_TIMEOUT_MS = 120_000;

const say = (line: string): void => void process.stderr.write(`${line}\n`);
const wanted = (...names: readonly string[]): boolean =>
  only === undefined || names.some((name) => only.includes(name));

/** Both guests of a launch, ready for commands; whatever happens, they end. */
async function withBoth<T>(
  launch: Launch,
  use: (guests: Record<Side, Guest>) => Promise<T>,
): Promise<T> {
  const started: Guest[] = [];
  try {
    const ours = await startGuest("ours", launch);
    started.push(ours);
    const qemu = await startGuest("qemu", launch, values.qemu);
    started.push(qemu);
    await Promise.all([ready(ours), ready(qemu)]);
    return await use({ ours, qemu });
  } finally {
    await Promise.all(started.map((guest) => guest.stop()));
  }
}

function tell(row: Row): void {
  const text = (ms: number | null): string => (ms === null ? "-" : `${Math.round(ms)} ms`);
  const ratio = row.ratio === null ? (row.reason ?? "") : `${row.ratio}x`;
  const [ours, qemu] = [text(row.oursMs), text(row.qemuMs)];
  say(`  ${row.name.padEnd(12)} ours ${ours.padStart(9)}  qemu ${qemu.padStart(9)}  ${ratio}`);
}

async function measureTasks(
  tasks: readonly Task[],
  guests: Readonly<Record<Side, Guest>>,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const task of tasks) {
    const row = await measure(task, guests, rounds).catch((error: unknown) =>
      unmeasured(task, error instanceof Error ? error.message : String(error)),
    );
    tell(row);
    rows.push(row);
  }
  return rows;
}

async function hot(folder: string): Promise<Row[]> {
  const kernels = KERNELS.filter(({ name, group }) => wanted(name, group, "hot"));
  if (kernels.length === 0) return [];
  say(`hot: ${kernels.map(({ name }) => name).join(", ")}`);
  const programs = await compile(
    folder,
    kernels.map(({ name }) => name),
  );
  const files = await buildFiles(folder, programs);
  const tasks = kernels.map(({ name, group, repetitions }): Task => {
    const times = values.quick ? Math.ceil(repetitions / QUICK_DIVISOR) : repetitions;
    return { name, group, command: `/bench/${name} ${times}`, timeoutMs: KERNEL_TIMEOUT_MS };
  });
  const launch = { ...files, cmdline: CMDLINE, memoryBytes: MEMORY_BYTES };
  return await withBoth(launch, async (guests) => await measureTasks(tasks, guests));
}

async function qemuVersion(): Promise<string> {
  const done = await run(values.qemu, ["--version"]);
  return done.ok ? (done.value.split("\n")[0] ?? "") : `not found: ${values.qemu}`;
}

/** A bar is judged when everything it is made of was asked for. */
function barsOf(rows: readonly Row[], more: ReadonlyMap<BarName, Measured>): Bar[] {
  const groups = { hot_int_geomean: "hot_int", hot_fp_geomean: "hot_fp", cold_geomean: "cold" };
  const measured = new Map(more);
  for (const [name, group] of Object.entries(groups)) {
    const members = rows.filter((row) => row.group === group);
    const whole = KERNELS.filter((kernel) => kernel.group === group).every((kernel) =>
      members.some((row) => row.name === kernel.name),
    );
    // Safe: the keys of `groups` are names of bars.
    if (members.length > 0 && whole) measured.set(name as BarName, meanOf(members));
  }
  return BARS.flatMap(({ name }) => {
    const found = measured.get(name);
    return found === undefined ? [] : [judge(name, found)];
  });
}

const started = performance.now();
const folder = await mkdtemp(join(tmpdir(), "blixard-bench-machine-"));
try {
  const version = await qemuVersion();
  say(`${version}; Node ${process.version}; ${cpus().length} CPUs; ${rounds} round(s)`);
  const rows = await hot(folder);
  const bars = barsOf(rows, new Map());
  const skipped = rows.filter((row) => row.ratio === null).length;
  const result = {
    ok: bars.length > 0 && bars.every((bar) => bar.ok),
    ran: rows.length - skipped,
    skipped,
    seconds: Math.round((performance.now() - started) / 100) / 10,
    quick: values.quick,
    rounds,
    qemu: version,
    node: process.version,
    cpus: cpus().length,
    bars,
    rows,
  };
  if (values.json) console.log(JSON.stringify(result));
  for (const bar of bars) {
    const verdict = bar.ok ? "ok" : `misses ${bar.bar}`;
    say(`${bar.name.padEnd(22)} ${String(bar.value ?? "-").padStart(7)} ${bar.unit}: ${verdict}`);
  }
  process.exitCode = result.ok ? 0 : 1;
} catch (caught) {
  const { message, failure, exitCode } = toBlixardError(caught);
  if (values.json) console.log(JSON.stringify({ ok: false, ran: 0, skipped: 0, error: failure }));
  say(`bench:machine failed: ${message}\n${failure.hint ?? ""}`.trimEnd());
  process.exitCode = exitCode;
} finally {
  await rm(folder, { recursive: true, force: true });
}
