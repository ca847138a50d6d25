/**
 * `npm run coverage`: Node's own coverage over each pure room, files that no test loads included; of machine its
 * TypeScript, not the WebAssembly that it emits. Fails below 90 % of lines or branches. `--json` prints one object.
 */

import { filesBelow, run } from "./run.ts";

const ROOMS = ["std", "raft", "control", "machine"];
const PERCENT_MIN = 90;

async function measure(room: string): Promise<{ room: string; lines: number; branches: number }> {
  const tests = filesBelow(`packages/${room}/src`, ".test.ts").filter(
    (path) => !path.includes(".peers."),
  );
  const { code, output } = await run(process.execPath, [
    "--conditions=source",
    "--test",
    "--experimental-test-coverage",
    "--test-coverage-include-all",
    `--test-coverage-include=packages/${room}/src/**`,
    "--test-coverage-exclude=**/*.test.ts",
    "--test-coverage-exclude=**/testing/**",
    "--test-reporter=tap",
    ...tests,
  ]);
  const row = /all files\s*\|\s*([\d.]+)\s*\|\s*([\d.]+)/.exec(output);
  if (code !== 0 || row === null) throw new Error(`coverage of ${room} failed:\n${output}`);
  return { room, lines: Number(row[1]), branches: Number(row[2]) };
}

const started = process.hrtime.bigint();
const rows = [];
for (const room of ROOMS) rows.push(await measure(room));
const ok = rows.every((row) => row.lines >= PERCENT_MIN && row.branches >= PERCENT_MIN);
const seconds = Number(process.hrtime.bigint() - started) / 1e9;
if (process.argv.includes("--json")) {
  console.log(JSON.stringify({ ok, ran: rows.length, skipped: 0, seconds, rooms: rows }));
} else {
  for (const row of rows)
    console.log(`${row.room}: lines ${row.lines} %, branches ${row.branches} %`);
  console.log(ok ? "coverage holds" : `coverage below ${PERCENT_MIN} %`);
}
process.exitCode = ok ? 0 : 1;
