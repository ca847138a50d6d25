import assert from "node:assert/strict";
import { test } from "node:test";
import type { WatchEvent } from "@blixard/api";
import type { Change, NodeRecord } from "@blixard/control";
import { as, BlixardError, type LogIndex, type NodeId } from "@blixard/std";
import { WATCH_HISTORY_EVENTS, WATCH_QUEUE_EVENTS } from "./limits.ts";
import { WatchHub } from "./watch.ts";

const at = (revision: number): LogIndex => as<LogIndex>(revision);
const ID = as<NodeId>("a".repeat(32));

function change(kind: "added" | "modified" | "removed"): Change {
  // Only identity matters here: the hub passes objects through.
  const object = { id: ID } as NodeRecord;
  return {
    kind: "node",
    id: ID,
    ...(kind === "added" ? {} : { before: object }),
    ...(kind === "removed" ? {} : { after: object }),
  };
}

async function take(events: AsyncIterable<WatchEvent>, count: number): Promise<string[]> {
  const seen: string[] = [];
  for await (const event of events) {
    seen.push(
      event.kind === "bookmark" ? `bookmark ${event.revision}` : `${event.type} ${event.revision}`,
    );
    if (seen.length === count) break;
  }
  return seen;
}

test("a watcher sees what follows its position, history first, then live", async () => {
  const hub = new WatchHub(at(0));
  hub.publish([change("added")], at(1));
  hub.publish([change("modified"), change("modified")], at(2));
  const events = hub.watch(at(1), new AbortController().signal);
  hub.publish([change("removed")], at(3));
  assert.deepEqual(await take(events, 4), ["bookmark 1", "modified 2", "modified 2", "removed 3"]);
});

test("without a position it begins now", async () => {
  const hub = new WatchHub(at(0));
  hub.publish([change("added")], at(1));
  const events = hub.watch(undefined, new AbortController().signal);
  hub.publish([change("removed")], at(2));
  assert.deepEqual(await take(events, 2), ["bookmark 1", "removed 2"]);
});

test("a position older than the history is Compacted; the oldest kept one still works", async () => {
  const hub = new WatchHub(at(0));
  const total = 2 * WATCH_HISTORY_EVENTS + 1;
  for (let revision = 1; revision <= total; revision++)
    hub.publish([change("modified")], at(revision));
  const oldest = total - WATCH_HISTORY_EVENTS;
  assert.throws(
    () => hub.watch(at(oldest - 1), new AbortController().signal),
    (thrown) => thrown instanceof BlixardError && thrown.code === "Compacted",
  );
  const seen = await take(hub.watch(at(oldest), new AbortController().signal), 2);
  assert.deepEqual(seen, [`bookmark ${oldest}`, `modified ${oldest + 1}`]);
});

test("a watcher that falls behind is cut off without a gap before the cut", async () => {
  const hub = new WatchHub(at(0));
  const events = hub.watch(undefined, new AbortController().signal);
  const total = WATCH_QUEUE_EVENTS + 5;
  for (let revision = 1; revision <= total; revision++)
    hub.publish([change("modified")], at(revision));
  const seen: number[] = [];
  await assert.rejects(async () => {
    for await (const event of events) {
      if (event.kind === "bookmark") continue;
      seen.push(event.revision);
      // Room is made again after the cut: what comes now must not slip in behind the gap.
      if (seen.length === 10) hub.publish([change("modified")], at(total + 1));
    }
  }, /fell behind/);
  assert.deepEqual(
    seen,
    Array.from({ length: WATCH_QUEUE_EVENTS }, (_, i) => i + 1),
  );
});

test("a restore ends all watches and forgets the history", async () => {
  const hub = new WatchHub(at(0));
  hub.publish([change("added")], at(1));
  const events = hub.watch(at(1), new AbortController().signal);
  hub.reset(at(50));
  await assert.rejects(take(events, 3), /fell behind|cut off/);
  assert.throws(() => hub.watch(at(1), new AbortController().signal), /Cannot resume/);
  assert.equal(hub.latest, 50);
});

test("aborting ends a waiting watch", async () => {
  const hub = new WatchHub(at(0));
  const abort = new AbortController();
  const all = take(hub.watch(undefined, abort.signal), 99);
  queueMicrotask(() => abort.abort());
  assert.deepEqual(await all, ["bookmark 0"]);
});
