/**
 * node --conditions=source packages/sim/src/linearizability/main.ts
 *   --check FILE   holds every history of a file against its model; exit code 1 when one is bad
 *   --bench        holds the stored histories against their verdicts, and 1,000 operations of each
 *                  model, good and spoiled; exit code 1 when a verdict is wrong or takes too long.
 *                  With --json one object
 *   --write DIR    writes the generated histories of testdata/histories again
 */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { assert, Prng } from "@blixard/std";
import { median } from "../tally.ts";
import { check, type Verdict } from "./check.ts";
import { generate } from "./generate.ts";
import { decodeHistories, encodeHistories, type History } from "./history.ts";
import { type ModelName, MODELS } from "./models.ts";
import { spoil } from "./spoil.ts";
import { storedHistories } from "./stored.ts";

const USAGE = "usage: --check FILE | --bench [--json] | --write DIR";
const BENCH_OPERATIONS = 1000;
const BENCH_ROUNDS = 11;
/** The most that the median of a model's histories may take, good or bad. */
const BENCH_BAR_MS = 1000;
const HISTORIES = new URL("../../testdata/histories/", import.meta.url);

// Object.keys forgets the names' type.
const NAMES = Object.keys(MODELS) as ModelName[];

interface BenchRow {
  readonly model: ModelName;
  readonly medianMs: number;
  readonly maxMs: number;
  readonly badMedianMs: number;
  readonly badMaxMs: number;
  readonly verdicts: Readonly<Record<string, number>>;
  /** Histories with another verdict than they have to have. */
  readonly wrong: number;
}

/** One key and ten clients, so that nothing is partitioned away. */
const BENCH_SHAPE = { operations: BENCH_OPERATIONS, clients: 10, keys: 1, longest: 40 };

function benchModel(model: ModelName): BenchRow {
  const good: number[] = [];
  const bad: number[] = [];
  const verdicts: Record<string, number> = {};
  let wrong = 0;
  const run = (history: History, into: number[], expected: Verdict["kind"]): void => {
    const startMs = performance.now();
    const { kind } = check(history);
    into.push(performance.now() - startMs);
    verdicts[kind] = (verdicts[kind] ?? 0) + 1;
    if (kind !== expected) wrong++;
  };
  for (let round = 1; round <= BENCH_ROUNDS; round++) {
    const random = new Prng(round);
    // Of the good ones, every fiftieth operation never gets an answer.
    run(generate(model, random, { ...BENCH_SHAPE, lost: 0.02 }), good, "ok");
    const whole = generate(model, random, { ...BENCH_SHAPE, lost: 0 });
    for (const { history } of spoil(whole, random)) run(history, bad, "illegal");
  }
  const [maxMs, badMaxMs] = [Math.max(...good), Math.max(...bad)];
  const [medianMs, badMedianMs] = [median(good), median(bad)];
  return { model, medianMs, maxMs, badMedianMs, badMaxMs, verdicts, wrong };
}

/** How many histories are stored, and which have another verdict than they are stored with. */
function checkStored(): { readonly histories: number; readonly wrong: readonly string[] } {
  const all = readdirSync(HISTORIES).flatMap((file) => {
    const decoded = decodeHistories(readFileSync(new URL(file, HISTORIES), "utf8"));
    assert(decoded.ok, `${file} cannot be read`);
    return decoded.value;
  });
  const wrong = all.filter(({ expected, history }) => check(history).kind !== expected);
  return { histories: all.length, wrong: wrong.map(({ name }) => name) };
}

/** Whether every verdict was right, and soon enough. */
function bench(isJson: boolean): boolean {
  const startMs = performance.now();
  const stored = checkStored();
  const rows = NAMES.map(benchModel);
  const bars = rows.map(({ model, medianMs, badMedianMs }) => {
    const value = Math.round(10 * Math.max(medianMs, badMedianMs)) / 10;
    const [bar, ok] = [BENCH_BAR_MS, value <= BENCH_BAR_MS];
    return { name: `checker_${model}_ms`, value, unit: "ms", bar, better: "lower", ok };
  });
  const isRight = stored.wrong.length === 0 && rows.every(({ wrong }) => wrong === 0);
  const ok = isRight && bars.every((bar) => bar.ok);
  if (isJson) {
    const seconds = Math.round((performance.now() - startMs) / 100) / 10;
    const [ran, skipped] = [rows.length, 0];
    const of = { operations: BENCH_OPERATIONS, rounds: BENCH_ROUNDS };
    console.log(JSON.stringify({ ok, ran, skipped, seconds, ...of, stored, bars, rows }));
    return ok;
  }
  const { histories, wrong } = stored;
  console.log(`${histories} stored histories, ${wrong.length} with a wrong verdict`, ...wrong);
  console.log(`${BENCH_OPERATIONS} operations, one key, ten clients; ${BENCH_ROUNDS} rounds`);
  for (const row of rows) {
    const [good, goodMax] = [row.medianMs.toFixed(1), row.maxMs.toFixed(1)];
    const [bad, badMax] = [row.badMedianMs.toFixed(1), row.badMaxMs.toFixed(1)];
    console.log(
      `${row.model.padEnd(9)} good: ${good} ms (at most ${goodMax}), ` +
        `bad: ${bad} ms (at most ${badMax}), ${row.wrong} wrong`,
      row.verdicts,
    );
  }
  return ok;
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
  if (values.bench === true) return bench(values.json ?? false) ? 0 : 1;
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
