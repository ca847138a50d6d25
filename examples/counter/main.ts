/** Three members in one process, to try things out. In earnest each is a process: examples/kv. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { as, createMemoryHub, raftCluster } from "@blixard/raft-node";
import type { PeerId } from "@blixard/raft-node";

import { Counter } from "./counter.ts";

const dir = mkdtempSync(join(tmpdir(), "counter-"));
const hub = createMemoryHub();

function start(id: number) {
  return raftCluster(new Counter())
    .preset("development")
    .id(id)
    .dir(join(dir, `member-${id}`))
    .transport(hub.connect(as<PeerId>(id)))
    .founders([1, 2, 3])
    .start();
}

const members = await Promise.all([start(1), start(2), start(3)]);
const [first, second] = members;

// Waits for the first leader, and sends again whatever got lost; each number is added once.
const opened = await first.openSession({ timeoutMs: 60_000 });
if (!opened.ok) throw new Error(`no session: ${opened.error.code}`);
for (const amount of [1, 2, 3]) {
  const added = await opened.value.propose(amount, { timeoutMs: 60_000 });
  console.log("added", amount, added.ok ? `and now it is ${added.value}` : added.error);
}

// Linearizable: whichever member is asked, it shows what was answered before.
const read = await second.query("value", { timeoutMs: 60_000 });
console.log("read", read.ok ? read.value : read.error);

await Promise.all(members.map((member) => member.shutdown()));
rmSync(dir, { recursive: true });
