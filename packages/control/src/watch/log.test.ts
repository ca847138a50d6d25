import assert from "node:assert/strict";
import { test } from "node:test";
import { as, type LogIndex, type NodeId, type VmId } from "@blixard/std";
import type { Change, NodeRecord, VmRecord } from "../types.ts";
import { toEvents, type Watcher, WatchLog } from "./log.ts";

const at = (revision: number): LogIndex => as<LogIndex>(revision);
// Only identity matters here: the log passes objects through.
const NODE = { id: as<NodeId>("a".repeat(32)) } as NodeRecord;
const MODIFIED: Change = { kind: "node", id: NODE.id, before: NODE, after: NODE };

function open(log: WatchLog, from?: number): Watcher {
  const opened = log.open(from === undefined ? undefined : at(from));
  assert.ok(opened.ok);
  return opened.value;
}

function drain(watcher: Watcher): (number | "cutOff")[] {
  const seen: (number | "cutOff")[] = [];
  for (let next = watcher.next(); next !== undefined; next = watcher.next()) {
    seen.push(next === "cutOff" ? next : next.revision);
    if (next === "cutOff") break;
  }
  return seen;
}

function filled(count: number, limits = { historyEvents: 4, queueEvents: 3 }): WatchLog {
  const log = new WatchLog(at(0), limits);
  for (let revision = 1; revision <= count; revision++) log.publish([MODIFIED], at(revision));
  return log;
}

test("changes become events of their kind", () => {
  // Only identity matters here, too.
  const vm = { id: as<VmId>("0123456789abcdef") } as VmRecord;
  const changes: Change[] = [
    { kind: "vm", id: vm.id, after: vm },
    { kind: "vm", id: vm.id, before: vm },
    MODIFIED,
    { kind: "vm", id: vm.id },
  ];
  const events = toEvents(changes, at(7)).map(({ kind, type }) => `${kind} ${type}`);
  assert.deepEqual(events, ["vm added", "vm removed", "node modified"]);
});

test("history first, then what comes, each once", () => {
  const log = filled(3);
  const watcher = open(log, 1);
  log.publish([MODIFIED], at(4));
  log.publish([], at(5));
  assert.deepEqual(drain(watcher), [2, 3, 4]);
  assert.equal(log.latest, 5);
  watcher.close();
  log.publish([MODIFIED], at(6));
  assert.deepEqual(drain(watcher), []);
});

test("a watcher whose position this node has not reached sees nothing twice", () => {
  const log = filled(3);
  const watcher = open(log, 5);
  for (const revision of [4, 5, 6]) log.publish([MODIFIED], at(revision));
  assert.deepEqual(drain(watcher), [6]);
});

test("one that is slow, or that a restore overtakes, is cut off without a gap", () => {
  const log = filled(0);
  const slow = open(log);
  for (let revision = 1; revision <= 5; revision++) log.publish([MODIFIED], at(revision));
  assert.deepEqual(drain(slow), [1, 2, 3, "cutOff"]);
  const overtaken = open(log, 5);
  let woken = 0;
  overtaken.wake = () => woken++;
  log.reset(at(50));
  assert.equal(woken, 1);
  assert.deepEqual(drain(overtaken), ["cutOff"]);
  assert.equal(log.oldest, 50);
});

test("positions before the history are refused", () => {
  const log = filled(9);
  const refused = log.open(at(1));
  assert.ok(!refused.ok);
  assert.deepEqual(refused.error, { requested: 1, oldest: 5 });
  assert.deepEqual(drain(open(log, 5)), [6, 7, 8, 9]);
});

test("a cut never takes a revision apart", () => {
  const log = filled(0);
  const watcher = open(log);
  log.publish([MODIFIED, MODIFIED], at(1));
  log.publish([MODIFIED, MODIFIED], at(2));
  assert.deepEqual(drain(watcher), [1, 1, "cutOff"]);
  const large = open(log, 2);
  log.publish([MODIFIED, MODIFIED, MODIFIED, MODIFIED], at(3));
  assert.deepEqual(drain(large), [3, 3, 3, 3]);
});
