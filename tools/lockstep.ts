/**
 * `npm run test:lockstep`: every execution runs the same random guests side by side and is compared with the
 * first one, the reference, in everything a guest can see. A bounded slice by default; `--full` runs ten
 * million instructions a suite, `--instructions N` any number, `--seed N` other guests, `--suite NAME` one
 * suite, `--executions A,B` some of them. `--json` prints one object.
 */

import { parseArgs } from "node:util";
import { EXECUTIONS } from "../packages/machine/src/testing/lockstep/executions.ts";
import { SUITES } from "../packages/machine/src/testing/lockstep/program.ts";
import { explain, lockstep } from "../packages/machine/src/testing/lockstep/run.ts";

const SLICE_INSTRUCTIONS = 80_000;
const FULL_INSTRUCTIONS = 10_000_000;

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    full: { type: "boolean", default: false },
    instructions: { type: "string" },
    seed: { type: "string", default: "1" },
    suite: { type: "string" },
    executions: { type: "string", default: EXECUTIONS.join(",") },
  },
});
const instructions = Number(
  values.instructions ?? (values.full ? FULL_INSTRUCTIONS : SLICE_INSTRUCTIONS),
);
const seed = Number(values.seed);
const suites = SUITES.filter((suite) => values.suite === undefined || suite === values.suite);
if (!Number.isSafeInteger(instructions) || instructions < 1 || !Number.isSafeInteger(seed)) {
  throw new TypeError("--instructions and --seed take whole numbers");
}
const asked = values.executions.split(",");
const executions = EXECUTIONS.filter((name) => asked.includes(name));
if (executions.length < 2 || executions.length !== asked.length) {
  throw new TypeError(`--executions takes two or more of ${EXECUTIONS.join(",")}`);
}
if (suites.length === 0) throw new TypeError(`--suite is one of ${SUITES.join(", ")}`);

const started = process.hrtime.bigint();
const rows = suites.map((suite) => {
  const outcome = lockstep(suite, seed, instructions, executions);
  const { difference } = outcome;
  const first = difference === undefined ? undefined : explain(suite, difference.seed, executions);
  if (!values.json) {
    const verdict = difference === undefined ? "agree" : JSON.stringify(first ?? difference);
    console.log(`${suite}: ${outcome.instructions} instructions: ${verdict}`);
  }
  return {
    suite,
    ok: difference === undefined,
    instructions: outcome.instructions,
    exceptions: outcome.exceptions,
    ...(difference === undefined ? {} : { difference: first ?? difference }),
  };
});
const ok = rows.every((row) => row.ok);
const ran = rows.reduce((sum, row) => sum + row.instructions, 0);
const seconds = Number(process.hrtime.bigint() - started) / 1e9;
if (values.json)
  console.log(JSON.stringify({ ok, ran, skipped: 0, seconds, executions, suites: rows }));
else console.log(`${ran} instructions in ${seconds.toFixed(1)} s: ${ok ? "all agree" : "DIFFER"}`);
process.exitCode = ok ? 0 : 1;
