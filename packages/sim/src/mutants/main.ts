/**
 * npm run sim:mutants -- [--only A,B] [--workers N] [--seeds N] [--seconds N] [--plans DIR] [--json]
 *
 * Plants each bug of patches.ts in a copy of the packages and lets the simulator look for it.
 * Exit code 0: all were caught; 1: one survived; 2: usage.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { encodePlan } from "../minimise/plan-file.ts";
import { drawPlan } from "../swarm.ts";
import { runPlan } from "../vopr.ts";
import type { Catch } from "./hunt.ts";
import { copyWith, huntIn } from "./os/workshop.ts";
import type { Patch } from "./patch.ts";
import { PATCHES } from "./patches.ts";

const USAGE = `usage: npm run sim:mutants -- [options]
  --only A,B    these planted bugs only
  --workers N   processes side by side (2)
  --seeds N     tries of each (200)
  --seconds N   CPU time for taking each apart (35)
  --plans DIR   keeps the minimised plans there
  --json        one object: ok, ran, skipped, seconds, caught, total, medianSeeds, medianItems, mutants`;
/** Runs and seconds that taking a plan apart may cost. */
const MINIMISE_RUNS_MAX = 900;
const MINIMISE_SECONDS = "35";
/** A process that is not done by then hangs. */
const HUNT_SECONDS_MAX = 900;

interface Options {
  readonly patches: readonly Patch[];
  readonly workers: number;
  readonly seeds: number;
  readonly seconds: number;
  readonly plans: string | undefined;
  readonly isJson: boolean;
}

interface Report {
  readonly name: string;
  readonly file: string;
  readonly why: string;
  readonly profile: string;
  readonly caught: boolean;
  /** Of the run that caught it, and how many were tried until then. */
  readonly seed?: number;
  readonly seeds?: number;
  readonly invariant?: string;
  readonly message?: string;
  /** Faults and operations of the failing plan, as drawn and when minimised. */
  readonly itemsBefore?: number;
  readonly items?: number;
  readonly runs?: number;
  /** The minimised plan passes where nothing is planted. */
  readonly isSound?: boolean;
  readonly seconds: number;
  readonly reason?: string;
}

class UsageError extends Error {
  override readonly name = "UsageError";
}

function numberOf(text: string, option: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) {
    throw new UsageError(`--${option} ${text}: expected an integer of 1 or more`);
  }
  return value;
}

function patchesNamed(names: string | undefined): readonly Patch[] {
  if (names === undefined) return PATCHES;
  return names.split(",").map((name) => {
    const patch = PATCHES.find((one) => one.name === name);
    if (patch === undefined) throw new UsageError(`--only ${name}: no planted bug of that name`);
    return patch;
  });
}

export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string" },
      workers: { type: "string" },
      seeds: { type: "string" },
      seconds: { type: "string" },
      plans: { type: "string" },
      json: { type: "boolean" },
    },
  });
  return {
    patches: patchesNamed(values.only),
    workers: numberOf(values.workers ?? "2", "workers"),
    seeds: numberOf(values.seeds ?? "200", "seeds"),
    seconds: numberOf(values.seconds ?? MINIMISE_SECONDS, "seconds"),
    plans: values.plans,
    isJson: values.json ?? false,
  };
}

function reportOf(patch: Patch, found: Catch, startMs: number): Report {
  const { name, file, why, profile } = patch;
  return {
    name,
    file,
    why,
    profile,
    caught: true,
    seed: found.seed,
    seeds: found.seed,
    invariant: found.invariant,
    message: found.message.slice(0, 400),
    itemsBefore: found.itemsBefore,
    items: found.plan.items.length,
    runs: found.runs,
    isSound: runPlan(found.plan).ok,
    seconds: secondsSince(startMs),
  };
}

function secondsSince(startMs: number): number {
  return Math.round((performance.now() - startMs) / 100) / 10;
}

/** A seed that fails without the planted bug, too, says nothing: the hunt goes on behind it. */
async function huntFor(patch: Patch, options: Options): Promise<Report> {
  const { name, file, why, profile } = patch;
  const startMs = performance.now();
  const lost = { name, file, why, profile, caught: false } as const;
  const copy = copyWith(patch);
  try {
    let fromSeed = 1;
    for (;;) {
      const request = {
        profile,
        fromSeed,
        toSeed: options.seeds,
        minimiseRunsMax: MINIMISE_RUNS_MAX,
        minimiseSeconds: options.seconds,
      };
      const hunted = await huntIn(copy, request, HUNT_SECONDS_MAX);
      const seconds = secondsSince(startMs);
      if (hunted.kind === "survived") return { ...lost, seconds, reason: "survived" };
      if (hunted.kind === "broken") return { ...lost, seconds, reason: hunted.reason };
      const { caught } = hunted;
      if (!runPlan(drawPlan(caught.seed, profile)).ok) {
        fromSeed = caught.seed + 1;
        continue;
      }
      if (options.plans !== undefined) {
        writeFileSync(join(options.plans, `${name}.json`), encodePlan(caught.plan));
      }
      return reportOf(patch, caught, startMs);
    }
  } finally {
    copy.remove();
  }
}

function describe(report: Report): string {
  const name = report.name.padEnd(30);
  const { seeds, invariant, itemsBefore, items, isSound, seconds, reason } = report;
  if (!report.caught) return `MISSED ${name} ${reason ?? ""} (${seconds} s)`;
  const soundness = isSound === true ? "" : ", FAILS WITHOUT IT, TOO";
  return (
    `caught ${name} seed ${String(seeds).padStart(3)}, ${invariant}: ` +
    `${itemsBefore} -> ${items} items${soundness} (${seconds} s)`
  );
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

async function run(options: Options): Promise<boolean> {
  const startMs = performance.now();
  if (options.plans !== undefined) mkdirSync(options.plans, { recursive: true });
  const waiting = [...options.patches];
  const reports: Report[] = [];
  const work = async (): Promise<void> => {
    for (let patch = waiting.shift(); patch !== undefined; patch = waiting.shift()) {
      const report = await huntFor(patch, options);
      reports.push(report);
      if (!options.isJson) console.log(describe(report));
    }
  };
  await Promise.all(Array.from({ length: options.workers }, work));
  const found = reports.filter(({ caught }) => caught);
  const summary = {
    ok: found.length === reports.length,
    ran: reports.length,
    skipped: 0,
    caught: found.length,
    total: reports.length,
    medianSeeds: median(found.map(({ seeds }) => seeds ?? 0)),
    medianItems: median(found.map(({ items }) => items ?? 0)),
    maxItems: Math.max(0, ...found.map(({ items }) => items ?? 0)),
    seconds: secondsSince(startMs),
  };
  if (options.isJson) {
    const order = new Map(PATCHES.map(({ name }, at) => [name, at]));
    reports.sort((a, b) => (order.get(a.name) ?? 0) - (order.get(b.name) ?? 0));
    console.log(JSON.stringify({ ...summary, mutants: reports }));
  } else console.log(`${summary.caught} of ${summary.total} caught`, summary);
  return summary.ok;
}

async function main(args: readonly string[]): Promise<number> {
  try {
    return (await run(parseOptions(args))) ? 0 : 1;
  } catch (caught) {
    const isParsing =
      caught instanceof TypeError && "code" in caught && String(caught.code).includes("ARGS");
    if (!isParsing && !(caught instanceof UsageError)) throw caught;
    console.error(`${caught.message}\n${USAGE}`);
    return 2;
  }
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
