import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { encodeFragments, encodeFrame, FLAG_FRAGMENT, FRAME, type FrameKind } from "./frame.ts";
import { FrameParser } from "./frame-parser.ts";
import { encodeAnswer, encodeCall } from "./messages.ts";
import { Reassembler } from "./reassembler.ts";
import { bytes, pattern } from "./test-support.ts";
import { as, type CorrelationId } from "@blixard/std";

const LIMITS = { [FRAME.raft]: 1000, [FRAME.ping]: 0, [FRAME.request]: 50_000 };

function collect(limits = LIMITS): { parser: FrameParser; seen: string[] } {
  const seen: string[] = [];
  const parser = new FrameParser(limits, (kind, flags, payload) =>
    seen.push(`${kind}/${flags}/${Buffer.from(payload).toString("hex")}`),
  );
  return { parser, seen };
}

function golden(name: string): string[] {
  const text = readFileSync(new URL(`testdata/${name}`, import.meta.url), "utf8");
  return text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
}

test("frames as they have been since version 1", () => {
  const trace = {
    traceId: as<CorrelationId>("0af7651916cd43dd8448eb211c80319c"),
    spanId: "b7ad6b7169203331",
    sampled: true,
  };
  const call = { id: 7, timeoutMs: 1500, method: "vm.exec", trace, body: bytes("body") };
  const made: [string, Uint8Array][] = [
    ["ping", encodeFrame(FRAME.ping, new Uint8Array(0))],
    ["raft", encodeFrame(FRAME.raft, bytes("vote"))],
    ["lease", encodeFrame(FRAME.lease, bytes("renew"))],
    ...encodeFragments(FRAME.raft, bytes("fragment"), 5).map((frame, i): [string, Uint8Array] => [
      `fragment${i}`,
      frame,
    ]),
    ["request", encodeCall(FRAME.request, call)],
    ["response", encodeAnswer(FRAME.response, 7, bytes("done"))],
    ["failure", encodeAnswer(FRAME.failure, 7, bytes("{}"))],
    ["streamOpen", encodeCall(FRAME.streamOpen, { ...call, id: 0, trace: undefined })],
    ["streamAccept", encodeFrame(FRAME.streamAccept, new Uint8Array(0))],
    ["streamData", encodeFrame(FRAME.streamData, bytes("data"))],
    ["streamEnd", encodeFrame(FRAME.streamEnd, new Uint8Array(0))],
    ["joinRequest", encodeFrame(FRAME.joinRequest, bytes("join"))],
    ["joinReply", encodeFrame(FRAME.joinReply, bytes("reply"))],
  ];
  const lines = made.map(([name, frame]) => `${name} ${Buffer.from(frame).toString("hex")}`);
  assert.deepEqual(lines, golden("frames-v1.txt"));
});

describe("refusals", () => {
  const frame = (kind: FrameKind, length: number): Buffer =>
    Buffer.from(encodeFrame(kind, pattern(length)));
  const cases: [string, Buffer, string, RegExp][] = [
    ["another magic", Buffer.from("GET / HTTP/1.1\r\n"), "BadMagic", /not "BLXF"/],
    [
      "another version",
      Buffer.from("424c5846020600000000 0000".replace(" ", ""), "hex"),
      "BadVersion",
      /version 2/,
    ],
    ["a kind of another protocol", frame(FRAME.joinRequest, 3), "UnexpectedKind", /kind 11/],
    ["an unknown kind", Buffer.from("424c584601ff000000000000", "hex"), "UnexpectedKind", /255/],
    ["unknown flags", Buffer.from("424c58460101020000000000", "hex"), "BadFlags", /flags 2/],
    ["flags where none exist", Buffer.from("424c58460306010000000000", "hex"), "BadVersion", /3/],
    ["one byte too many", frame(FRAME.raft, 1001), "TooLarge", /1001 bytes; at most 1000/],
    ["4 GiB", Buffer.from("424c584601030000ffffffff", "hex"), "TooLarge", /4294967295/],
    ["content of a ping", frame(FRAME.ping, 1), "TooLarge", /at most 0/],
  ];
  for (const [name, input, code, reason] of cases) {
    test(name, () => {
      const { parser, seen } = collect();
      const pushed = parser.push(input);
      assert.ok(!pushed.ok);
      assert.equal(pushed.error.code, code);
      assert.match(pushed.error.reason, reason);
      assert.deepEqual(seen, []);
      // Dead for good, and holding nothing.
      const again = parser.push(encodeFrame(FRAME.ping, new Uint8Array(0)));
      assert.deepEqual(again, pushed);
      assert.equal(parser.bufferedBytes, 0);
    });
  }

  test("an end inside a header or a payload", () => {
    const whole = frame(FRAME.raft, 20);
    for (const cut of [1, 11, 12, 13, 31]) {
      const { parser } = collect();
      assert.ok(parser.push(whole.subarray(0, cut)).ok);
      const ended = parser.end();
      assert.ok(!ended.ok && ended.error.code === "Truncated", `cut at ${cut}`);
    }
    const { parser } = collect();
    parser.push(whole);
    assert.ok(parser.end().ok);
  });
});

test("a listener that stops the parser sees nothing more of the chunk", () => {
  let count = 0;
  const parser = new FrameParser(LIMITS, () => {
    count += 1;
    parser.stop();
  });
  const two = Buffer.concat([
    encodeFrame(FRAME.raft, bytes("a")),
    encodeFrame(FRAME.raft, bytes("b")),
  ]);
  assert.ok(parser.push(two).ok);
  assert.ok(parser.end().ok);
  assert.equal(count, 1);
});

test("an announced length alone takes no memory", () => {
  const { parser } = collect();
  parser.push(Buffer.from("424c58460103000050c30000", "hex"));
  assert.ok(parser.bufferedBytes <= 16 * 1024 + 12);
});

describe("reassembly", () => {
  const piece = (total: number, offset: number, text: string): Uint8Array => {
    const head = Buffer.alloc(8);
    head.writeUInt32LE(total, 0);
    head.writeUInt32LE(offset, 4);
    return Buffer.concat([head, bytes(text)]);
  };

  test("pieces in order make the datagram, and the next one starts afresh", () => {
    const whole = new Reassembler(10);
    for (let round = 0; round < 2; round++) {
      assert.deepEqual(whole.push(piece(5, 0, "ab")), { ok: true, value: undefined });
      const last = whole.push(piece(5, 2, "cde"));
      assert.ok(last.ok && last.value !== undefined);
      assert.equal(Buffer.from(last.value).toString(), "abcde");
    }
  });

  const broken: [string, Uint8Array[], RegExp][] = [
    ["too large", [piece(11, 0, "a")], /11 bytes is announced; at most 10/],
    ["not from the start", [piece(5, 1, "a")], /fragment at 1 of 5/],
    ["a hole", [piece(5, 0, "a"), piece(5, 2, "b")], /at 2 of 5, expected one at 1/],
    ["another total", [piece(5, 0, "a"), piece(6, 1, "b")], /of 6/],
    ["a start inside", [piece(5, 0, "a"), piece(5, 0, "a")], /at 0 of 5/],
    ["past the end", [piece(3, 0, "abcd")], /runs past 3/],
    ["without content", [piece(3, 0, "")], /without content/],
    ["without a head", [bytes("abc")], /without content/],
  ];
  for (const [name, pieces, reason] of broken) {
    test(name, () => {
      const whole = new Reassembler(10);
      const results = pieces.map((one) => whole.push(one));
      const last = results.at(-1);
      assert.ok(last !== undefined && !last.ok);
      assert.match(last.error, reason);
    });
  }

  test("fragments carry the flag that says so", () => {
    const flags: number[] = [];
    const parser = new FrameParser(LIMITS, (_kind, flag) => flags.push(flag));
    for (const frame of encodeFragments(FRAME.raft, pattern(900), 400)) parser.push(frame);
    assert.deepEqual(flags, [FLAG_FRAGMENT, FLAG_FRAGMENT, FLAG_FRAGMENT]);
  });
});
