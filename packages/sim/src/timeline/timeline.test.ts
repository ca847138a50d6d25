import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { noFirings, type Outcome, type Plan, type TraceLine } from "../plan.ts";
import { describePlan, renderTimeline } from "./timeline.ts";

const SNAPSHOT = new URL("../../testdata/timeline.txt", import.meta.url);

const TRACE: readonly TraceLine[] = [
  { atMs: 0, machine: 1, kind: "event", text: "start 0" },
  { atMs: 812.4, machine: 1, kind: "note", text: "leads term 2, last index 3" },
  { atMs: 900, machine: 2, kind: "fault", text: "powerCut #7" },
  { atMs: 905.25, machine: 1, kind: "operation", text: "#12 write r1 = 4" },
  { atMs: 950, machine: 0, kind: "fault", text: "partition of n1 from n2,n3, in both directions" },
  { atMs: 1400.1, machine: 3, kind: "note", text: "leads term 3, last index 3\u001b[2J" },
  { atMs: 1402, machine: 3, kind: "operation", text: "#13 read r1" },
  { atMs: 1403, machine: 0, kind: "operation", text: "#13 -> nothing" },
  { atMs: 1450, machine: 2, kind: "event", text: "tick 0" },
  { atMs: 1451, machine: 0, kind: "event", text: "net 1f" },
  { atMs: 1451, machine: 0, kind: "violation", text: "reads are linearizable" },
];

const OUTCOME: Outcome = {
  ok: false,
  failure: {
    invariant: "reads are linearizable",
    message: "n3 read at 3\n#12 was acknowledged before",
    atMs: 1451,
    event: 99,
  },
  seed: 7,
  profile: "raft",
  hash: "0123456789abcdef",
  events: 99,
  simulatedMs: 1451,
  faults: noFirings(),
  operations: 2,
  history: [
    {
      model: "register",
      item: 12,
      client: 0,
      key: 1,
      invokedUs: 905_250,
      input: { kind: "write", value: 4 },
      returnedUs: 940_000,
      output: { kind: "written" },
    },
    {
      model: "register",
      item: 13,
      client: 1,
      key: 1,
      invokedUs: 1_402_000,
      input: { kind: "read" },
    },
  ],
  reached: {},
  trace: TRACE,
};

const PLAN: Plan = {
  version: 1,
  seed: 7,
  profile: "raft",
  cluster: {
    voters: 3,
    learners: 0,
    spares: 0,
    tickMs: 50,
    electionTicks: 10,
    heartbeatTicks: 1,
    segmentBytes: 16_384,
    snapshotEveryEntries: 60,
    snapshotEveryBytes: 8192,
    leaseReads: false,
    linkUs: [100, 300],
    diskUs: [20, 150],
    clients: 2,
    safetyMs: 8000,
    livenessMs: 60_000,
  },
  items: [
    {
      id: 7,
      type: "fault",
      kind: "powerCut",
      atMs: 900,
      untilMs: 1400,
      targets: [2],
      rate: 1,
      amount: 0,
    },
    {
      id: 12,
      type: "operation",
      atMs: 905,
      client: 0,
      machine: 1,
      key: 1,
      input: { kind: "write", value: 4 },
    },
    {
      id: 13,
      type: "operation",
      atMs: 1402,
      client: 1,
      machine: 3,
      key: 1,
      input: { kind: "read" },
    },
  ],
};

function render(width: number, color = false): string {
  return renderTimeline(OUTCOME, 3, { width, color }).join("\n");
}

test("the timeline at three widths, and a plan, are as the committed text has them", () => {
  const narrow = describePlan(PLAN, 2);
  const parts = [render(120), render(76), render(50), describePlan(PLAN).join("\n")];
  const text = `${[...parts, narrow.join("\n")].join("\n----\n")}\n`;
  if (process.env["UPDATE_SNAPSHOTS"] === "1") writeFileSync(SNAPSHOT, text);
  assert.equal(text, readFileSync(SNAPSHOT, "utf8"));
});

test("no line is wider than the terminal, whatever its width", () => {
  for (let width = 40; width <= 200; width += 7) {
    for (const line of render(width).split("\n")) assert.ok(line.length <= width, line);
  }
});

test("colour only where it is asked for, and no other control characters", () => {
  // oxlint-disable-next-line no-control-regex
  const controls = /[\u0000-\u0009\u000b-\u001f]/;
  assert.doesNotMatch(render(100), controls);
  const colored = render(100, true);
  assert.ok(colored.includes("\u001b[33m! powerCut"));
  // oxlint-disable-next-line no-control-regex
  assert.doesNotMatch(colored.replaceAll(/\u001b\[\d+m/g, ""), controls);
});

test("only so many lines of the story and of the events", () => {
  const few = { width: 100, color: false, storyLines: 2, eventLines: 1 };
  const text = renderTimeline(OUTCOME, 3, few).join("\n");
  assert.doesNotMatch(text, /leads term 2|tick 0/);
  assert.match(text, /#13 read r1/);
  assert.match(text, /net 1f/);
});

test("a run that did not fail has no ending", () => {
  const { failure: _, ...rest } = OUTCOME;
  const lines = renderTimeline({ ...rest, ok: true }, 3, { width: 100, color: false });
  assert.ok(!lines.join("\n").includes("broken"));
});
