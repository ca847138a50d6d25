/**
 * `npm test`: every test that needs nothing but npm. `node tools/test.ts PATTERN...` runs the files whose
 * path contains one of the patterns; `--peers` runs the *.peers.test.ts ones instead, which need Debian
 * packages. Ends with the plain line `N passed, N failed`. `--require-data` makes the absence of data
 * that is no part of the repository a failure; `--json` prints one object with the counts at the end
 * of an otherwise empty standard output.
 */

import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Counts } from "./reporter.ts";
import { filesBelow, PURE_ROOMS, run } from "./run.ts";

const args = process.argv.slice(2);
const peers = args.includes("--peers");
const isJson = args.includes("--json");
const patterns = args.filter((arg) => !arg.startsWith("--"));

const files = ["packages", "tools", "guest", "bench", "e2e", "examples"]
  .flatMap((dir) => filesBelow(dir, ".test.ts"))
  .filter((path) => path.includes(".peers.") === peers)
  .filter((path) => patterns.length === 0 || patterns.some((pattern) => path.includes(pattern)));
const isPure = (path: string): boolean =>
  PURE_ROOMS.some((room) => path.startsWith(`packages/${room}/`));

const scratch = mkdtempSync(join(tmpdir(), "blixard-test-"));
const total: Counts = { passed: 0, failed: 0, skipped: 0 };
const transcriptsFile = join(scratch, "transcripts.json");
let exitCode = 0;
let secondsInAll = 0;

async function runGroup(name: string, group: string[], flags: string[]): Promise<void> {
  if (group.length === 0) return;
  const countsFile = join(scratch, `${name}.json`);
  const reporter = join(import.meta.dirname, "reporter.ts");
  const { code, seconds, output } = await run(
    process.execPath,
    [
      "--conditions=source",
      "--test",
      "--test-timeout=180000",
      `--test-reporter=${reporter}`,
      ...flags,
      ...group,
    ],
    {
      inherit: !isJson,
      env: {
        BLIXARD_TEST_COUNTS: countsFile,
        BLIXARD_TRANSCRIPT_COUNTS: transcriptsFile,
        ...(args.includes("--require-data") ? { BLIXARD_REQUIRE_DATA: "1" } : {}),
      },
    },
  );
  if (isJson) process.stderr.write(output);
  secondsInAll += seconds;
  if (code !== 0) exitCode = 1;
  const counts = JSON.parse(readFileSync(countsFile, "utf8")) as Counts; // written by our reporter
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
  say(`${name}: ${group.length} files, ${counts.passed} passed, ${seconds.toFixed(1)} s`);
}

function say(line: string): void {
  if (isJson) console.error(line);
  else console.log(line);
}

/** Files and directives of etcd's transcripts; absent where they did not run. */
let transcripts: unknown;

try {
  const pure = files.filter(isPure);
  const shells = files.filter((path) => !isPure(path));
  await runGroup("pure rooms", pure, ["--test-concurrency=2"]);
  await runGroup("shells", shells, ["--test-concurrency=2"]);
  if (existsSync(transcriptsFile)) transcripts = JSON.parse(readFileSync(transcriptsFile, "utf8"));
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : "";
say(`${total.passed} passed, ${total.failed} failed${skipped}`);
if (total.passed === 0 && total.skipped === 0) {
  console.error("no test ran");
  exitCode = 1;
}
if (isJson) {
  const ran = total.passed + total.failed;
  const seconds = Number(secondsInAll.toFixed(1));
  const ok = exitCode === 0;
  console.log(JSON.stringify({ ok, ran, ...total, seconds, transcripts }));
}
process.exitCode = exitCode;
