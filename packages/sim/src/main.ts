/**
 * npm run sim -- --seed N | --seeds A..B [--profile raft|node|control] [--minutes M] [--json]
 *
 * Exit code 0: every run kept every invariant; 1: a violation was found; 2: usage.
 */

import { parseArgs } from "node:util";
import { FAILURES_KEPT_MAX } from "./limits.ts";
import { type Outcome, type Profile, PROFILES, runSeed } from "./run.ts";

const USAGE = `usage: npm run sim -- --seed N | --seeds A..B
  --profile P   one of ${PROFILES.join(", ")}; all of them when absent
  --length L    multiplies the time with faults (1)
  --minutes M   stop after this time; without --seeds, go on from seed 1 until then
  --json        one object: ok, ran, skipped, seconds, failures`;

interface Request {
  readonly from: number;
  readonly to: number;
  /** Whether the user named the range: only then was anything skipped. */
  readonly isBounded: boolean;
  readonly profiles: readonly Profile[];
  readonly length: number;
  readonly minutes: number;
  readonly isJson: boolean;
}

class UsageError extends Error {
  override readonly name = "UsageError";
}

function numberOf(text: string, option: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) {
    throw new UsageError(`--${option} ${text}: expected a number of 0 or more`);
  }
  return value;
}

function seedOf(text: string): number {
  const value = numberOf(text, "seed");
  if (!Number.isInteger(value) || value > 0xffffffff) {
    throw new UsageError(`seed ${text}: expected an integer below 2^32`);
  }
  return value;
}

export function parseRequest(args: readonly string[]): Request {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: "string" },
      seeds: { type: "string" },
      profile: { type: "string" },
      length: { type: "string" },
      minutes: { type: "string" },
      json: { type: "boolean" },
    },
  });
  const profiles = PROFILES.filter((profile) => (values.profile ?? profile) === profile);
  if (profiles.length === 0) {
    throw new UsageError(`--profile ${values.profile}: expected one of ${PROFILES.join(", ")}`);
  }
  const common = {
    profiles,
    length: numberOf(values.length ?? "1", "length"),
    minutes: values.minutes === undefined ? Infinity : numberOf(values.minutes, "minutes"),
    isJson: values.json ?? false,
  };
  if (values.seed !== undefined) {
    const seed = seedOf(values.seed);
    return { ...common, from: seed, to: seed, isBounded: true };
  }
  const range = /^(\d+)\.\.(\d+)$/.exec(values.seeds ?? "");
  if (range !== null) {
    const [from, to] = [seedOf(range[1] ?? ""), seedOf(range[2] ?? "")];
    if (from > to) throw new UsageError(`--seeds ${values.seeds}: the range is empty`);
    return { ...common, from, to, isBounded: true };
  }
  if (values.seeds !== undefined) throw new UsageError(`--seeds ${values.seeds}: expected A..B`);
  if (values.minutes === undefined) throw new UsageError("one of --seed, --seeds and --minutes");
  return { ...common, from: 1, to: 0xffffffff, isBounded: false };
}

function printFailure(outcome: Outcome): void {
  const { seed, profile, violation, timeline } = outcome;
  console.error(`\nseed ${seed}, profile ${profile}: ${violation}`);
  for (const line of timeline) console.error(line);
  console.error(`replay: npm run sim -- --profile ${profile} --seed ${seed}`);
}

function run(request: Request): boolean {
  const startMs = performance.now();
  const secondsSoFar = (): number => (performance.now() - startMs) / 1000;
  const failures: Outcome[] = [];
  const reached: Record<string, number> = {};
  let ran = 0;
  let failed = 0;
  let skipped = 0;
  for (let seed = request.from; seed <= request.to; seed++) {
    if (secondsSoFar() > request.minutes * 60) {
      if (request.isBounded) skipped = (request.to - seed + 1) * request.profiles.length;
      break;
    }
    for (const profile of request.profiles) {
      const outcome = runSeed(seed, profile, { length: request.length });
      ran++;
      for (const [what, count] of Object.entries(outcome.reached)) {
        reached[what] = (reached[what] ?? 0) + count;
      }
      if (outcome.ok) continue;
      failed++;
      if (failures.length < FAILURES_KEPT_MAX) failures.push(outcome);
      if (!request.isJson) printFailure(outcome);
    }
  }
  const seconds = Math.round(secondsSoFar() * 10) / 10;
  if (request.isJson) {
    const ok = failed === 0;
    console.log(JSON.stringify({ ok, ran, skipped, seconds, failed, reached, failures }));
  } else {
    console.log(`${ran} runs in ${seconds} s, ${failed} failed`, reached);
  }
  return failed === 0;
}

function main(args: readonly string[]): number {
  try {
    return run(parseRequest(args)) ? 0 : 1;
  } catch (caught) {
    const isParsing =
      caught instanceof TypeError && "code" in caught && String(caught.code).includes("ARGS");
    if (!isParsing && !(caught instanceof UsageError)) throw caught;
    console.error(`${caught.message}\n${USAGE}`);
    return 2;
  }
}

if (import.meta.main) process.exitCode = main(process.argv.slice(2));
