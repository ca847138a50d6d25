import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { encodeFragments, encodeFrame, FLAG_FRAGMENT, FRAME, type FrameKind } from "./frame.ts";
import { FrameParser } from "./frame-parser.ts";
import { decodeCall, encodeCall, isMethod } from "./messages.ts";
import { Reassembler } from "./reassembler.ts";

const SEED = { seed: 20260726 };
const MAX = 40_000;
const LIMITS = { [FRAME.raft]: MAX, [FRAME.request]: MAX, [FRAME.ping]: 0 };

const frames = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constantFrom<FrameKind>(FRAME.raft, FRAME.request),
      payload: fc.uint8Array({ maxLength: 300 }),
    }),
    fc.record({
      kind: fc.constant<FrameKind>(FRAME.raft),
      payload: fc.integer({ min: 300, max: MAX }).map((n) => new Uint8Array(n).fill(n & 255)),
    }),
  ),
  { maxLength: 12 },
);

/** Cuts `input` at the given places, which may be anywhere and repeat. */
function chunks(input: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [...new Set(cuts.map((cut) => cut % (input.length + 1)))].sort((a, b) => a - b);
  const out: Uint8Array[] = [];
  let from = 0;
  for (const place of [...places, input.length]) {
    out.push(input.subarray(from, place));
    from = place;
  }
  return out;
}

test("any chunking gives the same frames", () => {
  fc.assert(
    fc.property(frames, fc.array(fc.nat(), { maxLength: 60 }), (list, cuts) => {
      const stream = Buffer.concat(list.map(({ kind, payload }) => encodeFrame(kind, payload)));
      const seen: string[] = [];
      const parser = new FrameParser(LIMITS, (kind, flags, payload) => {
        assert.equal(flags, 0);
        seen.push(`${kind} ${Buffer.from(payload).toString("hex")}`);
      });
      for (const chunk of chunks(stream, cuts)) {
        assert.ok(parser.push(chunk).ok);
        assert.ok(parser.bufferedBytes <= MAX + 12);
      }
      assert.ok(parser.end().ok);
      assert.deepEqual(
        seen,
        list.map(({ kind, payload }) => `${kind} ${Buffer.from(payload).toString("hex")}`),
      );
    }),
    SEED,
  );
});

test("one byte at a time", () => {
  const payload = new Uint8Array(20_000).fill(7);
  const stream = encodeFrame(FRAME.raft, payload);
  let got: Uint8Array | undefined;
  const parser = new FrameParser(LIMITS, (_kind, _flags, seen) => {
    got = seen;
  });
  for (let i = 0; i < stream.length; i++) parser.push(stream.subarray(i, i + 1));
  assert.deepEqual(got, payload);
});

test("garbage never throws, never buffers beyond the limit, and faults for good", () => {
  const valid = encodeFrame(FRAME.raft, new Uint8Array(30));
  const mutated = fc
    .tuple(fc.nat({ max: valid.length - 1 }), fc.integer({ min: 1, max: 255 }))
    .map(([at, bits]) => {
      const copy = new Uint8Array(valid);
      copy[at] = (copy[at] ?? 0) ^ bits;
      return copy;
    });
  const input = fc.array(
    fc.oneof(mutated, fc.uint8Array({ maxLength: 64 }), fc.constant(new Uint8Array(valid))),
    { maxLength: 8 },
  );
  fc.assert(
    fc.property(input, (parts) => {
      const parser = new FrameParser(LIMITS, (kind, _flags, payload) => {
        assert.ok(payload.length <= (kind === FRAME.ping ? 0 : MAX));
      });
      let fault: unknown;
      for (const part of parts) {
        const pushed = parser.push(part);
        assert.ok(parser.bufferedBytes <= MAX + 12);
        if (fault !== undefined) assert.deepEqual(pushed, fault);
        if (!pushed.ok) fault = pushed;
      }
    }),
    { ...SEED, numRuns: 500 },
  );
});

test("a datagram in fragments comes out whole", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 2000 }),
      fc.integer({ min: 1, max: 700 }),
      (datagram, fragmentBytes) => {
        const whole = new Reassembler(2000);
        let got: Uint8Array | undefined;
        const parser = new FrameParser(LIMITS, (_kind, flags, payload) => {
          assert.equal(flags, FLAG_FRAGMENT);
          assert.equal(got, undefined, "only the last fragment completes it");
          const pushed = whole.push(payload);
          assert.ok(pushed.ok);
          got = pushed.value;
        });
        for (const frame of encodeFragments(FRAME.raft, datagram, fragmentBytes)) {
          parser.push(frame);
        }
        assert.deepEqual(Buffer.from(got ?? []), Buffer.from(datagram));
      },
    ),
    SEED,
  );
});

test("calls survive the wire; random bytes are a call or a reason", () => {
  const call = fc.record({
    id: fc.nat(0xffffffff),
    timeoutMs: fc.nat(0xffffffff),
    method: fc.stringMatching(/^[A-Za-z0-9._/-]{1,64}$/),
    trace: fc.constant(undefined),
    body: fc.uint8Array({ maxLength: 200 }),
  });
  fc.assert(
    fc.property(call, (value) => {
      const decoded = decodeCall(encodeCall(FRAME.request, value).subarray(12));
      assert.ok(decoded.ok);
      const { body, ...rest } = decoded.value;
      assert.deepEqual(Buffer.from(body), Buffer.from(value.body));
      assert.deepEqual(
        [rest.id, rest.timeoutMs, rest.method],
        [value.id, value.timeoutMs, value.method],
      );
    }),
    SEED,
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      const decoded = decodeCall(bytes);
      if (decoded.ok) assert.ok(isMethod(decoded.value.method, 255));
      else assert.notEqual(decoded.error, "");
    }),
    SEED,
  );
});
