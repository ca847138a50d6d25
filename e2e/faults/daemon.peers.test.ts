/** Daemons that are killed while they write, and nodes that are removed. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { BlixardError, Prng } from "@blixard/std";
import { type LocalNode, until } from "../cluster.ts";
import {
  assertKept,
  cli,
  killDaemon,
  logOf,
  nodeAt,
  record,
  records,
  restart,
  vmIs,
  withCluster,
} from "./world.ts";

const WRITES = 200;
const KILLS = 10;
const SEED = 20261120;

test(`kill -9 at ${KILLS} random moments of ${WRITES} writes: all acknowledged ones are there`, async () => {
  await withCluster({ nodes: 1, drivers: ["fake"] }, async (cluster) => {
    const node = nodeAt(cluster, 0);
    const random = new Prng(SEED);
    const acknowledged: string[] = [];
    let kills = 0;
    let next = 0;
    while (acknowledged.length < WRITES || kills < KILLS) {
      // In the middle of some write: the next kill comes some milliseconds after it was sent.
      const before = random.below((2 * WRITES) / KILLS);
      for (let i = 0; i < before; i++) {
        const name = `w-${next++}`;
        await record(node, name);
        acknowledged.push(name);
      }
      if (kills === KILLS) continue;
      const writing = doomed(node, next++, acknowledged);
      await new Promise((resolve) => setTimeout(resolve, random.below(8)));
      await killDaemon(cluster, node);
      await writing;
      kills++;
      await restart(cluster, node);
    }
    await assertKept([node], acknowledged);
    const { items } = await node.client.listVms();
    assert.ok(items.length <= next, "nothing that was never sent");
    assert.doesNotMatch(logOf(cluster, node), /"damaged":true/);
  });
});

/** A write whose daemon is killed meanwhile: either outcome is right, an acknowledgement binds. */
async function doomed(node: LocalNode, number: number, acknowledged: string[]): Promise<void> {
  const names = Array.from({ length: 4 }, (_, i) => `doomed-${number}-${i}`);
  await Promise.all(
    names.map(async (name) => {
      try {
        await record(node, name);
        acknowledged.push(name);
      } catch (caught) {
        assert.ok(caught instanceof BlixardError, String(caught));
        assert.match(caught.code, /^(OutcomeUnknown|Unavailable)$/, caught.message);
      }
    }),
  );
}

test("a removed node is refused from then on, and its VMs run elsewhere", async () => {
  await withCluster({ nodes: 3, drivers: ["fake"] }, async (cluster) => {
    const [first, last] = [nodeAt(cluster, 0), nodeAt(cluster, 2)];
    const names = await records(first, 10);
    const spec = { image: "base", memoryBytes: 16 * 1024 * 1024 };
    for (const name of ["a", "b", "c"]) await first.client.createVm({ ...spec, name });
    const vms = [];
    for (const name of ["a", "b", "c"]) {
      vms.push(await vmIs(first, name, "running", ({ phase }) => phase === "running"));
    }
    const { id } = await first.client.getNode(last.name);
    const moved = vms.filter((vm) => vm.nodeId === id);
    assert.equal(moved.length, 1, "spread over the nodes");

    const removed = await cli(["cluster", "rm", last.name, "--data", first.dataDir]);
    assert.equal(removed.code, 0, removed.stderr);
    assert.equal(removed.stdout, `${last.name}\n`);
    for (const { spec: was, epoch } of moved) {
      const now = await vmIs(first, was.name, "running elsewhere", (vm) => {
        return vm.phase === "running" && vm.nodeId !== id;
      });
      assert.ok(now.epoch > epoch, "a new epoch");
    }
    await until("a membership of two", 20_000, async () => {
      const { members } = await first.client.status();
      return members.length === 2 ? true : undefined;
    });
    // Cut off, it can neither read nor write, and says so.
    await until("refusal", 20_000, async () => {
      try {
        await record(last, "by-the-removed");
      } catch (caught) {
        assert.ok(caught instanceof BlixardError, String(caught));
        return /^(NoLeader|Unavailable|OutcomeUnknown|TimedOut)$/.test(caught.code) || undefined;
      }
      return assert.fail("a removed node acknowledged a write");
    });
    await killDaemon(cluster, last);
    cluster.start(last);
    await until("its log after a restart", 20_000, () =>
      /"msg":"log recovered"/.test(logOf(cluster, last)) ? true : undefined,
    );
    const left = cluster.nodes.filter((node) => node !== last);
    names.push(...(await records(first, 5, "after")));
    await assertKept(left, names);
    const { items } = await first.client.listNodes();
    assert.deepEqual(items.map((node) => node.name).toSorted(), ["n1", "n2"]);
  });
});
