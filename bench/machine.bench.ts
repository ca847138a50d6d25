/**
 * `npm run bench:machine`: the embedded machine beside Debian's qemu-system-riscv64, in one run: the same
 * programs in the same kernel, both emulating a whole system, taking turns, medians of the host's clock.
 *
 *   --json          one object, with `bars`; progress goes to stderr
 *   --rounds N      turns of each side (3)
 *   --only A,B      some of it, by name (sieve, python, boot_own, idle, scale_memory ...) or by group
 *                   (hot, hot_int, hot_fp, cold, boot, idle, scale)
 *   --quick         half of the work, one round: for direction
 *   --qemu PROGRAM  another QEMU than the one on the PATH
 *   --jit on|off    whether ours compiles; else as it does by itself
 *   --trace KERNEL  instead: the regions of one of the hot programs, as RISC-V, operations and WebAssembly
 *   --region TEXT   only those with this in their names, which are rNUMBER@ADDRESS
 */

import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fail, toBlixardError } from "@blixard/std";
import { run } from "../guest/image/run.ts";
import { BARS, judge, meanOf, type Bar, type BarName, type Measured } from "./machine/bars.ts";
import { boot } from "./machine/boot.ts";
import { cold } from "./machine/cold.ts";
import type { Context } from "./machine/context.ts";
import { type Options, QEMU } from "./machine/guest.ts";
import { hot } from "./machine/hot.ts";
import { idle, type Idle } from "./machine/idle.ts";
import { KERNELS } from "./machine/kernels.ts";
import type { Row } from "./machine/runs.ts";
import { scale } from "./machine/scale.ts";
import { trace } from "./machine/trace.ts";

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string" },
    only: { type: "string" },
    quick: { type: "boolean", default: false },
    qemu: { type: "string", default: QEMU },
    jit: { type: "string" },
    trace: { type: "string" },
    region: { type: "string" },
  },
});
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));
if (!Number.isSafeInteger(rounds) || rounds < 1) throw new TypeError("--rounds takes 1, 2, 3 ...");
const jit: Options["jit"] = (["on", "off"] as const).find((word) => word === values.jit);
if (values.jit !== jit) throw new TypeError("--jit takes on or off");
const only = values.only?.split(",");
const COLD_ROWS = 4;

const say = (line: string): void => void process.stderr.write(`${line}\n`);

/** QEMU's time over ours is how fast we are; a boot's ratio is the other way round. */
function slowness(row: Row): Measured {
  if (row.oursMs === null || row.qemuMs === null) return { reason: row.reason ?? "not measured" };
  return { value: row.oursMs / row.qemuMs };
}

/** Those bars of which everything was asked for. */
function barsOf(rows: readonly Row[], idled: Idle | undefined): Bar[] {
  const measured = new Map<BarName, Measured>();
  const mean = (bar: BarName, group: string, members: number): void => {
    const found = rows.filter((row) => row.group === group);
    if (found.length === members) measured.set(bar, meanOf(found));
  };
  const sized = (group: string): number => KERNELS.filter((one) => one.group === group).length;
  mean("hot_int_geomean", "hot_int", sized("hot_int"));
  mean("hot_fp_geomean", "hot_fp", sized("hot_fp"));
  mean("cold_geomean", "cold", COLD_ROWS);
  for (const row of rows) {
    if (row.name === "boot_own") {
      measured.set("boot_own_cold_ratio", slowness(row));
    }
    if (row.name === "boot_warm") measured.set("boot_own_warm_ratio", slowness(row));
    if (row.name === "boot_debian") measured.set("boot_debian_ratio", slowness(row));
  }
  if (idled !== undefined) {
    measured.set("idle_cpu_percent", idled.cpuPercent);
    measured.set("idle_private_mb", idled.privateMb);
  }
  return BARS.flatMap(({ name }) => {
    const found = measured.get(name);
    return found === undefined ? [] : [judge(name, found)];
  });
}

/** Errors: Unavailable. */
async function versionOf(qemu: string): Promise<string> {
  const done = await run(qemu, ["--version"]);
  if (done.ok) return done.value.split("\n")[0] ?? "";
  const reason = `${qemu} does not run: ${done.error.stderr}`;
  const hint = "apt install --no-install-recommends qemu-system-misc";
  return fail("Unavailable", { reason }, `Cannot measure beside QEMU: ${reason}`, hint);
}

async function bench(folder: string): Promise<boolean> {
  const started = performance.now();
  const context: Context = {
    rounds,
    quick: values.quick,
    folder,
    qemu: values.qemu,
    ...(jit === undefined ? {} : { jit }),
    say,
    wanted: (...names) => only === undefined || names.some((name) => only.includes(name)),
  };
  const version = await versionOf(values.qemu);
  say(`${version}; Node ${process.version}; ${cpus().length} CPUs; ${rounds} round(s)`);
  const rows = [...(await hot(context)), ...(await cold(context)), ...(await boot(context))];
  const idled = await idle(context);
  const scaled = await scale(context);
  const bars = barsOf(rows, idled);
  const skipped = rows.filter((row) => row.ratio === null).length;
  const ok = skipped === 0 && bars.every((bar) => bar.ok);
  const result = {
    ok,
    ran: rows.length - skipped,
    skipped,
    seconds: Math.round((performance.now() - started) / 100) / 10,
    quick: values.quick,
    rounds,
    jit: jit ?? "default",
    qemu: version,
    node: process.version,
    cpus: cpus().length,
    bars,
    rows,
    ...(scaled === undefined ? {} : { scale: scaled }),
  };
  if (values.json) console.log(JSON.stringify(result));
  for (const bar of bars) {
    const verdict = bar.ok ? "ok" : `misses ${bar.bar}`;
    const reason = bar.reason === undefined ? "" : ` (${bar.reason})`;
    const value = String(bar.value ?? "-").padStart(7);
    say(`${bar.name.padEnd(22)} ${value} ${bar.unit}: ${verdict}${reason}`);
  }
  return ok;
}

async function traceKernel(folder: string, kernel: string): Promise<void> {
  const names = KERNELS.map(({ name }) => name);
  const found = names.find((name) => name === kernel);
  if (found === undefined) throw new TypeError(`--trace takes one of ${names.join(", ")}`);
  const { region } = values;
  const print = (line: string): void => console.log(line);
  const chosen = region === undefined ? {} : { region };
  const shown = await trace({ kernel: found, folder, print, ...chosen });
  say(`${shown} region(s)`);
}

const folder = await mkdtemp(join(tmpdir(), "blixard-bench-machine-"));
try {
  if (values.trace === undefined) process.exitCode = (await bench(folder)) ? 0 : 1;
  else await traceKernel(folder, values.trace);
} catch (caught) {
  const { message, failure, exitCode } = toBlixardError(caught);
  if (values.json) console.log(JSON.stringify({ ok: false, ran: 0, skipped: 0, error: failure }));
  say(`bench:machine failed: ${message}\n${failure.hint ?? ""}`.trimEnd());
  process.exitCode = exitCode;
} finally {
  await rm(folder, { recursive: true, force: true });
}
