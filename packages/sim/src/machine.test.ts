import assert from "node:assert/strict";
import { test } from "node:test";
import { type PeerId, Prng, as } from "@blixard/std";
import { Cluster } from "./cluster.ts";
import type { DiskEffect } from "./io/disk-faults.ts";
import type { Machine } from "./machine.ts";
import type { ClusterPlan, RegisterOutput } from "./plan.ts";
import { drawPlan } from "./swarm.ts";
import { RegisterWorkload } from "./register-workload.ts";
import { World } from "./world/world.ts";

const ALONE: Partial<ClusterPlan> = { voters: 1, learners: 0, spares: 0, diskUs: [20, 150] };
const FULL: DiskEffect = {
  kind: "diskEnospc",
  rate: 1,
  amount: 0,
  untilUs: 0,
  random: new Prng(1),
  fire: () => undefined,
};

function alone(seed: number): { world: World; machine: Machine<RegisterOutput> } {
  const world = new World(seed);
  const workload = new RegisterWorkload();
  const plan = { ...drawPlan(seed, "raft").cluster, ...ALONE };
  const start = (machine: Machine<RegisterOutput>) => workload.start(machine);
  const cluster = new Cluster<RegisterOutput>(world, plan, start, { operates: false });
  workload.attach(cluster);
  return { world, machine: cluster.machine(1) };
}

// Found by the simulator on its first day: nobody tried the log again before the node ran.
test("a disk that is full while a node starts holds it up only until there is room", () => {
  for (let fullAtUs = 0; fullAtUs < 12_000; fullAtUs += 500) {
    const { world, machine } = alone(7);
    machine.start();
    world.runUntil(fullAtUs);
    machine.disk.effects.push(FULL);
    world.runUntil(2_000_000);
    machine.disk.effects.length = 0;
    world.runUntil(20_000_000);
    assert.ok(machine.isRecovered, `full from ${fullAtUs} us on`);
    assert.equal(machine.raft?.status().role, "leader");
  }
});

test("a machine that several faults hold down starts when the last one lets go", () => {
  const { world, machine } = alone(8);
  machine.start();
  world.runUntil(1_000_000);
  machine.hold();
  machine.hold();
  machine.kill();
  machine.release();
  assert.ok(!machine.host.up);
  machine.release();
  world.runUntil(3_000_000);
  assert.equal(machine.raft?.status().role, "leader");
  assert.ok(machine.stop());
  world.runUntil(10_000_000);
  assert.ok(machine.isRecovered, "started again");
});

test("an empty disk makes a new member, who waits", () => {
  const { world, machine } = alone(9);
  machine.start();
  world.runUntil(1_000_000);
  machine.loseDisk();
  machine.become(as<PeerId>(2));
  machine.start();
  world.runUntil(2_000_000);
  assert.ok(machine.isRecovered);
  assert.equal(machine.raft?.status().role, "follower");
});
