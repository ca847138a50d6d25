import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  as,
  BlixardError,
  concat,
  type Epoch,
  fromHex,
  failure,
  present,
  toHex,
  type VmId,
  type VmMachineStats,
} from "@blixard/std";
import fc from "fast-check";
import { LIMITS } from "./limits.ts";
import {
  encodeFrame,
  FrameReader,
  type Order,
  preamble,
  readOrder,
  readPreamble,
  readReport,
  type Report,
} from "./wire.ts";

const LATE = failure("TimedOut", { operation: "it", timeoutMs: 5 }, "it took over 5 ms");
const ORDERS: readonly Order[] = [
  { kind: "renew", deadlineMonotonicMs: 1234.5 },
  { kind: "stop", graceMs: 10_000 },
  { kind: "kill" },
  { kind: "commandExit", code: 137 },
  { kind: "stats", id: 9 },
];
const STATS: VmMachineStats = {
  execution: {
    instructions: 123456789,
    mips: { lastSecond: 250.5, average: 100, busy: 260 },
    time: { totalMs: 1000, busyMs: 500, idleMs: 400, heldMs: 60, throttledMs: 40 },
  },
  counters: { exits: { exceptions: 7 }, disk0: { reads: 1, readBytes: 4096 } },
};
const REPORTS: readonly Report[] = [
  {
    kind: "status",
    status: {
      vmId: as<VmId>("00000000000000a1"),
      epoch: as<Epoch>(3),
      phase: "running",
      commandExit: 0,
      supervisorPid: 10,
      backendPid: 11,
    },
    consoleEnd: 42,
  },
  {
    kind: "status",
    status: {
      vmId: as<VmId>("00000000000000a1"),
      epoch: as<Epoch>(3),
      phase: "stopped",
      ended: { kind: "leaseExpired" },
    },
    consoleEnd: 43,
  },
  { kind: "console", consoleEnd: 44 },
  {
    kind: "status",
    status: { vmId: as<VmId>("00000000000000a1"), epoch: as<Epoch>(3), phase: "starting" },
    consoleEnd: 0,
    answers: ["stats"],
  },
  { kind: "stats", id: 9, consoleEnd: 45, stats: STATS },
  { kind: "stats", id: 10, consoleEnd: 45, failure: LATE },
];

test("version 1 of every message is read for ever, and written as it is", () => {
  const path = new URL("testdata/supervisor-v1.hex", import.meta.url);
  const golden = readFileSync(path, "utf8").trim().split("\n");
  const messages = [...ORDERS, ...REPORTS];
  const written = [
    toHex(preamble("control")),
    toHex(preamble("agent")),
    ...messages.map((message) => toHex(encodeFrame(message))),
  ];
  assert.deepEqual(written, golden);
  const bytes = golden.map((line) => present(fromHex(line), "hex"));
  assert.equal(readPreamble(present(bytes[0], "control")), "control");
  assert.equal(readPreamble(present(bytes[1], "agent")), "agent");
  const orders = new FrameReader(readOrder).push(concat(bytes.slice(2, 2 + ORDERS.length)));
  assert.deepEqual(orders, ORDERS);
  const reports = new FrameReader(readReport).push(concat(bytes.slice(2 + ORDERS.length)));
  assert.deepEqual(reports, REPORTS);
});

const refused = (code: string) => (error: unknown) =>
  error instanceof BlixardError && error.code === code;

test("another version, another protocol and unknown roles are refused", () => {
  const bytes = preamble("control");
  assert.throws(() => readPreamble(bytes.with(6, 2)), refused("Unsupported"));
  assert.throws(() => readPreamble(bytes.with(0, 0)), refused("Corrupt"));
  assert.throws(() => readPreamble(bytes.with(7, 9)), refused("Corrupt"));
});

test("frames arrive whole however the stream is cut", () => {
  const stream = concat(ORDERS.map((order) => encodeFrame(order)));
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 40 })), (cuts) => {
      const reader = new FrameReader(readOrder);
      const out: Order[] = [];
      let at = 0;
      for (const cut of cuts) {
        out.push(...reader.push(stream.subarray(at, at + cut)));
        at += cut;
      }
      out.push(...reader.push(stream.subarray(at)));
      assert.deepEqual(out, ORDERS);
    }),
    { seed: 7 },
  );
});

test("arbitrary bytes end in Corrupt, never in anything else", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const read of [readOrder, readReport]) {
        try {
          new FrameReader<unknown>(read).push(bytes);
        } catch (caught) {
          assert.ok(refused("Corrupt")(caught), String(caught));
        }
      }
    }),
    { seed: 11, numRuns: 500 },
  );
  const oversize = new Uint8Array(4);
  new DataView(oversize.buffer).setUint32(0, LIMITS.frameBytes + 1, true);
  assert.throws(() => new FrameReader(readOrder).push(oversize), refused("Corrupt"));
  const frame = (value: unknown): Uint8Array => {
    const body = new TextEncoder().encode(JSON.stringify(value));
    const head = new Uint8Array(4);
    new DataView(head.buffer).setUint32(0, body.length, true);
    return concat([head, body]);
  };
  const measured = { execution: STATS.execution, counters: { exits: { "no name": 1 } } };
  for (const value of [
    { kind: "stats", id: 1, consoleEnd: 0 },
    { kind: "stats", id: 1, consoleEnd: 0, stats: measured },
    { kind: "stats", id: 1, consoleEnd: 0, stats: { counters: { exits: { a: -1 } } } },
    { kind: "stats", id: 1, consoleEnd: 0, failure: { code: "None" } },
  ]) {
    assert.throws(() => new FrameReader(readReport).push(frame(value)), refused("Corrupt"));
  }
  for (const value of [1, {}, { kind: "x" }, { kind: "renew" }, { kind: "stop", graceMs: "1" }]) {
    assert.throws(() => new FrameReader(readOrder).push(frame(value)), refused("Corrupt"));
  }
});
