import assert from "node:assert/strict";
import { test } from "node:test";
import type {
  HistoryOperation,
  RegisterInput,
  RegisterOutput,
  VmInput,
  VmOutput,
} from "../plan.ts";
import { recordModel } from "./record-model.ts";
import { checkRun } from "./run-history.ts";

type Row<Input, Output> = readonly [
  invokedUs: number,
  returnedUs: number | undefined,
  Input,
  Output?,
];

function registers(...rows: readonly Row<RegisterInput, RegisterOutput>[]): HistoryOperation[] {
  return rows.map(([invokedUs, returnedUs, input, output], at) => ({
    model: "register",
    item: at + 1,
    client: at,
    key: 1,
    invokedUs,
    input,
    ...(returnedUs === undefined || output === undefined ? {} : { returnedUs, output }),
  }));
}

function records(...rows: readonly Row<VmInput, VmOutput>[]): HistoryOperation[] {
  return rows.map(([invokedUs, returnedUs, input, output], at) => ({
    model: "vm",
    item: at + 1,
    client: at,
    key: 1,
    invokedUs,
    input,
    ...(returnedUs === undefined || output === undefined ? {} : { returnedUs, output }),
  }));
}

const READ = { kind: "read" } as const;
const WRITTEN = { kind: "written" } as const;
const MISMATCH = { kind: "mismatch" } as const;
const write = (value: number) => ({ kind: "write", value }) as const;
const cas = (expected: number | null, value: number) => ({ kind: "cas", expected, value }) as const;
const holds = (value: number | null) => ({ kind: "value", value }) as const;

test("registers of a run: nothing, a value, a cas from nothing", () => {
  const good = registers(
    [0, 1, READ, holds(null)],
    [2, 3, cas(null, 5), WRITTEN],
    [4, 5, cas(null, 6), MISMATCH],
    [6, 7, cas(5, 7), WRITTEN],
    [8, undefined, write(8)],
    [9, 10, READ, holds(7)],
    [11, 12, READ, holds(8)],
  );
  assert.equal(checkRun(good).kind, "ok");
  const stale = registers([0, 1, write(1), WRITTEN], [2, 3, READ, holds(null)]);
  assert.equal(checkRun(stale).kind, "illegal");
  const winners = registers([0, 9, cas(null, 5), WRITTEN], [0, 9, cas(null, 6), WRITTEN]);
  assert.equal(checkRun(winners).kind, "illegal");
});

const READ_VM = { kind: "readVm" } as const;
const DELETE = { kind: "deleteVm" } as const;
const DONE = { kind: "done" } as const;
const ABSENT = { kind: "absent" } as const;
const REFUSED = { kind: "refused" } as const;
const create = (vcpus: number) => ({ kind: "createVm", desired: "running", vcpus }) as const;
const set = (desired: "running" | "stopped") => ({ kind: "setDesired", desired }) as const;
const vm = (desired: "running" | "stopped", deleting: boolean) =>
  ({ kind: "vm", desired, deleting }) as const;

test("records of a run: created once, dying for a while, gone by themselves", () => {
  const good = records(
    [0, 1, READ_VM, ABSENT],
    [2, 3, set("stopped"), ABSENT],
    [4, 5, create(2), DONE],
    [6, 7, create(2), DONE],
    [8, 9, create(3), REFUSED],
    [10, 11, set("stopped"), DONE],
    [12, 13, READ_VM, vm("stopped", false)],
    [14, 15, DELETE, DONE],
    [16, 17, READ_VM, vm("stopped", true)],
    [18, 19, set("running"), REFUSED],
    [20, 21, DELETE, DONE],
    [22, 23, create(1), REFUSED],
    [24, 25, create(1), DONE],
    [26, undefined, DELETE],
    [28, 29, READ_VM, vm("running", false)],
    [30, 31, DELETE, ABSENT],
    [32, undefined, create(1)],
    [33, undefined, set("stopped")],
    [34, 35, READ_VM, vm("stopped", false)],
  );
  const verdict = checkRun(good);
  assert.equal(verdict.kind, "ok", verdict.kind === "illegal" ? verdict.report : "");
  const wrong: readonly HistoryOperation[][] = [
    records([0, 1, create(2), DONE], [2, 3, READ_VM, ABSENT]),
    records([0, 1, create(2), DONE], [2, 3, create(3), DONE]),
    records([0, 1, create(2), DONE], [2, 3, READ_VM, vm("running", true)]),
    records([0, 1, create(2), DONE], [2, 3, set("running"), REFUSED]),
    records([0, 1, create(2), REFUSED]),
    records([0, 1, create(2), DONE], [2, 3, DELETE, DONE], [4, 5, READ_VM, vm("running", false)]),
    records(
      [0, 1, create(2), DONE],
      [2, 3, DELETE, DONE],
      [4, 5, READ_VM, ABSENT],
      [6, 7, READ_VM, vm("running", true)],
    ),
  ];
  for (const history of wrong) {
    const found = checkRun(history);
    assert.ok(found.kind === "illegal", JSON.stringify(history));
    assert.match(found.report, /model record/);
  }
});

test("the record model reads its own operations, and no others", () => {
  for (const input of [
    { key: 1, kind: "readVm" },
    { key: 1, kind: "deleteVm" },
    { key: 1, kind: "setDesired", desired: "running" },
    { key: 1, kind: "createVm", desired: "stopped", vcpus: 2 },
  ]) {
    assert.deepEqual(recordModel.parseInput(input), input);
  }
  for (const input of [{ kind: "readVm" }, { key: 1, kind: "x" }, { key: 1, kind: "createVm" }]) {
    assert.equal(recordModel.parseInput(input), undefined);
  }
  const read = { key: 1, kind: "readVm" } as const;
  for (const output of [ABSENT, DONE, REFUSED, vm("running", true)]) {
    assert.deepEqual(recordModel.parseOutput(read, output), output);
  }
  assert.equal(recordModel.parseOutput(read, { kind: "vm", desired: "on" }), undefined);
});

/**
 * Commands wait for a leader at the same time; a few never get an answer, of the
 * creates at most two. Then all is quiet, and reads find the record gone and back, so many times.
 */
function afterAnOutage(waiting: number, timesBack: number): HistoryOperation[] {
  const commands = Array.from({ length: waiting }, (_, n): Row<VmInput, VmOutput> => {
    const desired = n % 2 === 0 ? "running" : "stopped";
    const inputs: VmInput[] = [
      { kind: "deleteVm" },
      { kind: "setDesired", desired },
      { kind: "createVm", desired: "running", vcpus: 1 + (n % 4) },
    ];
    const kind = n % 12 === 0 ? "absent" : "done";
    return [n, n % 7 === 0 ? undefined : 2000 - n, inputs[n % 3] ?? { kind: "readVm" }, { kind }];
  });
  const back: VmOutput = { kind: "vm", desired: "running", deleting: false };
  const reads = Array.from({ length: 2 * timesBack + 1 }, (_, n): Row<VmInput, VmOutput> => {
    const [fromUs, toUs] = [3000 + 10 * n, 3001 + 10 * n];
    return [fromUs, toUs, { kind: "readVm" }, n % 2 === 0 ? { kind: "absent" } : back];
  });
  return records(...commands, ...reads);
}

test("many commands that wait at the same time are judged", () => {
  assert.equal(checkRun(afterAnOutage(40, 0)).kind, "ok");
  assert.equal(checkRun(afterAnOutage(40, 1)).kind, "ok");
  assert.equal(checkRun(afterAnOutage(20, 3)).kind, "illegal");
});
