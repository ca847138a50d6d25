import assert from "node:assert/strict";
import { test } from "node:test";
import { as, type PeerId, Prng } from "@blixard/std";
import { type Host, World } from "../world/world.ts";
import { linkKey, linksBetween, type NetworkEffect, SimNetwork } from "./network.ts";

function setup() {
  const world = new World(7);
  const network = new SimNetwork(world, [100, 1500]);
  const hosts: Host[] = [1, 2, 3].map((id) => ({
    id,
    incarnation: 1,
    up: true,
    pausedUntilUs: 0,
  }));
  const got: string[] = [];
  const ports = hosts.map((host) =>
    network.attach(host, as<PeerId>(host.id), 0, (from, message) =>
      got.push(`${from}>${host.id}:${message[0]}`),
    ),
  );
  const send = (from: number, to: number, value: number): boolean | undefined =>
    ports[from - 1]?.send(as<PeerId>(to), Uint8Array.of(value));
  return { world, network, hosts, got, send };
}

function effect(kind: NetworkEffect["kind"], more: Partial<NetworkEffect> = {}): NetworkEffect {
  return { kind, rate: 1, amount: 0, random: new Prng(1), fire: () => undefined, ...more };
}

test("a good link delivers everything once, without a later change by the sender", () => {
  const { world, got, send, network } = setup();
  const buffer = Uint8Array.of(5);
  const ninth = { id: 9, incarnation: 0, up: true, pausedUntilUs: 0 };
  const port = network.attach(ninth, as<PeerId>(9), 0, () => undefined);
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

test("a cut holds until it ends, also for what is under way unless it is near the sender", () => {
  const { world, network, got, send } = setup();
  send(1, 2, 1);
  world.runUntil(0);
  const cut = effect("cut", { links: new Set([linkKey(1, 2)]) });
  network.add(cut);
  send(1, 2, 2);
  send(2, 1, 3);
  world.runUntil(10_000);
  assert.deepEqual(got, ["2>1:3"]);
  network.remove(cut);
  send(1, 3, 4);
  const near = effect("cut", { links: linksBetween([1], [2, 3]), amount: 1 });
  network.add(near);
  send(3, 1, 5);
  world.runUntil(20_000);
  assert.deepEqual(got, ["2>1:3", "1>3:4"]);
});

test("loss, duplication and refusal happen as told, and are counted", () => {
  const { world, network, got, send } = setup();
  const fired = { loss: 0, duplication: 0 };
  network.add(effect("loss", { rate: 0.5, fire: () => fired.loss++ }));
  network.add(effect("duplication", { rate: 0.5, fire: () => fired.duplication++ }));
  for (let i = 0; i < 1000; i++) send(1, 2, 0);
  world.runUntil(1_000_000);
  assert.ok(fired.loss > 400 && fired.loss < 600, `${fired.loss}`);
  assert.equal(got.length, 1000 - fired.loss + fired.duplication);
  const { network: bounded, send: sendBounded } = setup();
  bounded.add(effect("boundedLinks", { amount: 2 }));
  assert.deepEqual(
    [0, 1, 2].map((value) => sendBounded(3, 2, value)),
    [true, true, false],
  );
});

test("a clogged link delivers at the end, a late one later, one that reorders out of order", () => {
  const { world, network, got, send } = setup();
  const clog = effect("clogging");
  network.add(clog);
  send(1, 2, 1);
  world.runUntil(1_000_000);
  assert.equal(got.length, 0);
  network.remove(clog);
  const late = effect("delay", { amount: 50_000 });
  network.add(late);
  send(1, 2, 2);
  world.runUntil(1_040_000);
  assert.deepEqual(got, ["1>2:1"]);
  network.remove(late);
  network.add(effect("reordering", { amount: 400_000, rate: 0.5 }));
  for (let i = 3; i < 20; i++) send(1, 2, i);
  world.runUntil(3_000_000);
  assert.equal(got.length, 19);
  const order = got.map((text) => Number(text.slice(4)));
  assert.notDeepEqual(
    order,
    order.toSorted((a, b) => a - b),
  );
});

test("a reset or a flipped bit loses what is under way, both ways, and the link for a while", () => {
  for (const kind of ["resetMidFrame", "bitFlips"] as const) {
    const { world, network, got, send } = setup();
    send(1, 2, 1);
    send(2, 1, 2);
    const reset = effect(kind);
    network.add(reset);
    send(1, 2, 3);
    network.remove(reset);
    send(2, 1, 4);
    world.runUntil(200_000);
    assert.deepEqual(got, [], kind);
    send(2, 1, 5);
    world.runUntil(400_000);
    assert.deepEqual(got, ["2>1:5"], kind);
  }
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

/** What each of three machines is told of broken connections. */
function told() {
  const { world, network, hosts, send } = setup();
  const broken: string[] = [];
  for (const host of hosts) {
    network.attach(
      host,
      as<PeerId>(host.id),
      0,
      () => undefined,
      (peer) => broken.push(`${host.id}: ${peer}`),
    );
  }
  const after = (): string[] => {
    world.runUntil(world.nowUs + 10_000);
    return broken.splice(0).sort();
  };
  return { network, hosts, send, after };
}

test("both ends of a connection that is reset are told; so are those of a process that ends", () => {
  const { network, hosts, send, after } = told();
  const reset = effect("resetMidFrame", { links: new Set([linkKey(1, 2)]) });
  network.add(reset);
  send(1, 2, 0);
  assert.deepEqual(after(), ["1: 2", "2: 1"]);
  network.remove(reset);
  const [first] = hosts;
  assert.ok(first);
  first.up = false;
  network.hangUp(first);
  assert.deepEqual(after(), ["2: 1", "3: 1"]);
  network.add(effect("cut", { links: linksBetween([1], [2]), amount: 1 }));
  network.hangUp(first);
  assert.deepEqual(after(), ["3: 1"]);
});

test("a cut may end the connections over it, or leave both ends without a word", () => {
  const links = linksBetween([1], [2, 3]);
  const outcomes = Array.from({ length: 8 }, (_, seed) => {
    const { network, after } = told();
    network.add(effect("cut", { links, random: new Prng(seed) }));
    return after().join(", ");
  });
  const all = "1: 2, 1: 3, 2: 1, 3: 1";
  assert.deepEqual(new Set(outcomes), new Set(["", all]));
});
