/**
 * node --conditions=source packages/sim/src/linearizability/main.ts
 *   --check FILE   holds every history of a file against its model; exit code 1 when one is bad
 *   --bench        how long 1,000 operations take, by model; with --json as one object
 *   --write DIR    writes the generated histories of testdata/histories again
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Prng } from "@blixard/std";
import { check } from "./check.ts";
import { generate } from "./generate.ts";
import { decodeHistories, encodeHistories, type History } from "./history.ts";
import { type ModelName, MODELS } from "./models.ts";
import { spoil } from "./spoil.ts";
import { storedHistories } from "./stored.ts";

const USAGE = "usage: --check FILE | --bench [--json] | --write DIR";
const BENCH_OPERATIONS = 1000;
const BENCH_ROUNDS = 11;

// Object.keys forgets the names' type.
const NAMES = Object.keys(MODELS) as ModelName[];

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

interface BenchRow {
  readonly model: ModelName;
  readonly medianMs: number;
  readonly maxMs: number;
  readonly badMedianMs: number;
  readonly badMaxMs: number;
  readonly verdicts: Readonly<Record<string, number>>;
}

/** One key and ten clients, so that nothing is partitioned away. */
const BENCH_SHAPE = { operations: BENCH_OPERATIONS, clients: 10, keys: 1, longest: 40 };

function benchModel(model: ModelName): BenchRow {
  const good: number[] = [];
  const bad: number[] = [];
  const verdicts: Record<string, number> = {};
  const run = (history: History, into: number[]): void => {
    const startMs = performance.now();
    const { kind } = check(history);
    into.push(performance.now() - startMs);
    verdicts[kind] = (verdicts[kind] ?? 0) + 1;
  };
  for (let round = 1; round <= BENCH_ROUNDS; round++) {
    const random = new Prng(round);
    // Of the good ones, every fiftieth operation never gets an answer.
    run(generate(model, random, { ...BENCH_SHAPE, lost: 0.02 }), good);
    const whole = generate(model, random, { ...BENCH_SHAPE, lost: 0 });
    for (const { history } of spoil(whole, random)) run(history, bad);
  }
  const [maxMs, badMaxMs] = [Math.max(...good), Math.max(...bad)];
  return { model, medianMs: median(good), maxMs, badMedianMs: median(bad), badMaxMs, verdicts };
}

function bench(isJson: boolean): void {
  const rows = NAMES.map(benchModel);
  if (isJson) {
    console.log(JSON.stringify({ operations: BENCH_OPERATIONS, rounds: BENCH_ROUNDS, rows }));
    return;
  }
  console.log(`${BENCH_OPERATIONS} operations, one key, ten clients; ${BENCH_ROUNDS} rounds`);
  for (const row of rows) {
    const [good, goodMax] = [row.medianMs.toFixed(1), row.maxMs.toFixed(1)];
    const [bad, badMax] = [row.badMedianMs.toFixed(1), row.badMaxMs.toFixed(1)];
    console.log(
      `${row.model.padEnd(9)} good: ${good} ms (at most ${goodMax}), ` +
        `bad: ${bad} ms (at most ${badMax})`,
      row.verdicts,
    );
  }
}

function checkFile(path: string): boolean {
  const decoded = decodeHistories(readFileSync(path, "utf8"));
  if (!decoded.ok) {
    console.error(`${path}: ${decoded.error}`);
    return false;
  }
  let isGood = true;
  for (const { name, history } of decoded.value) {
    const verdict = check(history);
    console.log(`${name}: ${verdict.kind}, ${verdict.steps} steps`);
    if (verdict.kind === "illegal") console.log(verdict.report);
    isGood &&= verdict.kind === "ok";
  }
  return isGood;
}

function main(): number {
  const { values } = parseArgs({
    options: {
      check: { type: "string" },
      bench: { type: "boolean" },
      write: { type: "string" },
      json: { type: "boolean" },
    },
  });
  if (values.check !== undefined) return checkFile(values.check) ? 0 : 1;
  if (values.bench === true) {
    bench(values.json ?? false);
    return 0;
  }
  if (values.write !== undefined) {
    for (const model of NAMES) {
      const text = encodeHistories(storedHistories(model));
      writeFileSync(join(values.write, `${model}.jsonl`), text);
    }
    return 0;
  }
  console.error(USAGE);
  return 2;
}

if (import.meta.main) process.exitCode = main();
