import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteWriter } from "./bytes.ts";
import { compile, createMemory, instantiate } from "./engine.ts";
import { ModuleBuilder } from "./module.ts";

const written = (write: (into: ByteWriter) => void): number[] => {
  const writer = new ByteWriter();
  write(writer);
  return [...writer.take()];
};

test("LEB128 as the specification's examples have it", () => {
  const unsigned = (value: number): number[] => written((into) => into.unsigned(value));
  assert.deepEqual(unsigned(624485), [0xe5, 0x8e, 0x26]);
  assert.deepEqual(unsigned(0), [0]);
  assert.deepEqual(unsigned(2 ** 32 - 1), [0xff, 0xff, 0xff, 0xff, 0x0f]);
  for (const [value, bytes] of [
    [-123456, [0xc0, 0xbb, 0x78]],
    [63, [63]],
    [64, [0xc0, 0]],
    [-64, [0x40]],
    [-(2 ** 31), [0x80, 0x80, 0x80, 0x80, 0x78]],
  ] as const) {
    const as32 = written((into) => into.signed32(value));
    const as64 = written((into) => into.signed64(BigInt(value)));
    assert.deepEqual([as32, as64], [bytes, bytes]);
  }
  assert.equal(written((into) => into.signed64(2n ** 63n)).length, 10);
});

test("bytes grow", () => {
  const long = Uint8Array.from({ length: 5000 }, (_, n) => n & 255);
  assert.deepEqual(
    written((into) => {
      into.append(long);
      into.u8(7);
    }),
    [...long, 7],
  );
});

test("a module with a loop, a table jump, memory and an import runs", () => {
  const builder = new ModuleBuilder({ minimum: 1, maximum: 1 });
  const seen: number[] = [];
  const note = builder.import("note", { parameters: ["i32"], results: [] });
  const i32 = { parameters: ["i32"], results: ["i32"] } as const;
  builder.define(
    i32,
    (code) => {
      const sum = code.local("i32");
      code.block((done) =>
        code.loop((again) => {
          code.get(0).op("i32.eqz").brIf(done);
          code.get(sum).get(0).op("i32.add").set(sum);
          code.get(0).i32(1).op("i32.sub").set(0).br(again);
        }),
      );
      code.get(sum).call(note).i32(8).get(sum).memory("i32.store").get(sum);
    },
    "sum",
  );
  builder.define(
    i32,
    (code) => {
      code.block((other) => {
        code.block((one) => {
          code.block((zero) => code.get(0).brTable([zero, one], other));
          code.i32(100).op("return");
        });
        code.i32(101).op("return");
      });
      code.i32(-1);
    },
    "pick",
  );
  const memory = createMemory(1);
  const { sum, pick } = instantiate(compile(builder.encode()), memory, {
    note: (value) => void seen.push(value ?? 0),
  });
  assert.equal(sum?.(10), 55);
  assert.deepEqual(seen, [55]);
  assert.equal(new DataView(memory.buffer).getInt32(8, true), 55);
  assert.deepEqual(
    [0, 1, 7].map((x) => pick?.(x)),
    [100, 101, -1],
  );
});
