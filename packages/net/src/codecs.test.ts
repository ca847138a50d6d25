import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { BlixardError, failure } from "@blixard/std";
import { formatAddress, parseAddress } from "./address.ts";
import { decodeFailure, encodeFailure } from "./failure-codec.ts";
import { FRAME } from "./frame.ts";
import { Handlers } from "./handlers.ts";
import { netLimits } from "./limits.ts";
import { decodeAnswer, decodeCall, encodeCall } from "./messages.ts";
import { bytes } from "./test-support.ts";

describe("addresses", () => {
  test("hosts, IPv4 and bracketed IPv6 round-trip", () => {
    for (const text of ["localhost:1", "10.0.0.1:65535", "[::1]:7946", "[fe80::1%eth0]:2"]) {
      const parsed = parseAddress(text);
      assert.ok(parsed.ok, text);
      assert.equal(formatAddress(parsed.value), text);
    }
  });

  test("anything else is refused with a reason", () => {
    const long = `${"h".repeat(254)}:1`;
    for (const text of [
      "",
      "host",
      "::1:80",
      "h:0",
      "h:65536",
      "h:123456",
      "a b:1",
      "h/x:1",
      long,
    ]) {
      const parsed = parseAddress(text);
      assert.ok(!parsed.ok && parsed.error.length > 0, text);
    }
  });
});

describe("failures on the wire", () => {
  const decode = (text: string): BlixardError => decodeFailure(bytes(text), "node x");

  test("unknown fields go no further", () => {
    const got = decode(
      '{"code":"NotFound","data":{"kind":"vm","name":"a"},"message":"m","hint":"h","evil":1}',
    );
    assert.deepEqual(got.failure, failure("NotFound", { kind: "vm", name: "a" }, "m", "h"));
  });

  test("what is not a failure becomes Internal and says what came", () => {
    const cases: [string, RegExp][] = [
      ['{"code":"FromTheFuture","data":{},"message":"new"}', /unknown code FromTheFuture: new/],
      ['{"code":"toString","data":{},"message":"m"}', /unknown code toString/],
      ['{"code":"NotFound","data":null,"message":"m"}', /NotFound/],
      ["null", /unknown code \?/],
      ["[1]", /unknown code \?/],
      ["{", /not JSON/],
      ["", /not JSON/],
    ];
    for (const [text, reason] of cases) {
      const got = decode(text);
      assert.equal(got.code, "Internal", text);
      assert.match(got.message, reason);
    }
    assert.equal(decodeFailure(Uint8Array.of(0xff), "node x").code, "Internal");
  });

  test("a hint that is no text is dropped", () => {
    const got = decode('{"code":"Conflict","data":{"reason":"r"},"message":"m","hint":7}');
    assert.deepEqual(got.failure, failure("Conflict", { reason: "r" }, "m"));
  });

  test("a failure that is too long is cut to its code and message", () => {
    const reason = "r".repeat(5000);
    const long = new BlixardError(failure("Conflict", { reason }, `message ${reason}`));
    const sent = encodeFailure(long, 2000);
    assert.ok(sent.length <= 3000);
    const got = decodeFailure(sent, "node x");
    assert.equal(got.code, "Internal");
    assert.match(got.message, /^Conflict: message r+$/);
  });
});

describe("calls", () => {
  const call = { id: 1, timeoutMs: 5, method: "m", trace: undefined, body: bytes("b") };

  test("an invalid traceparent is dropped, a bad method is not", () => {
    const frame = encodeCall(FRAME.request, call).subarray(12);
    const traced = Buffer.concat([
      frame.subarray(0, 10),
      Uint8Array.of(3),
      bytes("bad"),
      bytes("b"),
    ]);
    const decoded = decodeCall(traced);
    assert.ok(decoded.ok);
    assert.deepEqual([decoded.value.trace, decoded.value.body], [undefined, Buffer.from("b")]);
    const named = Buffer.from(frame);
    named[9] = 0x20;
    assert.deepEqual(decodeCall(named), { ok: false, error: 'method " " is not an ASCII name' });
    for (let cut = 0; cut < 11; cut++) assert.ok(!decodeCall(frame.subarray(0, cut)).ok);
  });

  test("an answer without an id is none", () => {
    assert.ok(!decodeAnswer(bytes("abc")).ok);
  });
});

test("limits that contradict each other are refused", () => {
  assert.throws(() => netLimits({ maxJoins: 0 }), /maxJoins must be a positive integer/);
  assert.throws(() => netLimits({ pingIntervalMs: 5000 }), /two lost pings/);
  assert.throws(() => netLimits({ raftQueueBytes: 1024 }), /raft queue/);
  assert.throws(() => netLimits({ maxInFlightRequests: 999 }), /never turned away/);
});

test("a name is registered once", () => {
  const handlers = new Handlers();
  const echo = async (_from: unknown, body: Uint8Array): Promise<Uint8Array> => body;
  handlers.onRequest("a", echo);
  handlers.onStream("a", () => undefined);
  handlers.onMessage("raft", () => undefined);
  handlers.onJoin(echo);
  assert.throws(() => handlers.onRequest("a", echo), /already has a handler/);
  assert.throws(() => handlers.onStream("a", () => undefined), /already has a handler/);
  assert.throws(() => handlers.onMessage("raft", () => undefined), /already has a listener/);
  assert.throws(() => handlers.onJoin(echo), /already has a handler/);
});
