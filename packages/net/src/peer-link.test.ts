/** A link's life: restarts, moves, lost and silent connections, and a process that can end. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { after, test } from "node:test";
import { as, type PeerId } from "@blixard/std";
import { createIdentity, type Identity } from "./identity.ts";
import type { NetLimits } from "./limits.ts";
import { bytes, eventually, failsWith, pattern } from "./test-support.ts";
import { createTlsTransport } from "./tls-transport.ts";
import type { PeerInfo, Transport } from "./types.ts";

const ONE = as<PeerId>(1);
const TWO = as<PeerId>(2);
const QUICK: Partial<NetLimits> = { reconnectMinMs: 5, reconnectMaxMs: 40 };
const closing: (() => Promise<void> | void)[] = [];

after(async () => {
  for (const close of closing) await close();
});

interface Node {
  readonly transport: Transport;
  readonly info: PeerInfo;
  readonly log: string[];
}

async function start(
  identity: Identity,
  peerId: PeerId,
  options: { port?: number; limits?: Partial<NetLimits> } = {},
): Promise<Node> {
  const log: string[] = [];
  const transport = createTlsTransport(
    {
      identity,
      listen: { host: "127.0.0.1", port: options.port ?? 0 },
      limits: { ...QUICK, ...options.limits },
    },
    { log: (_level, message, fields) => log.push(`${message}: ${fields["reason"] ?? ""}`) },
  );
  closing.push(() => transport.close());
  const address = await transport.listen();
  const { nodeId, publicKey } = identity;
  return { transport, info: { peerId, nodeId, publicKey, address }, log };
}

const portOf = (node: Node): number => Number(node.info.address.split(":")[1]);
const echo = async (_from: PeerInfo, body: Uint8Array): Promise<Uint8Array> => body;
const IN_TIME = { timeoutMs: 60_000 };

test("a peer that restarts on the same port is found again, with nothing to do", async () => {
  const [a, b] = [await createIdentity(), await createIdentity()];
  const one = await start(a, ONE);
  let two = await start(b, TWO);
  one.transport.setPeers([two.info]);
  for (let round = 0; round < 3; round++) {
    two.transport.setPeers([one.info]);
    two.transport.onRequest("echo", echo);
    const heard = new Set<string>();
    two.transport.onMessage("raft", (_from, message) => heard.add(String(message.length)));
    // The first request may still go out on the dead connection; then its outcome is unknown.
    const ask = (): Promise<Uint8Array> =>
      one.transport.request(TWO, "echo", bytes(`round ${round}`), IN_TIME);
    const again = (error: unknown): Promise<Uint8Array> => {
      failsWith("OutcomeUnknown")(error);
      return ask();
    };
    const answer = Buffer.from(await ask().catch(again)).toString();
    assert.equal(answer, `round ${round}`);
    // Half a large datagram lost with the old connection must not confuse the new one.
    await eventually(() => {
      one.transport.channel("raft").send(TWO, pattern(700_000));
      return heard.has("700000");
    }, "a fragmented datagram after the restart");
    one.transport.channel("raft").send(TWO, pattern(2_000_000));
    await two.transport.close();
    two = await start(b, TWO, { port: portOf(two) });
  }
});

test("a peer that moves is followed to its new address", async () => {
  const [a, b] = [await createIdentity(), await createIdentity()];
  const one = await start(a, ONE);
  const before = await start(b, TWO);
  before.transport.setPeers([one.info]);
  before.transport.onRequest("echo", () => new Promise(() => undefined));
  one.transport.setPeers([before.info]);
  const stuck = one.transport.request(TWO, "echo", bytes("x"), IN_TIME);
  const lost = assert.rejects(stuck, failsWith("OutcomeUnknown", /address changed/));
  await eventually(() => one.log.includes("connected to peer: "), "connected");
  const moved = await start(b, TWO);
  moved.transport.setPeers([one.info]);
  moved.transport.onRequest("echo", echo);
  one.transport.setPeers([moved.info]);
  await lost;
  const answer = await one.transport.request(TWO, "echo", bytes("there"), IN_TIME);
  assert.equal(Buffer.from(answer).toString(), "there");
});

test("a member is kept connected with nothing to send, and one refused is told why", async () => {
  const [a, b] = [await createIdentity(), await createIdentity()];
  const one = await start(a, ONE);
  const two = await start(b, TWO);
  one.transport.setPeers([two.info]);
  const hasLine = (text: string): boolean => one.log.some((line) => line.includes(text));
  await eventually(() => hasLine("the peer closed the connection"), "refused");
  const refused = one.transport.request(TWO, "echo", bytes(""), { timeoutMs: 50 });
  await assert.rejects(refused, failsWith("Unavailable", /may not know this node's key yet/));
  two.transport.setPeers([one.info]);
  await eventually(() => hasLine("connected to peer"), "connected");
});

/** A TCP relay that can stop passing bytes without closing anything, as a pulled cable does. */
async function relay(
  targetPort: number,
): Promise<{ address: string; freeze: () => void; stall: () => void; cut: () => void }> {
  const sockets: Socket[] = [];
  let frozen = false;
  const server = createServer((near) => {
    const far = connect(targetPort, "127.0.0.1");
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.push(from);
      from.on("error", () => undefined);
      from.on("data", (chunk) => {
        if (!frozen) to.write(chunk);
      });
      from.on("close", () => {
        if (!frozen) to.destroy();
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const bound = server.address();
  assert.ok(bound !== null && typeof bound === "object");
  const { port } = bound satisfies AddressInfo;
  return {
    address: `127.0.0.1:${port}`,
    freeze: () => {
      frozen = true;
    },
    // Takes nothing more from anybody, so that the sender's buffers fill.
    stall: () => {
      for (const socket of sockets) socket.pause();
    },
    cut: () => {
      for (const socket of sockets.splice(0)) socket.destroy();
    },
  };
}

test("a connection that falls silent is dropped on both sides; an idle one is not", async () => {
  const limits = { pingIntervalMs: 20, silenceTimeoutMs: 150, handshakeTimeoutMs: 1000 };
  const [a, b] = [await createIdentity(), await createIdentity()];
  const one = await start(a, ONE, { limits });
  const two = await start(b, TWO, { limits });
  const wire = await relay(portOf(two));
  two.transport.setPeers([one.info]);
  two.transport.onRequest("echo", echo);
  two.transport.onRequest("stuck", () => new Promise(() => undefined));
  one.transport.setPeers([{ ...two.info, address: wire.address }]);
  await one.transport.request(TWO, "echo", bytes("x"), IN_TIME);
  // Pings alone keep it: a request that takes several times the silence limit is not cut off.
  const patient = one.transport.request(TWO, "stuck", bytes("x"), { timeoutMs: 600 });
  await assert.rejects(patient, failsWith("TimedOut"));
  assert.ok(!one.log.some((line) => line.includes("nothing was heard")));
  const stuck = one.transport.request(TWO, "stuck", bytes("x"), IN_TIME);
  const lost = assert.rejects(stuck, failsWith("OutcomeUnknown", /nothing was heard for 150 ms/));
  await one.transport.request(TWO, "echo", bytes("x"), IN_TIME);
  wire.freeze();
  await lost;
  const dropped = (): boolean => two.log.some((line) => line.includes("nothing was heard"));
  await eventually(dropped, "the other side drops it too");
});

test("half a datagram left behind by a lost connection never opens the next one", async () => {
  const [a, b] = [await createIdentity(), await createIdentity()];
  const one = await start(a, ONE);
  const two = await start(b, TWO);
  const wire = await relay(portOf(two));
  two.transport.setPeers([one.info]);
  const heard: number[] = [];
  two.transport.onMessage("raft", (_from, message) => heard.push(message.length));
  one.transport.setPeers([{ ...two.info, address: wire.address }]);
  const raft = one.transport.channel("raft");
  await eventually(() => raft.send(TWO, bytes("up")) && heard.length > 0, "connected");
  wire.stall();
  // More than the sockets' buffers hold: most of it still waits in the queue at the cut.
  for (let i = 0; i < 3; i++) assert.equal(raft.send(TWO, pattern(8 * 1024 * 1024)), true);
  await eventually(() => !raft.send(TWO, pattern(4 * 1024 * 1024)), "the queue is full");
  wire.cut();
  await eventually(() => raft.send(TWO, pattern(100_000)) && heard.includes(100_000), "again");
  assert.deepEqual(
    two.log.filter((line) => line.includes("BadFragment")),
    [],
  );
});

test("a port in use is named, with a hint", async () => {
  const identity = await createIdentity();
  const one = await start(identity, ONE);
  const port = portOf(one);
  await assert.rejects(start(identity, TWO, { port }), (error) => {
    failsWith("PortInUse", new RegExp(`127\\.0\\.0\\.1:${port}: the port is in use`))(error);
    return true;
  });
  const nowhere = createTlsTransport({ identity, listen: { host: "192.0.2.1", port: 0 } });
  await assert.rejects(nowhere.listen(), failsWith("InvalidArgument", /192\.0\.2\.1/));
  await nowhere.close();
});

test("after close nothing keeps the process alive", async () => {
  const entry = new URL("index.ts", import.meta.url).href;
  const script = `
    import { once } from "node:events";
    const { createIdentity, createTlsTransport } = await import(${JSON.stringify(entry)});
    const start = async (peerId) => {
      const identity = await createIdentity();
      const listen = { host: "127.0.0.1", port: 0 };
      const transport = createTlsTransport({ identity, listen });
      const address = await transport.listen();
      return { transport, info: { peerId, ...identity, address } };
    };
    const [one, two] = [await start(1), await start(2)];
    one.transport.setPeers([two.info, { ...one.info, peerId: 3, publicKey: "00".repeat(32) }]);
    two.transport.setPeers([one.info]);
    two.transport.onRequest("echo", async (from, body) => body);
    two.transport.onStream("open", () => {});
    await one.transport.request(2, "echo", new Uint8Array(3), { timeoutMs: 60_000 });
    const none = new Uint8Array(0);
    const stream = await one.transport.openStream(2, "open", none, { timeoutMs: 60_000 });
    stream.write("x");
    const asked = one.transport.request(3, "echo", new Uint8Array(3), { timeoutMs: 90_000 });
    await Promise.all([one.transport.close(), two.transport.close()]);
    process.stdout.write("closed " + (await asked.catch((error) => error.code)));
  `;
  const child = spawn(
    process.execPath,
    ["--conditions=source", "--input-type=module", "--eval", script],
    // Killed, and so failing the test, when it does not end by itself.
    { stdio: ["ignore", "pipe", "inherit"], timeout: 120_000 },
  );
  let printed = "";
  child.stdout.on("data", (chunk) => (printed += String(chunk)));
  const [code]: unknown[] = await once(child, "close");
  assert.deepEqual([code, printed], [0, "closed Unavailable"]);
});
