/**
 * npm run sim:mutants -- [--only A,B] [--workers N] [--seeds N] [--seconds N] [--plans DIR] [--json]
 *
 * Plants each bug of patches.ts in a copy of the packages and lets the simulator look for it.
 * Exit code 0: all were caught, half of them within SEEDS_MEDIAN_MAX tries, each by a plan of at most
 * ITEMS_MAX items when minimised, which passes where nothing is planted; 1: else; 2: usage.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { encodePlan } from "../minimise/plan-file.ts";
import { exitCodeOf, numberOf, UsageError } from "../options.ts";
import { drawPlan } from "../swarm.ts";
import { median } from "../tally.ts";
import { runPlan } from "../vopr.ts";
import type { HuntSeconds } from "./hunt.ts";
import { copyWith, huntIn } from "./os/workshop.ts";
import type { Patch } from "./patch.ts";
import { PATCHES } from "./patches.ts";

const USAGE = `usage: npm run sim:mutants -- [options]
  --only A,B    these planted bugs only
  --workers N   processes side by side (2)
  --seeds N     tries of each (200)
  --seconds N   CPU time for taking each apart, at most (60)
  --plans DIR   keeps the minimised plans there
  --json        one object: ok, ran, skipped, seconds, caught, total, medianSeeds, medianItems, mutants`;
/** A minimised plan is to be no longer. */
const ITEMS_MAX = 50;
const SEEDS_MEDIAN_MAX = 200;
/** Runs and seconds that taking a plan apart may cost. */
const MINIMISE_RUNS_MAX = 5000;
const MINIMISE_SECONDS = "60";
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

/** What it cost, of one core. */
interface CpuSeconds extends HuntSeconds {
  readonly copy: number;
  /** The runs without the planted bug. */
  readonly trial: number;
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
  /** Of the plan that was taken apart. */
  readonly planSeed?: number;
  readonly invariant?: string;
  readonly message?: string;
  /** Faults and operations of the failing plan, as drawn and when minimised. */
  readonly itemsBefore?: number;
  readonly items?: number;
  readonly runs?: number;
  readonly cpuSeconds?: CpuSeconds;
  /** The minimised plan passes where nothing is planted. */
  readonly isSound?: boolean;
  readonly seconds: number;
  readonly reason?: string;
}

const MESSAGE_CHARS_MAX = 400;
const COUNT = { isInteger: true, least: 1 } as const;

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
    workers: numberOf(values.workers ?? "2", "workers", COUNT),
    seeds: numberOf(values.seeds ?? "200", "seeds", COUNT),
    seconds: numberOf(values.seconds ?? MINIMISE_SECONDS, "seconds", COUNT),
    plans: values.plans,
    isJson: values.json ?? false,
  };
}

function secondsSince(startMs: number): number {
  return Math.round((performance.now() - startMs) / 100) / 10;
}

/** What `work` costs this process; nothing else runs here meanwhile. */
function timed<T>(work: () => T): readonly [T, cpuSeconds: number] {
  const before = process.cpuUsage();
  const value = work();
  const { user, system } = process.cpuUsage(before);
  return [value, Math.round((user + system) / 1e4) / 100];
}

/** A seed that fails without the planted bug, too, says nothing: the hunt goes on behind it. */
async function huntFor(patch: Patch, options: Options): Promise<Report> {
  const { name, file, why, profile } = patch;
  const startMs = performance.now();
  const about = { name, file, why, profile } as const;
  const [copy, copySeconds] = timed(() => copyWith(patch));
  try {
    for (let fromSeed = 1; ;) {
      const request = {
        profile,
        fromSeed,
        toSeed: options.seeds,
        itemsMax: ITEMS_MAX,
        minimiseRunsMax: MINIMISE_RUNS_MAX,
        minimiseSeconds: options.seconds,
      };
      const hunted = await huntIn(copy, request, HUNT_SECONDS_MAX);
      if (hunted.kind !== "caught") {
        const reason = hunted.kind === "survived" ? hunted.kind : hunted.reason;
        return { ...about, caught: false, seconds: secondsSince(startMs), reason };
      }
      const { caught } = hunted;
      const { seed, planSeed, invariant, message, itemsBefore, runs, plan } = caught;
      const [isOwn, seedSeconds] = timed(() => runPlan(drawPlan(seed, profile)).ok);
      if (!isOwn) {
        fromSeed = seed + 1;
        continue;
      }
      const [isSound, planSeconds] = timed(() => runPlan(plan).ok);
      if (options.plans !== undefined) {
        writeFileSync(join(options.plans, `${name}.json`), encodePlan(plan));
      }
      const trial = Math.round((seedSeconds + planSeconds) * 100) / 100;
      return {
        ...about,
        caught: true,
        seed,
        seeds: seed,
        planSeed,
        invariant,
        message: message.slice(0, MESSAGE_CHARS_MAX),
        itemsBefore,
        items: plan.items.length,
        runs,
        cpuSeconds: { copy: copySeconds, ...caught.cpuSeconds, trial },
        isSound,
        seconds: secondsSince(startMs),
      };
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

function sumOf(reports: readonly Report[]): Readonly<Record<keyof CpuSeconds, number>> {
  const sum = (part: keyof CpuSeconds): number =>
    Math.round(reports.reduce((so, { cpuSeconds }) => so + (cpuSeconds?.[part] ?? 0), 0));
  return {
    copy: sum("copy"),
    start: sum("start"),
    hunt: sum("hunt"),
    minimise: sum("minimise"),
    trial: sum("trial"),
  };
}

/** What a report lacks that a planted bug's should show; undefined when nothing. */
function lackOf({ caught, items, isSound }: Report): string | undefined {
  if (!caught) return "survived";
  if (isSound !== true) return "its minimised plan fails without it, too";
  return (items ?? 0) > ITEMS_MAX
    ? `its minimised plan has more than ${ITEMS_MAX} items`
    : undefined;
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
  const medianSeeds = median(found.map(({ seeds }) => seeds ?? 0));
  const lacking = reports.flatMap((report) => {
    const lack = lackOf(report);
    return lack === undefined ? [] : [`${report.name}: ${lack}`];
  });
  const summary = {
    ok: lacking.length === 0 && medianSeeds <= SEEDS_MEDIAN_MAX,
    ran: reports.length,
    skipped: 0,
    caught: found.length,
    total: reports.length,
    medianSeeds,
    medianItems: median(found.map(({ items }) => items ?? 0)),
    maxItems: Math.max(0, ...found.map(({ items }) => items ?? 0)),
    seconds: secondsSince(startMs),
    cpuSeconds: sumOf(reports),
    lacking,
  };
  if (options.isJson) {
    const order = new Map(PATCHES.map(({ name }, at) => [name, at]));
    reports.sort((a, b) => (order.get(a.name) ?? 0) - (order.get(b.name) ?? 0));
    console.log(JSON.stringify({ ...summary, mutants: reports }));
  } else console.log(`${summary.caught} of ${summary.total} caught`, summary);
  return summary.ok;
}

function main(args: readonly string[]): Promise<number> {
  return exitCodeOf(USAGE, async () => ((await run(parseOptions(args))) ? 0 : 1));
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
