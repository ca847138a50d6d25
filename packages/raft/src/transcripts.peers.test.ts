/**
 * etcd's own tests of its protocol, replayed against ours. The files are etcd's (Apache-2.0) and no
 * part of this repository: BLIXARD_ETCD_TESTDATA names the folder, by default
 * ../shared/etcd-raft-testdata beside it. Without it the test says that it was skipped;
 * `npm run test:peers -- --require-data` makes that a failure.
 */

import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { runCorpus } from "./testing/etcd/run.ts";

const REPOSITORY = join(import.meta.dirname, "../../..");
const root =
  process.env["BLIXARD_ETCD_TESTDATA"] ?? join(REPOSITORY, "../shared/etcd-raft-testdata");

test("etcd's transcripts: quorum and confchange exactly, interactions but for log lines", (t) => {
  if (!existsSync(root)) {
    const message = `no transcripts at ${root}; BLIXARD_ETCD_TESTDATA names the folder`;
    assert.notEqual(process.env["BLIXARD_REQUIRE_DATA"], "1", message);
    console.log(`SKIPPED: ${message}`);
    t.skip(message);
    return;
  }
  const results = runCorpus(root);
  const sum = (value: (each: (typeof results)[number]) => number): number =>
    results.reduce((total, each) => total + value(each), 0);
  const counts = {
    files: results.length,
    passed: sum((each) => (each.differences.length === 0 ? 1 : 0)),
    directives: sum((each) => each.directives),
    directivesPassed: sum((each) => each.passed),
    passedWithLog: sum((each) => (each.passedWithLog === each.directives ? 1 : 0)),
    directivesPassedWithLog: sum((each) => each.passedWithLog),
  };
  const { files, passed, directives, directivesPassed, passedWithLog } = counts;
  console.log(
    `etcd's transcripts: ${passed} of ${files} files, ` +
      `${directivesPassed} of ${directives} directives; with their log lines ${passedWithLog} files, ${counts.directivesPassedWithLog} directives`,
  );
  const countsFile = process.env["BLIXARD_TRANSCRIPT_COUNTS"];
  if (countsFile !== undefined) writeFileSync(countsFile, JSON.stringify(counts));
  for (const { file, differences } of results) {
    for (const { line, command, expected, actual } of differences) {
      console.log(`${file}:${line} ${command}\n-- expected\n${expected}\n-- actual\n${actual}`);
    }
  }
  assert.ok(files > 0, `no files below ${root}`);
  assert.equal(passed, files, `${files - passed} files differ`);
});
