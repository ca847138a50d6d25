import assert from "node:assert/strict";
import { test } from "node:test";
import { as, type PeerId, Prng } from "@blixard/std";
import { RaftChecker } from "./checker.ts";
import { GOOD_DISK } from "./disk.ts";
import { Ledger } from "./ledger.ts";
import { SimNetwork } from "./network.ts";
import { NodeMember } from "./node-member.ts";
import { World } from "./world.ts";

function alone(seed: number) {
  const world = new World(seed, { tracing: false });
  const member = new NodeMember<number>(
    {
      world,
      checker: new RaftChecker(world),
      network: new SimNetwork(world, new Prng(seed)),
      machine: () => new Ledger(),
      isSyncLying: false,
      founders: [as<PeerId>(1)],
      options: {},
    },
    1,
    new Prng(seed),
  );
  return { world, member };
}

// Found by profile node, seed 95 of its first day: nobody tried the log again before the node ran.
test("a disk that is full while a node starts holds it up only until there is room", () => {
  for (let fullAtUs = 0; fullAtUs < 12_000; fullAtUs += 500) {
    const { world, member } = alone(7);
    member.restart();
    world.runUntil(fullAtUs);
    member.disk.behaviour = { ...GOOD_DISK, full: true };
    world.runUntil(2_000_000);
    member.disk.behaviour = GOOD_DISK;
    world.runUntil(20_000_000);
    assert.ok(member.isRecovered, `full from ${fullAtUs} us on`);
    assert.equal(member.raft?.status().role, "leader");
  }
});
