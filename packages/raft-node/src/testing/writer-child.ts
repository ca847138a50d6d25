/** A process to be killed: a single node that proposes for ever and notes what was acknowledged. */

import { openSync, writeSync } from "node:fs";
import { argv } from "node:process";

import { as, Prng } from "@blixard/std";
import type { PeerId } from "@blixard/std";

import { RaftNode } from "../driver/raft-node.ts";
import { createOsDisk } from "../os/disk.ts";
import { ListMachine } from "./cluster.ts";

const dir = argv[2] ?? "";
const notes = openSync(argv[3] ?? "", "a");
const machine = new ListMachine();
const disk = await createOsDisk(dir, (completion) => node.input({ kind: "disk", completion }));
const now = (): number => performance.now();
const node: RaftNode<number> = new RaftNode<number>(
  {
    id: as<PeerId>(1),
    dir: "raft",
    tickMs: 10,
    electionTicks: 10,
    heartbeatTicks: 2,
    segmentBytes: 64 * 1024,
    snapshotEveryBytes: 64 * 1024,
    snapshotEveryEntries: 500,
    maxProposalBytes: 4096,
    maxPendingProposals: 100,
  },
  {
    disk,
    network: { send: () => false },
    clock: { monotonicMs: now, bootMs: now, wallMs: now },
    random: new Prng(1),
    machine,
    onEvent: (event) => {
      if (event.kind === "fatal") throw new Error(event.reason);
    },
  },
);

function propose(): void {
  const text = `item ${machine.items.length}`.padEnd(100, ".");
  node.propose(new TextEncoder().encode(text), now() + 10_000, (result) => {
    if (!result.ok) throw new Error(JSON.stringify(result.error));
    // A write that returned outlives the process.
    writeSync(notes, `${result.value.response}\n`);
    propose();
  });
}

node.start({ members: [{ peer: as<PeerId>(1), context: new Uint8Array(0) }] });
let started = false;
setInterval(() => {
  node.input({ kind: "tick" });
  if (node.status().role === "leader" && !started) {
    started = true;
    for (let i = 0; i < 8; i++) propose();
  }
}, 10);
