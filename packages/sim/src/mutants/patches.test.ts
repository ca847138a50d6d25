import assert from "node:assert/strict";
import { test } from "node:test";
import { sourceText } from "./os/workshop.ts";
import { applyPatch } from "./patch.ts";
import { PATCHES } from "./patches.ts";

test("every planted bug still fits the sources, once, and changes them", () => {
  for (const patch of PATCHES) {
    const text = sourceText(patch.file);
    const patched = applyPatch(text, patch);
    assert.ok(patched.ok, patched.ok ? "" : `${patched.error} (${patch.file})`);
    assert.notEqual(patched.value, text, patch.name);
  }
});

test("planted bugs have names of their own", () => {
  assert.ok(PATCHES.length >= 30);
  assert.equal(new Set(PATCHES.map(({ name }) => name)).size, PATCHES.length);
});

test("a place that is missing, or there twice, is an error", () => {
  const patch = {
    name: "x",
    file: "f",
    find: "a = 1",
    replace: "a = 2",
    why: "",
    profile: "raft",
  } as const;
  assert.deepEqual(applyPatch("let a = 1;", patch), { ok: true, value: "let a = 2;" });
  assert.match(JSON.stringify(applyPatch("let b = 1;", patch)), /not there/);
  assert.match(JSON.stringify(applyPatch("a = 1; a = 1;", patch)), /more than once/);
});
