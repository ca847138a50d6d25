import assert from "node:assert/strict";
import { test } from "node:test";
import { as, type PeerId, Prng } from "@blixard/std";
import { GOOD_LINK, SimNetwork } from "./network.ts";
import { type Host, World } from "./world.ts";

function setup() {
  const world = new World(7, { tracing: false });
  const network = new SimNetwork(world, new Prng(7));
  const hosts: Host[] = [1, 2, 3].map((id) => ({
    id,
    incarnation: 1,
    up: true,
    pausedUntilUs: 0,
  }));
  const got: string[] = [];
  const ports = hosts.map((host) =>
    network.attach(host, (from, message) => got.push(`${from}>${host.id}:${message[0]}`)),
  );
  const send = (from: number, to: number, value: number): boolean | undefined =>
    ports[from - 1]?.send(as<PeerId>(to), Uint8Array.of(value));
  return { world, network, hosts, got, send };
}

test("a good link delivers everything once, without a later change by the sender", () => {
  const { world, got, send, network } = setup();
  const buffer = Uint8Array.of(5);
  const port = network.attach(
    { id: 9, incarnation: 0, up: true, pausedUntilUs: 0 },
    () => undefined,
  );
  port.send(as<PeerId>(1), buffer);
  buffer[0] = 6;
  for (let i = 0; i < 50; i++) send(1, 2, i);
  world.runUntil(1_000_000);
  assert.equal(got.length, 51);
  assert.ok(got.includes("9>1:5"));
  assert.notDeepEqual(got, got.toSorted(), "delays reorder");
});

test("an unknown peer is refused", () => {
  const { send } = setup();
  assert.equal(send(1, 8, 0), false);
});

test("one-way cuts and partitions hold until healed, also for what is under way", () => {
  const { world, network, got, send } = setup();
  const end = network.cut([[1, 2]]);
  send(1, 2, 1);
  send(2, 1, 2);
  world.runUntil(10_000);
  assert.deepEqual(got, ["2>1:2"]);
  end();
  send(3, 1, 3);
  network.partition([1], [2, 3]);
  world.runUntil(20_000);
  network.healLinks();
  send(1, 3, 4);
  world.runUntil(30_000);
  assert.deepEqual(got, ["2>1:2", "1>3:4"]);
});

test("a cut near the sender lets through what was sent before", () => {
  const { world, network, got, send } = setup();
  send(1, 2, 1);
  const end = network.cut([[1, 2]], true);
  send(1, 2, 2);
  world.runUntil(10_000);
  end();
  send(1, 2, 3);
  world.runUntil(20_000);
  assert.deepEqual(got, ["1>2:1", "1>2:3"]);
});

test("loss and duplication happen at their rates", () => {
  const { world, network, got, send } = setup();
  network.quality = { ...GOOD_LINK, loss: 0.5, duplicate: 0.5 };
  for (let i = 0; i < 1000; i++) send(1, 2, 0);
  world.runUntil(1_000_000);
  assert.ok(network.lost > 400 && network.lost < 600, `${network.lost}`);
  assert.ok(got.length > 650 && got.length < 850, `${got.length}`);
});

test("a host that is down gets nothing; a paused one gets it later", () => {
  const { world, hosts, got, send } = setup();
  const [, second, third] = hosts;
  assert.ok(second !== undefined && third !== undefined);
  second.up = false;
  third.pausedUntilUs = 50_000;
  send(1, 2, 1);
  send(1, 3, 2);
  world.runUntil(40_000);
  assert.deepEqual(got, []);
  world.runUntil(60_000);
  assert.deepEqual(got, ["1>3:2"]);
});
