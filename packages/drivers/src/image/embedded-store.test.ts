import assert from "node:assert/strict";
import { test } from "node:test";
import { BlixardError, fail } from "@blixard/std";
import { EmbeddedImageStore } from "./embedded-store.ts";
import type { ImageStore, ResolvedImage } from "./types.ts";

const image = (arch?: string): ResolvedImage => ({
  dir: "/i",
  kernel: "/i/vmlinuz",
  initrd: "/i/initrd.img",
  cmdline: "",
  ...(arch === undefined ? {} : { arch }),
});

const others: ImageStore = {
  resolve: (name) => {
    if (name === "mine") return Promise.resolve(image("riscv64"));
    if (name === "pc") return Promise.resolve(image("x86_64"));
    if (name === "old") return Promise.resolve(image());
    if (name === "broken") fail("Corrupt", { what: "image", where: "/i" }, "it is broken");
    return fail("NotFound", { kind: "image", name }, "it is not in /i");
  },
};

test("the own image, riscv64 ones of the folder, and no others", async () => {
  const store = new EmbeddedImageStore(others);
  assert.match((await store.resolve("base")).kernel, /vmlinuz/);
  assert.deepEqual(await store.resolve("mine"), image("riscv64"));
  for (const [name, code, message] of [
    ["pc", "InvalidArgument", /x86_64, not riscv64/],
    ["old", "InvalidArgument", /unknown architecture/],
    ["absent", "NotFound", /embedded driver has no image/],
    ["broken", "Corrupt", /broken/],
  ] as const) {
    await assert.rejects(store.resolve(name), (error) => {
      assert.ok(error instanceof BlixardError && error.code === code);
      assert.match(error.message, message);
      return true;
    });
  }
});
