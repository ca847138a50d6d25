/**
 * npm run sim:determinism -- [--seeds N] [--json]
 *
 * The same seeds in several processes: from source twice, built, built without the compiler of the
 * engine (--jitless), and built on another major of Node. Every event of a run goes into its hash;
 * exit code 0 when all hashes are equal, 1 when one is not, 2: usage, or no other Node here.
 */

import { parseArgs } from "node:util";
import { exitCodeOf, numberOf } from "../options.ts";
import { differences, parseRows, type Row, samples } from "./compare.ts";
import { buildCopy, findOtherNode, type Mode, probe, probers } from "./os/modes.ts";

const USAGE = `usage: npm run sim:determinism -- [options]
  --seeds N   samples (100)
  --json      one object: ok, ran, skipped, seconds, events, modes, differences`;
const WORKERS = 2;

async function runModes(modes: readonly Mode[], count: number) {
  const rows: Record<string, Row[]> = {};
  const seconds: Record<string, number> = {};
  const waiting = [...modes];
  const work = async (): Promise<void> => {
    for (let mode = waiting.shift(); mode !== undefined; mode = waiting.shift()) {
      const startMs = performance.now();
      const parsed = parseRows(await probe(mode, count));
      if (!parsed.ok) throw new Error(`${mode.name}: ${parsed.error}`);
      rows[mode.name] = parsed.value;
      seconds[mode.name] = Math.round((performance.now() - startMs) / 100) / 10;
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, work));
  return { rows, seconds };
}

async function run(count: number, isJson: boolean): Promise<number> {
  const other = findOtherNode();
  if (other === undefined) {
    console.error(
      `no other major of Node than ${process.version} was found in PATH; ` +
        "name one with BLIXARD_OTHER_NODE=/path/to/node",
    );
    return 2;
  }
  const copy = buildCopy();
  try {
    const node = process.execPath;
    const source = ["--conditions=source", probers(copy).source];
    const { built } = probers(copy);
    // The slowest first.
    const modes: Mode[] = [
      { name: `${process.version} --jitless`, node, args: ["--jitless", built] },
      { name: other.version, node: other.path, args: [built] },
      { name: process.version, node, args: [built] },
      { name: `${process.version} from source`, node, args: source },
      { name: `${process.version} from source, again`, node, args: source },
    ];
    const startMs = performance.now();
    const { rows, seconds: modeSeconds } = await runModes(modes, count);
    const seconds = Math.round((performance.now() - startMs) / 100) / 10;
    const found = differences(samples(count), rows);
    const events = (rows[process.version] ?? []).reduce((sum, [, , , one]) => sum + one, 0);
    const ok = found.length === 0;
    if (isJson) {
      const result = { ok, ran: count, skipped: 0, seconds, events, modes: modeSeconds };
      console.log(JSON.stringify({ ...result, differences: found }));
    } else {
      for (const one of found.slice(0, 10)) console.error(one);
      console.log(`${count} seeds, ${events} events, ${found.length} differ`, modeSeconds);
    }
    return ok ? 0 : 1;
  } finally {
    copy.remove();
  }
}

function main(args: readonly string[]): Promise<number> {
  return exitCodeOf(USAGE, () => {
    const { values } = parseArgs({
      args: [...args],
      options: { seeds: { type: "string" }, json: { type: "boolean" } },
    });
    const seeds = numberOf(values.seeds ?? "100", "seeds", { isInteger: true, least: 1 });
    return run(seeds, values.json ?? false);
  });
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
