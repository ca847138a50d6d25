import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import {
  decodeClientFrame,
  decodeServerFrame,
  encodeClientFrame,
  encodeServerFrame,
  type ClientFrame,
  type ServerFrame,
} from "./exec-frames.ts";

/** deepEqual looks at prototypes, and fast-check makes some records without one. */
const plain = { noNullPrototype: true } as const;
const bytes = fc.uint8Array({ maxLength: 100 });
const SEED = 20_261_120;

const clientFrames: fc.Arbitrary<ClientFrame> = fc.oneof(
  fc.record({ kind: fc.constant("stdin" as const), data: bytes }, plain),
  fc.constant({ kind: "stdinClose" as const }),
  fc.record(
    {
      kind: fc.constant("resize" as const),
      rows: fc.integer({ min: 1, max: 65_535 }),
      cols: fc.integer({ min: 1, max: 65_535 }),
    },
    plain,
  ),
  fc.record(
    { kind: fc.constant("signal" as const), number: fc.integer({ min: 1, max: 64 }) },
    plain,
  ),
);
const serverFrames: fc.Arbitrary<ServerFrame> = fc.oneof(
  fc.record({ kind: fc.constantFrom("stdout" as const, "stderr" as const), data: bytes }, plain),
  fc.record(
    {
      kind: fc.constant("exit" as const),
      code: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    },
    plain,
  ),
  fc.record({ kind: fc.constant("error" as const), json: fc.json() }, plain),
  fc.record(
    {
      kind: fc.constant("credit" as const),
      bytes: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    },
    plain,
  ),
);

test("every frame survives the trip", () => {
  fc.assert(
    fc.property(clientFrames, (frame) => {
      assert.deepEqual(decodeClientFrame(encodeClientFrame(frame)), frame);
    }),
    { seed: SEED },
  );
  fc.assert(
    fc.property(serverFrames, (frame) => {
      assert.deepEqual(decodeServerFrame(encodeServerFrame(frame)), frame);
    }),
    { seed: SEED },
  );
});

test("any bytes decode to a frame or to undefined, and a frame encodes back to them", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 12 }), (raw) => {
      const client = decodeClientFrame(raw);
      if (client !== undefined) assert.deepEqual(encodeClientFrame(client), raw);
      const server = decodeServerFrame(raw);
      if (server !== undefined && server.kind !== "error") {
        assert.deepEqual(encodeServerFrame(server), raw);
      }
    }),
    { seed: SEED, numRuns: 2000 },
  );
});

test("the frames of version 1 are what they were when it was released", () => {
  const text = readFileSync(new URL("testdata/exec-frames-v1.txt", import.meta.url), "utf8");
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  assert.equal(lines.length, 10);
  for (const line of lines) {
    const [side = "", hex = "", json = ""] = line.split("\t");
    const raw = new Uint8Array(Buffer.from(hex, "hex"));
    const frame = side === "client" ? decodeClientFrame(raw) : decodeServerFrame(raw);
    assert.ok(frame, line);
    const shown =
      "data" in frame ? { ...frame, data: Buffer.from(frame.data).toString("hex") } : frame;
    assert.deepEqual(shown, JSON.parse(json), line);
    const again =
      frame.kind === "stdin" ||
      frame.kind === "stdinClose" ||
      frame.kind === "resize" ||
      frame.kind === "signal"
        ? encodeClientFrame(frame)
        : encodeServerFrame(frame);
    assert.deepEqual(again, raw, line);
  }
});
