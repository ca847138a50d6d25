/**
 * What every Transport must do, as one suite that each implementation runs (node:test). It is not
 * part of the room's exports: it imports the test runner.
 */

import assert from "node:assert/strict";
import type { Duplex } from "node:stream";
import { after, describe, test } from "node:test";
import { as, BlixardError, fail, newTrace, type PeerId, Prng } from "@blixard/std";
import type { NetLimits } from "./limits.ts";
import { bytes, eventually, failsWith, pattern, readAll, withPatience } from "./test-support.ts";
import type { PeerInfo, Transport } from "./types.ts";

export interface TestNode {
  readonly transport: Transport;
  /** How others know this node: its transport listens when the world hands it out. */
  readonly info: PeerInfo;
}

export interface TransportWorld {
  /** A listening node without peers. */
  node(peerId: PeerId, limits?: Partial<NetLimits>): Promise<TestNode>;
}

const ONE = as<PeerId>(1);
const TWO = as<PeerId>(2);
const IN_TIME = { timeoutMs: 60_000 };

type Pair = readonly [TestNode, TestNode];

async function pairOf(world: TransportWorld, limits?: Partial<NetLimits>): Promise<Pair> {
  const one = await world.node(ONE, limits);
  const two = await world.node(TWO, limits);
  one.transport.setPeers([one.info, two.info]);
  two.transport.setPeers([one.info, two.info]);
  return [one, two];
}

/** Datagrams may be lost while a connection comes up: repeats until one has arrived. */
async function sendUntil(
  from: TestNode,
  to: TestNode,
  message: Uint8Array,
  arrived: () => boolean,
): Promise<void> {
  const endMs = performance.now() + 60_000;
  while (!arrived()) {
    assert.ok(performance.now() < endMs, "a datagram arrives");
    from.transport.channel("raft").send(to.info.peerId, message);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function it(name: string, run: () => Promise<void>): void {
  // The runner itself reports the outcome; nobody waits for it here.
  void test(name, run);
}

export function transportCompliance(name: string, createWorld: () => TransportWorld): void {
  const setup = (): { world: TransportWorld; pair: (l?: Partial<NetLimits>) => Promise<Pair> } => {
    const nodes: TestNode[] = [];
    const inner = createWorld();
    const world: TransportWorld = {
      node: async (peerId, limits) => {
        const node = await inner.node(peerId, limits);
        nodes.push(node);
        return node;
      },
    };
    after(async () => {
      await Promise.all(nodes.map((node) => node.transport.close()));
    });
    return { world, pair: (limits) => pairOf(world, limits) };
  };
  void describe(`${name}: datagrams`, () => datagrams(setup()));
  void describe(`${name}: requests`, () => requests(setup()));
  void describe(`${name}: bounds of requests`, () => requestBounds(setup()));
  void describe(`${name}: streams`, () => streams(setup()));
  void describe(`${name}: failures of streams`, () => streamFailures(setup()));
  void describe(`${name}: membership`, () => membership(setup()));
  void describe(`${name}: joining`, () => joining(setup()));
}

type Setup = {
  readonly world: TransportWorld;
  readonly pair: (limits?: Partial<NetLimits>) => Promise<Pair>;
};

function datagrams({ pair, world }: Setup): void {
  it("both channels, both ways, empty to larger than a fragment", async () => {
    const [one, two] = await pair();
    const seen = new Map<string, Set<number>>();
    for (const [node, label] of [
      [one, "one"],
      [two, "two"],
    ] as const) {
      for (const channel of ["raft", "lease"] as const) {
        const got = new Set<number>();
        seen.set(`${label} ${channel}`, got);
        node.transport.onMessage(channel, (from, message) => {
          assert.equal(from, node === one ? TWO : ONE);
          assert.deepEqual(Buffer.from(message), Buffer.from(pattern(message.length)));
          got.add(message.length);
        });
      }
    }
    const sizes = { raft: [0, 1, 4096, 4097, 65_536, 65_537, 1_500_000], lease: [0, 40, 70_000] };
    await eventually(() => {
      let missing = 0;
      for (const [from, to, label] of [
        [one, TWO, "two"],
        [two, ONE, "one"],
      ] as const) {
        for (const channel of ["raft", "lease"] as const) {
          for (const size of sizes[channel]) {
            if (seen.get(`${label} ${channel}`)?.has(size) === true) continue;
            missing += 1;
            from.transport.channel(channel).send(to, pattern(size));
          }
        }
      }
      return missing === 0;
    }, "every size arrives intact");
  });

  it("the sender may reuse its buffer at once", async () => {
    const [one, two] = await pair();
    const got: string[] = [];
    two.transport.onMessage("raft", (_from, message) => got.push(Buffer.from(message).toString()));
    await sendUntil(one, two, bytes("ready"), () => got.length > 0);
    const scratch = bytes("first");
    assert.equal(one.transport.channel("raft").send(TWO, scratch), true);
    scratch.fill(0x21);
    await eventually(() => got.includes("first"), "the message as it was when sent");
    assert.ok(!got.includes("!!!!!"));
  });

  it("refuses unknown peers, oversize messages and a full queue", async () => {
    const [one, two] = await pair({ raftQueueFrames: 8, leaseQueueFrames: 4 });
    const raft = one.transport.channel("raft");
    const lease = one.transport.channel("lease");
    assert.equal(raft.send(as<PeerId>(9), bytes("x")), false);
    assert.equal(raft.send(TWO, new Uint8Array(8 * 1024 * 1024 + 1)), false);
    const accepted = Array.from({ length: 20 }, () => raft.send(TWO, bytes("x")));
    assert.deepEqual([accepted[0], accepted.filter(Boolean).length], [true, 8]);
    // Its own queue: a full raft channel does not hold up leases.
    assert.equal(lease.send(TWO, bytes("l")), true);
    let got = 0;
    two.transport.onMessage("raft", () => (got += 1));
    await sendUntil(one, two, bytes("y"), () => got > 0);
    await eventually(() => raft.send(TWO, bytes("z")), "the queue empties");
  });

  it("a message to a node that is gone is dropped, not an error", async () => {
    const one = await world.node(ONE);
    const two = await world.node(TWO);
    await two.transport.close();
    one.transport.setPeers([one.info, two.info]);
    assert.equal(one.transport.channel("lease").send(TWO, bytes("x")), true);
  });
}

function requests({ pair }: Setup): void {
  it("body, method, sender and trace arrive; the answer comes back", async () => {
    const [one, two] = await pair();
    const trace = newTrace(new Prng(7));
    two.transport.onRequest("echo/v1", async (from, body, got) => {
      assert.equal(from.nodeId, one.info.nodeId);
      assert.deepEqual(got, trace);
      return bytes(`${Buffer.from(body).toString()} back`);
    });
    const answer = await one.transport.request(TWO, "echo/v1", bytes("there"), {
      ...IN_TIME,
      trace,
    });
    assert.equal(Buffer.from(answer).toString(), "there back");
  });

  it("many at once, each with its own answer", async () => {
    const [one, two] = await pair();
    two.transport.onRequest("slow", async (_from, body) => {
      // Answers leave in another order than the requests came.
      const turns = (body[0] ?? 0) % 7;
      for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
      return body;
    });
    const numbers = Array.from({ length: 200 }, (_, i) => i);
    const answers = await Promise.all(
      numbers.map((n) => one.transport.request(TWO, "slow", Uint8Array.of(n), IN_TIME)),
    );
    assert.deepEqual(
      answers.map((answer) => answer[0]),
      numbers,
    );
  });

  it("a handler's failure travels with code, data, message and hint", async () => {
    const [one, two] = await pair();
    two.transport.onRequest("fails", async () =>
      fail("NotFound", { kind: "vm", name: "web" }, "No VM web.", "List them: blixard vm ls"),
    );
    two.transport.onRequest("throws", async () => {
      throw new RangeError("odd");
    });
    await assert.rejects(one.transport.request(TWO, "fails", bytes(""), IN_TIME), (error) => {
      assert.ok(error instanceof BlixardError);
      assert.deepEqual(error.failure, {
        code: "NotFound",
        data: { kind: "vm", name: "web" },
        message: "No VM web.",
        hint: "List them: blixard vm ls",
      });
      return true;
    });
    const throwing = one.transport.request(TWO, "throws", bytes(""), IN_TIME);
    await assert.rejects(throwing, failsWith("Internal", /odd/));
    const unknown = one.transport.request(TWO, "nobody", bytes(""), IN_TIME);
    await assert.rejects(unknown, failsWith("Unsupported", /nobody/));
  });
}

function requestBounds({ pair, world }: Setup): void {
  it("deadline, size bounds, unknown and unreachable peers", async () => {
    const [one, two] = await pair();
    two.transport.onRequest("ping", async (_from, body) => body);
    two.transport.onRequest("never", () => new Promise(() => undefined));
    two.transport.onRequest("huge", async () => new Uint8Array(4 * 1024 * 1024 + 1));
    const { transport } = one;
    await transport.request(TWO, "ping", bytes(""), IN_TIME);
    const largest = await transport.request(TWO, "ping", pattern(1024 * 1024), IN_TIME);
    assert.deepEqual(Buffer.from(largest), Buffer.from(pattern(1024 * 1024)));
    const never = transport.request(TWO, "never", bytes(""), { timeoutMs: 30 });
    await assert.rejects(never, failsWith("TimedOut"));
    const tooLong = transport.request(TWO, "ping", new Uint8Array(1024 * 1024 + 1), IN_TIME);
    await assert.rejects(tooLong, failsWith("TooLarge"));
    await assert.rejects(
      transport.request(TWO, "huge", bytes(""), IN_TIME),
      failsWith("TooLarge", /answer to huge/),
    );
    const nobody = transport.request(as<PeerId>(9), "ping", bytes(""), IN_TIME);
    await assert.rejects(nobody, failsWith("Unavailable"));
    const gone = await world.node(as<PeerId>(3));
    await gone.transport.close();
    transport.setPeers([one.info, two.info, gone.info]);
    const down = transport.request(as<PeerId>(3), "ping", bytes(""), { timeoutMs: 100 });
    await assert.rejects(down, failsWith("Unavailable"));
  });

  it("requests without an answer are bounded", async () => {
    const [one, two] = await pair({ maxInFlightRequests: 4 });
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => (release = resolve));
    two.transport.onRequest("wait", async (_from, body) => {
      await gate;
      return body;
    });
    const ask = (): Promise<Uint8Array> => one.transport.request(TWO, "wait", bytes("w"), IN_TIME);
    const admitted = [ask(), ask(), ask(), ask()];
    await assert.rejects(ask(), failsWith("Unavailable"));
    release();
    await Promise.all(admitted);
    await ask();
  });

  it("losing the peer in the middle of a request leaves its outcome unknown", async () => {
    const [one, two] = await pair();
    let started = false;
    two.transport.onRequest("stuck", () => {
      started = true;
      return new Promise(() => undefined);
    });
    const stuck = one.transport.request(TWO, "stuck", bytes(""), IN_TIME);
    const lost = assert.rejects(stuck, failsWith("OutcomeUnknown"));
    await eventually(() => started, "the handler runs");
    await two.transport.close();
    await lost;
  });
}

function streams({ pair }: Setup): void {
  async function open(
    [one, two]: Pair,
    method: string,
  ): Promise<{ near: Duplex; far: Duplex; header: Uint8Array }> {
    let taken: { stream: Duplex; header: Uint8Array } | undefined;
    two.transport.onStream(method, (from, header, stream) => {
      assert.equal(from.nodeId, one.info.nodeId);
      taken = { stream, header };
    });
    const near = await one.transport.openStream(TWO, method, bytes("head"), IN_TIME);
    await eventually(() => taken !== undefined, "the stream arrives");
    assert.ok(taken !== undefined);
    return { near, far: taken.stream, header: taken.header };
  }

  it("bytes both ways, with half-close", async () => {
    const { near, far, header } = await open(await pair(), "exec");
    assert.equal(Buffer.from(header).toString(), "head");
    near.end(pattern(300_000));
    const received = await readAll(far);
    assert.deepEqual(received, Buffer.from(pattern(300_000)));
    // The other direction is still open after the end of this one.
    far.write("late ");
    far.end("answer");
    assert.equal((await readAll(near)).toString(), "late answer");
  });

  it("the trace travels, and an unknown method is refused", async () => {
    const [one, two] = await pair();
    const trace = newTrace(new Prng(3));
    let got: unknown;
    two.transport.onStream("traced", (_from, _header, stream, seen) => {
      got = seen;
      stream.end();
      stream.resume();
    });
    const stream = await one.transport.openStream(TWO, "traced", bytes(""), { ...IN_TIME, trace });
    stream.end();
    assert.equal((await readAll(stream)).length, 0);
    assert.deepEqual(got, trace);
    const unknown = one.transport.openStream(TWO, "nobody", bytes(""), IN_TIME);
    await assert.rejects(unknown, failsWith("Unsupported", /nobody/));
    const nobody = one.transport.openStream(as<PeerId>(9), "traced", bytes(""), IN_TIME);
    await assert.rejects(nobody, failsWith("Unavailable"));
  });

  it("a reader that does not read holds up the writer", async () => {
    const { near, far } = await open(await pair(), "pressure");
    const chunk = pattern(1024 * 1024);
    let written = 0;
    let done = false;
    const total = 64;
    const writing = (async () => {
      for (let i = 0; i < total; i++) {
        written += 1;
        if (!near.write(chunk)) await new Promise((resolve) => near.once("drain", resolve));
      }
      near.end();
      done = true;
    })();
    // The count stands still once buffers are full; kernels differ in how much they take.
    let before = -1;
    while (before !== written) {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.ok(written < total && !done, `the writer waits (wrote ${written} MiB)`);
    let received = 0;
    far.on("data", (part: Uint8Array) => (received += part.length));
    await new Promise((resolve) => far.once("end", resolve));
    await writing;
    assert.equal(received, total * chunk.length);
    far.end();
    near.resume();
  });

  it("a side that breaks off is an error at the other, never an end", async () => {
    const { near, far } = await open(await pair(), "broken");
    far.write("some");
    await new Promise((resolve) => near.once("readable", resolve));
    const failed = new Promise((resolve) => near.once("error", resolve));
    let ended = false;
    near.once("end", () => (ended = true));
    near.resume();
    far.destroy();
    assert.ok(failsWith("OutcomeUnknown")(await failed));
    assert.equal(ended, false);
  });
}

function streamFailures({ pair }: Setup): void {
  it("a handler that throws ends the stream with an error", async () => {
    const [one, two] = await pair();
    two.transport.onStream("throws", () => {
      throw new RangeError("odd");
    });
    const near = await one.transport.openStream(TWO, "throws", bytes(""), IN_TIME);
    near.resume();
    if (!near.destroyed) await new Promise((resolve) => near.once("close", resolve));
    assert.ok(failsWith("OutcomeUnknown")(near.errored));
  });

  it("a header that is too long never leaves", async () => {
    const [one] = await pair({ maxStreamHeaderBytes: 100 });
    const opened = one.transport.openStream(TWO, "any", new Uint8Array(101), IN_TIME);
    await assert.rejects(opened, failsWith("TooLarge"));
  });
}

function membership({ pair, world }: Setup): void {
  it("a removed peer loses its streams and requests at once and is not heard again", async () => {
    const [one, two] = await pair();
    let got = 0;
    two.transport.onMessage("raft", () => (got += 1));
    let started = false;
    two.transport.onRequest("stuck", () => {
      started = true;
      return new Promise(() => undefined);
    });
    let far: Duplex | undefined;
    two.transport.onStream("open", (_from, _header, stream) => (far = stream));
    await sendUntil(one, two, bytes("m"), () => got > 0);
    const near = await one.transport.openStream(TWO, "open", bytes(""), IN_TIME);
    await eventually(() => far !== undefined, "the stream arrives");
    const lost = assert.rejects(
      one.transport.request(TWO, "stuck", bytes(""), IN_TIME),
      failsWith("OutcomeUnknown"),
    );
    const broken = new Promise((resolve) => near.once("error", resolve));
    await eventually(() => started, "the handler runs");
    two.transport.setPeers([two.info]);
    assert.equal(far?.destroyed, true);
    await lost;
    await broken;
    assert.equal(two.transport.channel("raft").send(ONE, bytes("x")), false);
    const before = got;
    one.transport.channel("raft").send(TWO, bytes("n"));
    const refused = one.transport.request(TWO, "stuck", bytes(""), { timeoutMs: 200 });
    await assert.rejects(refused, failsWith("Unavailable"));
    await assert.rejects(
      one.transport.openStream(TWO, "open", bytes(""), { timeoutMs: 2000 }),
      failsWith("Unavailable"),
    );
    assert.equal(got, before);
    // Back in, everything works again.
    two.transport.setPeers([one.info, two.info]);
    await sendUntil(one, two, bytes("o"), () => got > before);
  });

  it("a node that only one side knows is heard by neither", async () => {
    const one = await world.node(ONE);
    const two = await world.node(TWO);
    one.transport.setPeers([one.info, two.info]);
    two.transport.onMessage("raft", () => assert.fail("heard a stranger"));
    one.transport.channel("raft").send(TWO, bytes("x"));
    const refused = one.transport.request(TWO, "any", bytes(""), { timeoutMs: 200 });
    await assert.rejects(refused, failsWith("Unavailable"));
  });

  it("close is final and may be repeated", async () => {
    const [one] = await pair();
    await one.transport.close();
    await one.transport.close();
    assert.equal(one.transport.channel("raft").send(TWO, bytes("x")), false);
    const late = one.transport.request(TWO, "any", bytes(""), IN_TIME);
    await assert.rejects(late, failsWith("Unavailable"));
  });
}

function joining({ world }: Setup): void {
  it("a stranger is answered at the door, and only there", async () => {
    const server = await world.node(ONE);
    const stranger = await world.node(TWO);
    const { address, publicKey } = server.info;
    server.transport.onJoin(async (from, body) => {
      assert.equal(from, stranger.info.publicKey);
      if (Buffer.from(body).toString() !== "secret") {
        fail("Unauthorized", { reason: "wrong secret" }, "The ticket is not valid.");
      }
      return bytes("welcome");
    });
    const knock = (body: string, key = publicKey): Promise<Uint8Array> =>
      stranger.transport.join({ address, publicKey: key }, bytes(body), IN_TIME);
    assert.equal(Buffer.from(await knock("secret")).toString(), "welcome");
    await assert.rejects(knock("guess"), failsWith("Unauthorized"));
    await assert.rejects(knock("secret", stranger.info.publicKey), failsWith("Unavailable"));
    const long = stranger.transport.join(server.info, new Uint8Array(64 * 1024 + 1), IN_TIME);
    await assert.rejects(long, failsWith("TooLarge"));
  });

  it("joins at once are bounded, and have a deadline", async () => {
    await withPatience(300, async (limitMs) => {
      const server = await world.node(ONE, { maxJoins: 2 });
      const stranger = await world.node(TWO);
      let inside = 0;
      let release = (): void => undefined;
      const gate = new Promise<void>((resolve) => (release = resolve));
      server.transport.onJoin(async (_from, body) => {
        inside += 1;
        await gate;
        return body;
      });
      const knock = (timeoutMs: number): Promise<Uint8Array> =>
        stranger.transport.join(server.info, bytes("j"), { timeoutMs });
      const first = knock(60_000);
      // Of an attempt that came too late nobody waits for it.
      first.catch(() => undefined);
      const late = assert.rejects(knock(limitMs), failsWith("TimedOut"));
      const full = eventually(() => inside === 2, "two are inside", limitMs);
      const refused = full.then(async () => {
        await assert.rejects(knock(60_000), failsWith("Unavailable"));
      });
      await Promise.all([late, refused]);
      release();
      assert.equal(Buffer.from(await first).toString(), "j");
    });
  });
}
