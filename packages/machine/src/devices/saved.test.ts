import assert from "node:assert/strict";
import { test } from "node:test";
import { BlixardError } from "@blixard/std";
import { openSaved, type SavedFields } from "./saved.ts";

const GOOD = {
  device: "thing",
  version: 1,
  uint: 5,
  bool: true,
  text: "a",
  kind: "b",
  u64: 7n,
  integer: -7n,
  bytes: Uint8Array.of(1, 2),
  uints: [1, 2],
  list: [{ uint: 1 }],
};

const READERS: Readonly<Record<string, (fields: SavedFields) => unknown>> = {
  uint: (fields) => fields.uint("uint", 5),
  bool: (fields) => fields.bool("bool"),
  text: (fields) => fields.text("text"),
  kind: (fields) => fields.oneOf("kind", ["a", "b"]),
  u64: (fields) => fields.u64("u64"),
  integer: (fields) => fields.integer("integer"),
  bytes: (fields) => fields.bytes("bytes", 2),
  uints: (fields) => fields.uints("uints", 2, 2),
  list: (fields) => fields.list("list", 1, (item) => item.uint("uint", 1)),
};

const BAD: Readonly<Record<string, readonly unknown[]>> = {
  uint: [6, -1, 1.5, Number.NaN, "5", 5n],
  bool: [0, "true"],
  text: [5],
  kind: ["c", 1],
  u64: [-1n, 1n << 64n, 7],
  integer: [1n << 127n, 7],
  bytes: [new Uint8Array(3), [1, 2]],
  uints: [[1], [1, 2, 2], [1, 3], "12"],
  list: [[{ uint: 2 }], [{}, {}], [7], [null], {}],
};

test("fields that are as they must be are read", () => {
  const fields = openSaved(GOOD, "thing", 1);
  for (const [name, read] of Object.entries(READERS)) assert.ok(read(fields) !== undefined, name);
  const bytes = fields.bytes("bytes", 2);
  bytes[0] = 9;
  assert.equal(GOOD.bytes[0], 1, "a copy");
});

test("every other value is refused, and the field is named", () => {
  for (const [name, values] of Object.entries(BAD)) {
    for (const value of [undefined, ...values]) {
      const fields = openSaved({ ...GOOD, [name]: value }, "thing", 1);
      assert.throws(
        () => READERS[name]?.(fields),
        (caught) =>
          caught instanceof BlixardError &&
          caught.failure.code === "Corrupt" &&
          caught.failure.data.where.startsWith(`saved.${name}`),
        `${name}: ${String(value)}`,
      );
    }
  }
});

test("another device or version is refused", () => {
  for (const saved of [null, "x", {}, { ...GOOD, version: 2 }, { ...GOOD, device: "other" }]) {
    assert.throws(() => openSaved(saved, "thing", 1), BlixardError);
  }
});
