/**
 * npm run sim -- --seed N | --seeds A..B | --minutes M
 *   [--profile raft|control|storage|liveness] [--json] [--minimise] [--workers N]
 * npm run sim -- --plan FILE
 *
 * Exit code 0: every run kept every invariant; 1: one was broken; 2: usage.
 */

import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { exitCodeOf, numberOf, UsageError } from "./options.ts";
import { runAll } from "./os/pool.ts";
import { minimiseAndKeep, printRun, readPlan } from "./os/report.ts";
import { type Profile, PROFILES } from "./plan.ts";
import { drawPlan, profileOf } from "./swarm.ts";
import { type FoundFailure, Tally } from "./tally.ts";
import { runPlan } from "./vopr.ts";

const USAGE = `usage: npm run sim -- --seed N | --seeds A..B | --minutes M
  --profile P   one of ${PROFILES.join(", ")}; absent: each seed has one of its own
  --minutes M   stop after this time; without --seeds, go on from seed 1 until then
  --minimise    takes what failed apart until little but the cause is left
  --plan FILE   one plan, as --minimise has written it
  --workers N   threads (as many as there are cores)
  --json        one object: ok, ran, skipped, seconds, faults, events, failures ...`;

interface Request {
  readonly from: number;
  readonly to: number;
  /** Whether the user named the range: only then was anything skipped. */
  readonly isBounded: boolean;
  readonly profile: Profile | undefined;
  readonly minutes: number;
  readonly workers: number;
  readonly isJson: boolean;
  readonly isMinimised: boolean;
}

interface FileRequest {
  readonly plan: string;
  readonly isJson: boolean;
}

const ANY = { isInteger: false, least: 0 } as const;

function seedOf(text: string): number {
  const value = numberOf(text, "seed", { isInteger: true, least: 0 });
  if (value > 0xffffffff) {
    throw new UsageError(`seed ${text}: expected an integer below 2^32`);
  }
  return value;
}

function rangeOf(values: { seed?: string; seeds?: string; minutes?: string }) {
  if (values.seed !== undefined) {
    const seed = seedOf(values.seed);
    return { from: seed, to: seed, isBounded: true };
  }
  const range = /^(\d+)\.\.(\d+)$/.exec(values.seeds ?? "");
  if (range !== null) {
    const [from, to] = [seedOf(range[1] ?? ""), seedOf(range[2] ?? "")];
    if (from > to) throw new UsageError(`--seeds ${values.seeds}: the range is empty`);
    return { from, to, isBounded: true };
  }
  if (values.seeds !== undefined) throw new UsageError(`--seeds ${values.seeds}: expected A..B`);
  if (values.minutes === undefined) throw new UsageError("one of --seed, --seeds and --minutes");
  return { from: 1, to: 0xffffffff, isBounded: false };
}

function parseRequest(args: readonly string[]): Request | FileRequest {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: "string" },
      seeds: { type: "string" },
      profile: { type: "string" },
      minutes: { type: "string" },
      workers: { type: "string" },
      json: { type: "boolean" },
      minimise: { type: "boolean" },
      plan: { type: "string" },
    },
  });
  if (values.plan !== undefined) return { plan: values.plan, isJson: values.json ?? false };
  const profile = PROFILES.find((one) => one === values.profile);
  if (profile === undefined && values.profile !== undefined) {
    throw new UsageError(`--profile ${values.profile}: expected one of ${PROFILES.join(", ")}`);
  }
  const range = rangeOf(values);
  const runs = range.to - range.from + 1;
  const asked = values.workers === undefined ? undefined : numberOf(values.workers, "workers", ANY);
  return {
    ...range,
    profile,
    minutes: values.minutes === undefined ? Infinity : numberOf(values.minutes, "minutes", ANY),
    workers: Math.min(asked ?? availableParallelism(), Math.ceil(runs / 8)),
    isJson: values.json ?? false,
    isMinimised: values.minimise ?? false,
  };
}

function printFailure(failure: FoundFailure, isMinimised: boolean): void {
  const { seed, profile, invariant } = failure;
  const plan = drawPlan(seed, profile);
  console.error(`\nseed ${seed}, profile ${profile}: ${invariant}`);
  const kept = isMinimised ? minimiseAndKeep(plan) : undefined;
  printRun(kept?.plan ?? plan);
  if (kept !== undefined) {
    const { runs, isCutShort, path } = kept;
    const [before, after] = [plan.items.length, kept.plan.items.length];
    const more = isCutShort ? " (cut short)" : "";
    console.error(`\nminimised in ${runs} runs: ${before} -> ${after} items${more}`);
    console.error(`replay: npm run sim -- --plan ${path}`);
  }
  console.error(`replay: npm run sim -- --profile ${profile} --seed ${seed}`);
}

/** One plan from a file. */
function runFile(path: string, isJson: boolean): boolean {
  const read = readPlan(path);
  if ("reason" in read) throw new UsageError(`--plan: ${read.reason}`);
  const startMs = performance.now();
  const outcome = runPlan(read.plan);
  const seconds = (performance.now() - startMs) / 1000;
  const { ok, failure, hash, events, simulatedMs } = outcome;
  if (isJson) {
    const counts = { ok, ran: 1, skipped: 0, seconds };
    console.log(JSON.stringify({ ...counts, failure, hash, events, simulatedMs }));
    return ok;
  }
  if (!ok) printRun(read.plan);
  console.log(`\n${ok ? "passed" : "failed"}: ${events} events, hash ${hash}`);
  return ok;
}

async function run(request: Request): Promise<boolean> {
  const startMs = performance.now();
  const secondsSoFar = (): number => (performance.now() - startMs) / 1000;
  const tally = new Tally();
  let seed = request.from;
  let shownAt = 0;
  const progress = (): void => {
    if (request.isJson || !process.stderr.isTTY || secondsSoFar() - shownAt < 1) return;
    shownAt = secondsSoFar();
    const rate = Math.round(tally.events / shownAt / 1000);
    process.stderr.write(`\r${tally.ran} runs, ${tally.failed} failed, ${rate}k events/s `);
  };
  await runAll({
    workers: request.workers,
    next: () => {
      if (seed > request.to || secondsSoFar() > request.minutes * 60) return undefined;
      const next = { seed, profile: request.profile ?? profileOf(seed) };
      seed++;
      return next;
    },
    onRow: (row) => {
      tally.add(row);
      progress();
    },
  });
  const skipped = request.isBounded ? request.to - seed + 1 : 0;
  const summary = tally.summary(secondsSoFar(), skipped);
  if (request.isJson) {
    console.log(JSON.stringify(summary));
    return summary.ok;
  }
  for (const failure of summary.failures.slice(0, 3)) printFailure(failure, request.isMinimised);
  const { ran, failed, seconds, eventsPerSecond, ratio, failures, faults, reached } = summary;
  console.log(`\n${ran} runs in ${seconds} s, ${failed} failed, ${skipped} skipped`);
  console.log(`${eventsPerSecond} events/s; simulated over real time, a core: ${ratio}`);
  if (failed > 0) console.log("failing:", failures.map((one) => one.seed).join(", "));
  console.log("faults:", faults);
  console.log("reached:", reached);
  return summary.ok;
}

function main(args: readonly string[]): Promise<number> {
  return exitCodeOf(USAGE, async () => {
    const request = parseRequest(args);
    const isGood = "plan" in request ? runFile(request.plan, request.isJson) : await run(request);
    return isGood ? 0 : 1;
  });
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
