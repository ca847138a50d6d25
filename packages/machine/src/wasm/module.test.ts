import assert from "node:assert/strict";
import { test } from "node:test";
import { signedLeb, unsignedLeb } from "./code.ts";
import { compile, createMemory, instantiate } from "./engine.ts";
import { ModuleBuilder } from "./module.ts";

test("LEB128 as the specification's examples have it", () => {
  assert.deepEqual(unsignedLeb(624485), [0xe5, 0x8e, 0x26]);
  assert.deepEqual(unsignedLeb(0), [0]);
  assert.deepEqual(signedLeb(-123456n), [0xc0, 0xbb, 0x78]);
  assert.deepEqual(signedLeb(63n), [63]);
  assert.deepEqual(signedLeb(64n), [0xc0, 0]);
  assert.deepEqual(signedLeb(-64n), [0x40]);
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
