import assert from "node:assert/strict";
import { test } from "node:test";
import { buildBlock } from "./builder.ts";
import { validate } from "./validate.ts";

test("a well-formed block passes and keeps its shape", () => {
  const block = buildBlock((b) => {
    const sum = b.binary("add", b.x("rs1"), b.field("imm"));
    b.setX(b.load(4, true, sum));
  });
  assert.deepEqual(
    block.ops.map((op) => op.op),
    ["get", "field", "binary", "load", "set"],
  );
  assert.deepEqual(block.exit, { kind: "next", leave: false });
});

test("mistakes are refused: types, order, use before definition, two exits", () => {
  const wrong = [
    () => buildBlock((b) => b.setX(b.i32(1))),
    () => buildBlock((b) => b.setX(b.binary("add", b.i64(1), b.i32(1)))),
    () =>
      buildBlock((b) => {
        b.setX(b.i64(1));
        b.store(8, b.x("rs1"), b.x("rs2"));
      }),
    () =>
      buildBlock((b) => {
        b.leave();
        b.leave();
      }),
    () => buildBlock((b) => b.float("add", "f64", undefined, b.i64(0), b.i64(0))),
    () => buildBlock((b) => b.call("mulh", b.i64(1))),
    () => buildBlock((b) => b.branch(b.i64(1))),
    () => buildBlock((b) => b.jump(b.i32(1))),
    () =>
      validate({
        ops: [{ op: "unary", type: "i64", fn: "clz", a: 0 }],
        exit: { kind: "next", leave: false },
      }),
  ];
  for (const build of wrong) assert.throws(build, { name: "AssertionError" });
});
