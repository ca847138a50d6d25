/** Our own transcripts, in the form and in the dialect of etcd's (transcripts.peers.test.ts). */

import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { parseCommand, parseFile } from "./testing/etcd/datadriven.ts";
import { rewrite } from "./testing/etcd/run.ts";
import { ConfChangeTable, quorumTable } from "./testing/etcd/tables.ts";

const FOLDER = join(import.meta.dirname, "../testdata/transcripts");

for (const name of readdirSync(FOLDER).sort()) {
  test(`transcript ${name}`, () => {
    const path = join(FOLDER, name);
    const text = readFileSync(path, "utf8");
    const now = rewrite(text);
    if (process.env["BLIXARD_WRITE_GOLDEN"] === "1") writeFileSync(path, now);
    else assert.equal(now, text);
  });
}

test("commands, arguments, lists, input and both forms of expected output are read", () => {
  assert.deepEqual(parseCommand("deliver-msgs 1 drop=(2, 3) type=MsgApp"), {
    name: "deliver-msgs",
    args: [
      { key: "1", values: [] },
      { key: "drop", values: ["2", "3"] },
      { key: "type", values: ["MsgApp"] },
    ],
  });
  const text = "# why\n\na 1\nb\nc\n----\nd\n\ne\n----\n----\nf\n\ng\n----\n----\n\nh\n----\n";
  assert.deepEqual(
    parseFile(text).map(({ name, line, input, expected }) => [name, line, input, expected]),
    [
      ["a", 3, ["b", "c"], "d"],
      ["e", 9, [], "f\n\ng"],
      ["h", 18, [], ""],
    ],
  );
});

test("the tables notice what differs", () => {
  const ask = (line: string): string => {
    const command = parseCommand(line);
    return quorumTable({ ...command, line: 1, input: [], expected: "" });
  };
  assert.equal(ask("vote cfg=(1,2) cfgj=(3) votes=(y,y,n)"), "VoteLost\n");
  assert.match(ask("vote cfg=(1,2) votes=(y)"), /mismatched input .* map\[1:\{\} 2:\{\}\]/);
  assert.equal(
    ask("committed cfg=(1,2) idx=(7,_)"),
    "      idx\nx>      7    (id=1)\n?       0    (id=2)\n0\n",
  );
  assert.match(ask("committed cfg=(1) cfgj=(2) idx=(4,9)"), /\n4\n$/);
  const table = new ConfChangeTable();
  const change = (line: string, ...input: string[]): string =>
    table.handle({ ...parseCommand(line), line: 1, input, expected: "" });
  assert.equal(change("leave-joint"), "can't leave a non-joint config\n");
  assert.equal(change("leave-joint", "v1"), "this command takes no input\n");
  assert.equal(change("simple", "v1"), "voters=(1)\n1: StateProbe match=0 next=2\n");
  assert.match(change("enter-joint autoleave=true", "v2 l1"), /learners_next=\(1\) autoleave/);
  assert.throws(() => change("leap"), /unknown command/);
  assert.throws(() => change("simple", "x1"), /unknown input/);
});
