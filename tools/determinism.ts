/**
 * `npm run test:determinism`: the stored Linux in virtual time with a script at its console, to the same
 * instruction in processes of their own: interpreted twice alike, and with budgets cut at random; compiled,
 * compiled early in small regions with budgets cut, and both with the regions that another run has made. All must end in the same state: hart, RAM, devices, and what
 * the guest printed. `--instructions N` (default 1 G); `--only A,B` some of the runs; `--json` prints one object.
 */

import { createHash } from "node:crypto";
import { serialize } from "node:v8";
import { parseArgs } from "node:util";
import { assert, Prng } from "@blixard/std";
import type { MachineOptions } from "@blixard/machine";
import { VirtualGuest } from "../packages/machine/src/testing/virtual-guest.ts";
import { run } from "./run.ts";

type Jit = NonNullable<MachineOptions["jit"]>;
const SMALL = { instructionsMax: 30, inlineDepthMax: 2, pagesMax: 3 };
const EAGER: Jit = { limits: { threshold: 20, first: SMALL, batch: 4, regionsMax: 2000 } };
interface Run {
  readonly name: string;
  readonly cut: boolean;
  readonly jit: Jit;
  /** Instructions of another run, whose regions this one begins with. */
  readonly rehearsed?: number;
}
const RUNS: readonly Run[] = [
  { name: "first", cut: false, jit: "off" },
  { name: "second", cut: false, jit: "off" },
  { name: "cut", cut: true, jit: "off" },
  { name: "compiled", cut: false, jit: "on" },
  { name: "eager", cut: true, jit: EAGER },
  { name: "kept", cut: true, jit: {}, rehearsed: 150_000_000 },
  { name: "early", cut: true, jit: EAGER, rehearsed: 20_000_000 },
];
const RANDOM_BUDGET_MAX = 400_000;

interface Outcome {
  readonly name: string;
  readonly instructions: number;
  readonly hash: string;
  readonly devices: string;
  readonly console: string;
  readonly lines: number;
  readonly seconds: number;
}

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    instructions: { type: "string", default: "1000000000" },
    only: { type: "string" },
    /** One of RUNS, in this process. */
    run: { type: "string" },
  },
});
const instructions = Number(values.instructions);
if (!Number.isSafeInteger(instructions) || instructions < 1) {
  throw new TypeError("--instructions takes a whole number");
}

const digest = (data: string | Uint8Array): string =>
  createHash("sha256").update(data).digest("hex").slice(0, 16);

/** The same with the regions that it has made in so many instructions. */
function rehearse(jit: Jit, until: number): Jit {
  assert(typeof jit === "object", "a run that compiles");
  const guest = new VirtualGuest({ machine: { jit: { ...jit, kept: {} } } });
  guest.runTo(until);
  const bytes = guest.machine.keptRegions();
  assert(bytes !== undefined, "regions were made");
  return { ...jit, kept: { bytes } };
}

function runHere(name: string): Outcome {
  const started = process.hrtime.bigint();
  const random = new Prng(20_26);
  const found: Run = RUNS.find((one) => one.name === name) ?? { name, cut: false, jit: "off" };
  const { cut, rehearsed = 0 } = found;
  const budget = (): number => 1 + random.below(RANDOM_BUDGET_MAX);
  const jit = rehearsed === 0 ? found.jit : rehearse(found.jit, Math.min(rehearsed, instructions));
  const guest = new VirtualGuest({ machine: { jit }, ...(cut ? { budget } : {}) });
  if (!guest.runTo(instructions)) throw new Error(`the guest ended:\n${guest.console()}`);
  const text = guest.console();
  return {
    name,
    instructions: guest.machine.instructions,
    hash: guest.machine.stateHash(),
    devices: digest(serialize(guest.board.bus.save())),
    console: digest(text),
    lines: text.split("\n").length - 1,
    seconds: Number(process.hrtime.bigint() - started) / 1e9,
  };
}

async function runInChild(name: string): Promise<Outcome> {
  const script = ["--conditions=source", "tools/determinism.ts", "--run", name];
  const argv = [...script, "--instructions", String(instructions)];
  const { code, output } = await run(process.execPath, argv);
  if (code !== 0) throw new Error(`the ${name} run failed:\n${output}`);
  // Safe: what `runHere` returned, printed by this file.
  return JSON.parse(output) as Outcome;
}

if (values.run !== undefined) {
  console.log(JSON.stringify(runHere(values.run)));
} else {
  const started = process.hrtime.bigint();
  const outcomes: Outcome[] = [];
  const only = values.only?.split(",");
  for (const { name } of RUNS.filter((one) => only?.includes(one.name) ?? true)) {
    const outcome = await runInChild(name);
    outcomes.push(outcome);
    const { hash, devices, lines, seconds } = outcome;
    if (!values.json) {
      const text = `state ${hash}, devices ${devices}, ${lines} lines, ${seconds.toFixed(1)} s`;
      console.log(`${name.padEnd(8)} ${outcome.instructions} instructions: ${text}`);
    }
  }
  const ended = outcomes.map((one) =>
    [one.instructions, one.hash, one.devices, one.console].join(),
  );
  const ok = outcomes.length > 0 && new Set(ended).size === 1;
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  const ran = outcomes.length;
  if (values.json) {
    const answer = { ok, ran, skipped: 0, seconds, instructions, runs: outcomes };
    console.log(JSON.stringify(answer));
  } else console.log(`${ran} runs in ${seconds.toFixed(1)} s: ${ok ? "the same" : "DIFFERENT"}`);
  process.exitCode = ok ? 0 : 1;
}
