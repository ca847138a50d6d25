/** Daemons that are killed while they write, and nodes that are removed. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { BlixardError, Prng } from "@blixard/std";
import { type LocalNode, until } from "../cluster.ts";
import {
  assertError,
  assertKept,
  assertRefused,
  cli,
  killDaemon,
  logOf,
  nodeAt,
  record,
  records,
  request,
  restart,
  vmIs,
  withCluster,
} from "./world.ts";

const WRITES = 200;
const KILLS = 10;
/** Writes under way when the daemon is killed. */
const SIDE_BY_SIDE = 4;
const SEED = 20261120;

test(`kill -9 at ${KILLS} random moments of ${WRITES} writes: all acknowledged ones are there`, async () => {
  await withCluster({ nodes: 1, drivers: ["fake"] }, async (cluster) => {
    const node = nodeAt(cluster, 0);
    const random = new Prng(SEED);
    const acknowledged: string[] = [];
    let kills = 0;
    let next = 0;
    let doubtful = 0;
    while (acknowledged.length < WRITES || kills < KILLS) {
      // In the middle of some write: the next kill comes some milliseconds after it was sent.
      const before = random.below((2 * WRITES) / KILLS);
      for (let i = 0; i < before; i++) {
        const name = `w-${next++}`;
        await record(node, name);
        acknowledged.push(name);
      }
      if (kills === KILLS) continue;
      const writing = doomed(node, kills, acknowledged);
      doubtful += SIDE_BY_SIDE;
      await new Promise((resolve) => setTimeout(resolve, random.below(8)));
      await killDaemon(cluster, node);
      await writing;
      kills++;
      await restart(cluster, node);
    }
    await assertKept([node], acknowledged);
    const { items } = await node.client.listVms();
    assert.ok(items.length <= next + doubtful, "nothing that was never sent");
    assert.doesNotMatch(logOf(cluster, node), /"damaged":true/);
  });
});

/** A write whose daemon is killed meanwhile: either outcome is right, an acknowledgement binds. */
async function doomed(node: LocalNode, number: number, acknowledged: string[]): Promise<void> {
  const names = Array.from({ length: SIDE_BY_SIDE }, (_, i) => `doomed-${number}-${i}`);
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

test("a node in use is not removed; its VMs move when it dies; once removed, it is refused", async () => {
  await withCluster({ nodes: 3, drivers: ["fake"] }, async (cluster) => {
    const [first, second, last] = [nodeAt(cluster, 0), nodeAt(cluster, 1), nodeAt(cluster, 2)];
    const names = await records(first, 10);
    const spec = { image: "base", memoryBytes: 64 * 1024 * 1024 };
    for (const name of ["a", "b", "c"]) await first.client.createVm({ ...spec, name });
    const vms = [];
    for (const name of ["a", "b", "c"]) {
      vms.push(await vmIs(first, name, "running", ({ phase }) => phase === "running"));
    }
    const { id } = await first.client.getNode(last.name);
    const here = vms.filter((vm) => vm.nodeId === id);
    assert.equal(here.length, 1, "spread over the nodes");
    const rm = ["cluster", "rm", last.name, "--data", first.dataDir];
    assertRefused(await cli(rm), "Conflict", /n3 is up and has 1 VM/, /or stop the node/);

    cluster.killMachine(last);
    for (const { spec: was, epoch } of here) {
      const now = await vmIs(first, was.name, "running elsewhere", (vm) => {
        return vm.phase === "running" && vm.nodeId !== id;
      });
      assert.ok(now.epoch > epoch, "a new epoch");
    }
    await restart(cluster, last);
    await until("its return", 60_000, async () =>
      (await first.client.getNode(last.name)).state === "up" ? true : undefined,
    );
    const removed = await cli(rm);
    assert.deepEqual([removed.code, removed.stdout], [0, `${last.name}\n`], removed.stderr);
    await until("a membership of two", 60_000, async () => {
      const { members } = await first.client.status();
      return members.length === 2 ? true : undefined;
    });
    await assertCutOff(last);
    await killDaemon(cluster, last);
    cluster.start(last);
    await until("its API", 60_000, async () => await last.client.health());
    await assertCutOff(last);

    names.push(...(await records(second, 5, "after")));
    await assertKept([first, second], names);
    const { items } = await first.client.listNodes();
    assert.deepEqual(items.map((node) => node.name).toSorted(), ["n1", "n2"]);
  });
});

test("a node that was drained is removed while it is up, and a daemon killed meanwhile goes on with it", async () => {
  await withCluster({ nodes: 3, drivers: ["fake"] }, async (cluster) => {
    const [first, last] = [nodeAt(cluster, 0), nodeAt(cluster, 2)];
    const spec = { image: "base", memoryBytes: 64 * 1024 * 1024 };
    const names = ["a", "b", "c", "d", "e", "f"];
    for (const name of names) await first.client.createVm({ ...spec, name });
    const runs = ({ phase }: { phase: string }): boolean => phase === "running";
    for (const name of names) await vmIs(first, name, "running", runs);
    const { id } = await first.client.getNode(last.name);
    const drain = ["node", "drain", last.name, "--data", first.dataDir];
    const asked = await cli(drain);
    assert.deepEqual([asked.code, asked.stdout], [0, `${last.name}\n`], asked.stderr);
    await killDaemon(cluster, last);
    await restart(cluster, last);
    const drained = await cli([...drain, "--wait"]);
    assert.equal(drained.code, 0, drained.stderr);
    const removed = await cli(["cluster", "rm", last.name, "--data", first.dataDir]);
    assert.equal(removed.code, 0, removed.stderr);
    for (const name of names) {
      const vm = await vmIs(first, name, "running", runs);
      assert.notEqual(vm.nodeId, id);
    }
  });
});

/** It can neither read nor write, and says so: nobody of the cluster talks to it any more. */
async function assertCutOff(node: LocalNode): Promise<void> {
  await until("refusal", 60_000, async () => {
    const answer = await request(node, "GET", "/v1/vms");
    return answer.status === 503 || answer.status === 504 ? true : undefined;
  });
  const read = await request(node, "GET", "/v1/vms");
  assertError(read, "NoLeader", /no leader is known/);
  const body = { spec: { name: "by-the-removed", image: "base" }, desired: "stopped" };
  const failed = assertError(
    await request(node, "POST", "/v1/vms", { body }),
    "NoLeader",
    /no leader is known/,
  );
  assert.match(failed.hint ?? "", /blixard cluster status/);
}
