import { concat, Prng } from "@blixard/std";
import * as fc from "fast-check";
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeFrame, FrameParser, type Frame } from "./frame.ts";
import { HEADER_BYTES, PAYLOAD_BYTES_MAX } from "./limits.ts";
import { decodeAgentMessage, decodeHostMessage } from "./messages.ts";

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const frame: fc.Arbitrary<Frame> = fc.record(
  {
    type: fc.integer({ min: 0, max: 255 }),
    session: u32,
    stream: u32,
    payload: fc.uint8Array({ maxLength: 300 }),
  },
  { noNullPrototype: true },
);
/** No "B": cannot begin a magic, so frames behind it are never swallowed. */
const garbage = fc
  .uint8Array({ maxLength: 80 })
  .map((bytes) => bytes.map((b) => (b === 66 ? 0 : b)));

function pushAll(parser: FrameParser, bytes: Uint8Array, seed: number): Frame[] {
  const random = new Prng(seed);
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + random.between(1, random.chance(0.5) ? 5 : 400);
    frames.push(...parser.push(bytes.subarray(at, end)));
    assert.ok(parser.heldBytes <= HEADER_BYTES + PAYLOAD_BYTES_MAX);
    at = end;
  }
  return frames;
}

test("frames survive any chunking and any garbage between them", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(garbage, frame), { maxLength: 8 }), u32, (pairs, seed) => {
      const bytes = concat(pairs.flatMap(([noise, one]) => [noise, encodeFrame(one)]));
      const parser = new FrameParser();
      const frames = pushAll(parser, bytes, seed);
      assert.deepEqual(
        frames,
        pairs.map(([, one]) => one),
      );
      assert.equal(
        parser.skippedBytes,
        pairs.reduce((sum, [noise]) => sum + noise.length, 0),
      );
      assert.equal(parser.heldBytes, 0);
    }),
    { seed: 11, numRuns: 300 },
  );
});

test("a flipped bit loses its own frame only, once the bytes it claimed have come", () => {
  fc.assert(
    fc.property(frame, fc.array(frame, { maxLength: 3 }), u32, (victim, rest, seed) => {
      const broken = encodeFrame(victim);
      const bit = seed % (broken.length * 8);
      // Flags are not covered by meaning but by the sum: every bit counts.
      broken[bit >> 3] = (broken[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const padding = new Uint8Array(HEADER_BYTES + PAYLOAD_BYTES_MAX);
      const bytes = concat([broken, ...rest.map(encodeFrame), padding]);
      assert.deepEqual(pushAll(new FrameParser(), bytes, seed), rest);
    }),
    { seed: 12, numRuns: 60 },
  );
});

test("a frame cut short gives up the frame behind it to the padding that a new session sends", () => {
  fc.assert(
    fc.property(frame, frame, fc.nat(), (cut, next, at) => {
      const head = encodeFrame({ ...cut, payload: new Uint8Array(PAYLOAD_BYTES_MAX) });
      const half = head.subarray(0, at % head.length);
      const padding = new Uint8Array(HEADER_BYTES + PAYLOAD_BYTES_MAX);
      const parser = new FrameParser();
      const bytes = concat([half, padding, encodeFrame(next)]);
      // The half frame may be completed by the padding's zeroes into the very frame it was.
      const frames = pushAll(parser, bytes, at);
      assert.deepEqual(frames.at(-1), next);
    }),
    { seed: 13, numRuns: 40 },
  );
});

test("bytes of any kind neither throw nor grow the parser, and decode to a message or a reason", () => {
  const hostile = fc.array(
    fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      frame.map(encodeFrame),
      frame.map((one) => encodeFrame(one).subarray(0, HEADER_BYTES)),
    ),
    { maxLength: 20 },
  );
  fc.assert(
    fc.property(hostile, u32, (parts, seed) => {
      for (const { type, payload } of pushAll(new FrameParser(), concat(parts), seed)) {
        decodeHostMessage(type % 26, payload);
        decodeAgentMessage(type % 26, payload);
      }
    }),
    { seed: 14, numRuns: 300 },
  );
});

test("headers that claim much buy little work", () => {
  // Valid headers with a wrong payload sum, back to back: without the bound on rescans each would
  // cost a checksum over 64 KiB.
  const evil = encodeFrame({
    type: 1,
    session: 1,
    stream: 1,
    payload: new Uint8Array(PAYLOAD_BYTES_MAX).fill(1),
  }).subarray(0, HEADER_BYTES);
  const flood = concat(Array.from({ length: 40_000 }, () => evil));
  const parser = new FrameParser();
  assert.deepEqual(parser.push(flood), []);
  assert.ok(parser.heldBytes <= HEADER_BYTES + PAYLOAD_BYTES_MAX);
  const good = { type: 2, session: 3, stream: 4, payload: Uint8Array.of(5) };
  const padding = new Uint8Array(HEADER_BYTES + PAYLOAD_BYTES_MAX);
  assert.deepEqual(parser.push(concat([padding, encodeFrame(good)])), [good]);
});
