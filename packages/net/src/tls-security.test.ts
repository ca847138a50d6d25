/**
 * Who is let in, attacked with plain TLS clients and servers that do what the transport never
 * would.
 */

import assert from "node:assert/strict";
import { createPrivateKey, webcrypto } from "node:crypto";
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { after, describe, test } from "node:test";
import { connect, type ConnectionOptions, createServer, type TLSSocket } from "node:tls";
import { as, type PeerId } from "@blixard/std";
import { makeCertificate } from "./certificate.ts";
import { encodeFrame, FRAME } from "./frame.ts";
import { createIdentity, type Identity } from "./identity.ts";
import type { NetLimits } from "./limits.ts";
import { encodeCall } from "./messages.ts";
import { bytes, eventually, failsWith, withPatience } from "./test-support.ts";
import { ALPN_JOIN, ALPN_PEER, ALPN_STREAM } from "./tls.ts";
import { createTlsTransport } from "./tls-transport.ts";
import type { PeerInfo, Transport } from "./types.ts";

const ONE = as<PeerId>(1);
const TWO = as<PeerId>(2);
const closing: (() => Promise<void> | void)[] = [];

after(async () => {
  for (const close of closing) await close();
});

interface Fortress {
  readonly transport: Transport;
  readonly port: number;
  readonly info: PeerInfo;
  readonly member: Identity;
  /** Everything that a handler was given. */
  readonly handled: string[];
  readonly log: string[];
}

/** A node with one other member, whose identity the tests hold. */
async function fortress(limits: Partial<NetLimits> = {}): Promise<Fortress> {
  const identity = await createIdentity();
  const member = await createIdentity();
  const log: string[] = [];
  const transport = createTlsTransport(
    { identity, listen: { host: "127.0.0.1", port: 0 }, limits },
    { log: (_level, message, fields) => log.push(`${message}: ${fields["reason"] ?? ""}`) },
  );
  closing.push(() => transport.close());
  const address = await transport.listen();
  const handled: string[] = [];
  transport.onMessage("raft", (from) => handled.push(`raft from ${from}`));
  transport.onMessage("lease", (from) => handled.push(`lease from ${from}`));
  transport.onRequest("any", async (_from, body) => {
    handled.push("request");
    return body;
  });
  transport.onStream("any", () => handled.push("stream"));
  transport.onJoin(async (_from, body) => {
    handled.push("join");
    return body;
  });
  // Port 9 (discard) is closed: the transport's own dialling plays no part here.
  const them = { peerId: TWO, address: "127.0.0.1:9" };
  transport.setPeers([{ ...them, nodeId: member.nodeId, publicKey: member.publicKey }]);
  const { nodeId, publicKey } = identity;
  const port = Number(address.split(":")[1]);
  const info = { peerId: ONE, nodeId, publicKey, address };
  return { transport, port, info, member, handled, log };
}

const CALL = { id: 1, timeoutMs: 1000, method: "any", trace: undefined, body: bytes("x") };
const HELLO = Buffer.concat([
  encodeFrame(FRAME.raft, bytes("vote")),
  encodeCall(FRAME.request, CALL),
]);
const OPEN = encodeCall(FRAME.streamOpen, { ...CALL, id: 0 });
const JOIN = encodeFrame(FRAME.joinRequest, bytes("let me in"));

function credentials(identity: Identity): ConnectionOptions {
  return { key: identity.keyPem, cert: identity.certPem };
}

interface Attempt {
  readonly socket: TLSSocket;
  readonly received: Buffer[];
  readonly closed: Promise<string>;
}

/** Sends `payload` as early as TLS lets it. */
function attack(port: number, options: ConnectionOptions, payload: Uint8Array): Attempt {
  const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ...options });
  const received: Buffer[] = [];
  let reason = "closed";
  socket.on("data", (chunk: Buffer) => received.push(chunk));
  socket.on("error", (error) => {
    reason = error.message;
  });
  socket.write(payload);
  const closed = new Promise<string>((resolve) => {
    socket.once("close", () => resolve(reason));
  });
  closing.push(() => {
    socket.destroy();
  });
  return { socket, received, closed };
}

describe("refused before one byte is handled", () => {
  test("no certificate", async () => {
    const { handled, port } = await fortress();
    for (const [alpn, payload] of [
      [ALPN_PEER, HELLO],
      [ALPN_STREAM, OPEN],
      [ALPN_JOIN, JOIN],
    ] as const) {
      const { closed, received } = attack(port, { ALPNProtocols: [alpn] }, payload);
      await closed;
      assert.equal(Buffer.concat(received).length, 0, alpn);
    }
    assert.deepEqual(handled, []);
  });

  test("a key that is no member's", async () => {
    const { handled, log, port } = await fortress();
    const stranger = credentials(await createIdentity());
    for (const [alpn, payload] of [
      [ALPN_PEER, HELLO],
      [ALPN_STREAM, OPEN],
    ] as const) {
      const { closed, received } = attack(port, { ...stranger, ALPNProtocols: [alpn] }, payload);
      await closed;
      assert.equal(Buffer.concat(received).length, 0);
    }
    assert.deepEqual(handled, []);
    assert.ok(log.includes("connection refused: its key is no member's"));
  });

  test("the member's node id in a certificate of another key", async () => {
    const { handled, member, port } = await fortress();
    const { keyPem } = await createIdentity();
    const cert = await makeCertificate(createPrivateKey(keyPem), member.nodeId);
    const options = { key: keyPem, cert, ALPNProtocols: [ALPN_PEER] };
    await attack(port, options, HELLO).closed;
    assert.deepEqual(handled, []);
  });

  test("the member's certificate without its key", async () => {
    const { member, port } = await fortress();
    const { keyPem } = await createIdentity();
    // The client's own library refuses the mismatch already; no handshake could prove it.
    assert.throws(
      () => connect({ port, key: keyPem, cert: member.certPem }),
      /key values mismatch/,
    );
  });

  test("a key of another kind", async () => {
    const { handled, port } = await fortress();
    const x509 = await import("@peculiar/x509");
    const keys = await webcrypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, [
      "sign",
      "verify",
    ]);
    const signingAlgorithm = { name: "ECDSA", hash: "SHA-256" };
    const made = await x509.X509CertificateGenerator.createSelfSigned(
      { name: "CN=x", keys, signingAlgorithm },
      webcrypto,
    );
    const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey));
    const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    const options = {
      key: key.export({ format: "pem", type: "pkcs8" }),
      cert: made.toString("pem"),
      ALPNProtocols: [ALPN_JOIN],
    };
    await attack(port, options, JOIN).closed;
    assert.deepEqual(handled, []);
  });

  test("TLS 1.2, an unknown protocol, no protocol", async () => {
    const { handled, member, port } = await fortress();
    const known = credentials(member);
    const old = { ...known, ALPNProtocols: [ALPN_PEER], maxVersion: "TLSv1.2" as const };
    assert.match(await attack(port, old, HELLO).closed, /protocol version/i);
    const unknown = { ...known, ALPNProtocols: ["blixard-peer/2"] };
    assert.match(await attack(port, unknown, HELLO).closed, /no application protocol/i);
    await attack(port, known, HELLO).closed;
    assert.deepEqual(handled, []);
  });

  test("a resumed session: tickets are given, but never resume", async () => {
    const { handled, log, member, port } = await fortress();
    const first = attack(port, { ...credentials(member), ALPNProtocols: [ALPN_PEER] }, HELLO);
    const sessions: Buffer[] = [];
    first.socket.on("session", (session: Buffer) => sessions.push(session));
    await eventually(() => handled.length === 2 && sessions.length > 0, "the member is served");
    first.socket.destroy();
    await first.closed;
    const before = [...handled];
    for (const session of sessions) {
      // Holding the member's session, not its key.
      const again = attack(port, { session, ALPNProtocols: [ALPN_PEER] }, HELLO);
      let reused: boolean | undefined;
      again.socket.once("secureConnect", () => {
        reused = again.socket.isSessionReused();
      });
      await again.closed;
      assert.equal(reused, false);
      assert.equal(Buffer.concat(again.received).length, 0);
    }
    assert.deepEqual(handled, before);
    assert.ok(log.includes("connection refused: it showed no Ed25519 key"));
  });

  test("a member's certificate may be out of its validity: the key is what counts", async () => {
    const { handled, member, port } = await fortress();
    const x509 = await import("@peculiar/x509");
    const { subtle } = webcrypto;
    const key = createPrivateKey(member.keyPem);
    const pkcs8 = key.export({ format: "der", type: "pkcs8" });
    const spki = Buffer.from(`302a300506032b6570032100${member.publicKey}`, "hex");
    const keys = {
      privateKey: await subtle.importKey("pkcs8", pkcs8, "Ed25519", true, ["sign"]),
      publicKey: await subtle.importKey("spki", spki, "Ed25519", true, ["verify"]),
    };
    const expired = await x509.X509CertificateGenerator.createSelfSigned(
      {
        name: "CN=whatever",
        notBefore: new Date(0),
        notAfter: new Date(1000),
        signingAlgorithm: "Ed25519",
        keys,
      },
      webcrypto,
    );
    const options = { key: member.keyPem, cert: expired.toString("pem") };
    const { socket } = attack(port, { ...options, ALPNProtocols: [ALPN_PEER] }, HELLO);
    await eventually(() => handled.length === 2, "its messages are handled");
    socket.destroy();
  });
});

describe("a member that breaks the protocol loses its connection", () => {
  const header = (kind: number, length: number): Buffer => {
    const out = Buffer.from("424c58460100000000000000", "hex");
    out[5] = kind;
    out.writeUInt32LE(length, 8);
    return out;
  };
  const cases: [string, string, Buffer, RegExp][] = [
    ["a datagram of 4 GiB", ALPN_PEER, header(FRAME.raft, 0xffffffff), /TooLarge: .*4294967295/],
    ["garbage", ALPN_PEER, Buffer.from("GET / HTTP/1.1\r\n\r\n"), /BadMagic/],
    ["a frame of another protocol", ALPN_PEER, header(FRAME.streamData, 0), /UnexpectedKind/],
    ["a malformed request", ALPN_PEER, header(FRAME.request, 0), /BadRequest/],
    [
      "a fragment out of nowhere",
      ALPN_PEER,
      Buffer.from("424c5846010101000900000009000000050000000a", "hex"),
      /BadFragment: fragment at 5 of 9/,
    ],
    ["stream data before the open", ALPN_STREAM, header(FRAME.streamEnd, 0), /before the stream/],
    ["a malformed open", ALPN_STREAM, header(FRAME.streamOpen, 0), /malformed open/],
    ["an oversize join", ALPN_JOIN, header(FRAME.joinRequest, 65_537), /at most 65536/],
  ];
  for (const [name, alpn, payload, reason] of cases) {
    test(name, async () => {
      const { handled, log, member, port } = await fortress();
      await attack(port, { ...credentials(member), ALPNProtocols: [alpn] }, payload).closed;
      await eventually(() => log.some((line) => reason.test(line)), `${reason} in ${log.join()}`);
      assert.deepEqual(handled, []);
    });
  }
});

describe("work for others is bounded", () => {
  test("more requests at once than allowed are answered with Unavailable", async () => {
    const { member, port, transport } = await fortress({ maxHandlers: 2, maxInFlightRequests: 2 });
    transport.onRequest("stuck", () => new Promise(() => undefined));
    const ask = (id: number): Uint8Array =>
      encodeCall(FRAME.request, { ...CALL, id, method: "stuck" });
    const options = { ...credentials(member), ALPNProtocols: [ALPN_PEER] };
    const asked = Buffer.concat([ask(1), ask(2), ask(3)]);
    const { received, socket } = attack(port, options, asked);
    const text = (): string => Buffer.concat(received).toString("latin1");
    const named = (): number => text().split("Unavailable").length - 1;
    await eventually(() => named() === 2, "the third is turned away, by code and by message");
    socket.destroy();
  });

  test("streams beyond the bound are refused on both sides", async () => {
    const { handled, member, port, transport } = await fortress({ maxStreamsPerPeer: 1 });
    const options = { ...credentials(member), ALPNProtocols: [ALPN_STREAM] };
    const first = attack(port, options, OPEN);
    await eventually(() => handled.length === 1, "the first is served");
    const second = attack(port, options, OPEN);
    await second.closed;
    assert.match(Buffer.concat(second.received).toString("latin1"), /1 streams of this peer/);
    const third = transport.openStream(TWO, "any", bytes(""), { timeoutMs: 1000 });
    await assert.rejects(third, failsWith("Unavailable", /1 streams with node/));
    assert.deepEqual(handled, ["stream"]);
    first.socket.destroy();
  });

  test("a second request at the join door closes it", async () => {
    const { handled, port } = await fortress();
    const stranger = credentials(await createIdentity());
    const options = { ...stranger, ALPNProtocols: [ALPN_JOIN] };
    const { closed, received } = attack(port, options, Buffer.concat([JOIN, JOIN]));
    await closed;
    assert.deepEqual(handled, ["join"]);
    assert.equal(Buffer.concat(received).length, 0);
  });

  test("a join that its handler never finishes is given up", async () => {
    const identity = await createIdentity();
    const listen = { host: "127.0.0.1", port: 0 };
    const limits = { joinHandlerTimeoutMs: 50 };
    const transport = createTlsTransport({ identity, listen, limits });
    closing.push(() => transport.close());
    const address = await transport.listen();
    transport.onJoin(() => new Promise(() => undefined));
    const { transport: joiner } = await fortress();
    const server = { address, publicKey: identity.publicKey };
    const joined = joiner.join(server, bytes("x"), { timeoutMs: 10_000 });
    await assert.rejects(joined, failsWith("TimedOut", /within 50 ms/));
  });
});

describe("silence is bounded", () => {
  test("TCP connections that never shake hands are dropped, and do not fill the door", async () => {
    await withPatience(150, async (handshakeTimeoutMs) => {
      const { handled, member, port } = await fortress({ handshakeTimeoutMs, maxHandshakes: 4 });
      const idle = Array.from({ length: 4 }, () => connectTcp(port, "127.0.0.1"));
      const closed = idle.map((socket) =>
        once(
          socket.on("error", () => undefined),
          "close",
        ),
      );
      for (const socket of idle) socket.resume();
      await Promise.all(closed);
      const options = { ...credentials(member), ALPNProtocols: [ALPN_PEER] };
      const { socket } = attack(port, options, HELLO);
      await eventually(() => handled.length === 2 || socket.closed, "a member gets in afterwards");
      assert.equal(handled.length, 2);
      socket.destroy();
    });
  });

  test("more handshakes than allowed at once are turned away at once", async () => {
    const { port } = await fortress({ handshakeTimeoutMs: 60_000, maxHandshakes: 2 });
    const idle = [connectTcp(port, "127.0.0.1"), connectTcp(port, "127.0.0.1")];
    await Promise.all(idle.map((socket) => once(socket, "connect")));
    const third = connectTcp(port, "127.0.0.1").on("error", () => undefined);
    third.resume();
    await once(third, "close");
    for (const socket of idle) socket.destroy();
  });

  test("a member, a stream and a joiner that say nothing are dropped", async () => {
    const { member, port } = await fortress({
      handshakeTimeoutMs: 200,
      joinRequestTimeoutMs: 100,
      pingIntervalMs: 20,
      silenceTimeoutMs: 100,
    });
    for (const alpn of [ALPN_PEER, ALPN_STREAM, ALPN_JOIN]) {
      const options = { ...credentials(member), ALPNProtocols: [alpn] };
      await attack(port, options, new Uint8Array(0)).closed;
    }
  });

  test("an open stream whose peer falls silent fails", async () => {
    const { handled, log, member, port } = await fortress({
      pingIntervalMs: 20,
      silenceTimeoutMs: 100,
    });
    const options = { ...credentials(member), ALPNProtocols: [ALPN_STREAM] };
    await attack(port, options, OPEN).closed;
    assert.deepEqual(handled, ["stream"]);
    assert.ok(log.some((line) => /nothing was heard for 100 ms/.test(line)));
  });
});

describe("clients pin the server's key", () => {
  async function impostor(): Promise<{ address: string; heard: string[]; identity: Identity }> {
    const identity = await createIdentity();
    const heard: string[] = [];
    const server = createServer(
      {
        key: identity.keyPem,
        cert: identity.certPem,
        requestCert: true,
        rejectUnauthorized: false,
        ALPNProtocols: [ALPN_PEER, ALPN_STREAM, ALPN_JOIN],
      },
      (socket) => {
        socket.on("error", () => undefined);
        socket.on("data", (chunk) => heard.push(String(chunk)));
        socket.write(encodeFrame(FRAME.ping, new Uint8Array(0)));
      },
    );
    server.on("tlsClientError", () => undefined);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    closing.push(() => {
      server.close();
    });
    const bound = server.address();
    assert.ok(bound !== null && typeof bound === "object");
    return { address: `127.0.0.1:${bound.port}`, heard, identity };
  }

  test("an impostor at a member's address hears nothing", async () => {
    const { address, heard } = await impostor();
    const { log, member, transport } = await fortress();
    const { nodeId, publicKey } = member;
    transport.setPeers([{ peerId: TWO, nodeId, publicKey, address }]);
    transport.channel("raft").send(TWO, bytes("secret"));
    await eventually(() => log.some((line) => line.includes("its key is")), "it was tried");
    const asked = transport.request(TWO, "any", bytes("secret"), { timeoutMs: 300 });
    await assert.rejects(asked, failsWith("Unavailable", /its key is [0-9a-f]{64}, expected/));
    const opened = transport.openStream(TWO, "any", bytes("secret"), { timeoutMs: 60_000 });
    await assert.rejects(opened, failsWith("Unavailable", /its key is/));
    const joined = transport.join({ address, publicKey }, bytes("secret"), { timeoutMs: 60_000 });
    await assert.rejects(joined, failsWith("Unavailable", /its key is/));
    assert.deepEqual(heard, []);
  });

  test("a server that never answers an open is given up", async () => {
    const { identity, address } = await impostor();
    const { log, transport } = await fortress();
    const { nodeId, publicKey } = identity;
    // The right key this time.
    transport.setPeers([{ peerId: TWO, nodeId, publicKey, address }]);
    await withPatience(300, async (timeoutMs) => {
      const opened = transport.openStream(TWO, "any", bytes("x"), { timeoutMs });
      await assert.rejects(opened, failsWith("Unavailable", /unaccepted/));
    });
    await eventually(() => log.includes("connected to peer: "), "connected");
  });
});
