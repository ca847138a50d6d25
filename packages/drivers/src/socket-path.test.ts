import assert from "node:assert/strict";
import { test } from "node:test";
import { BlixardError } from "@blixard/std";
import { LIMITS } from "./limits.ts";
import { socketPath } from "./socket-path.ts";

test("the socket lives in the folder while its path fits", () => {
  assert.equal(socketPath("/data/instances/ab"), "/data/instances/ab/sup.sock");
  const longest = `/${"d".repeat(LIMITS.socketPathBytes - "/sup.sock".length - 1)}`;
  assert.equal(socketPath(longest), `${longest}/sup.sock`);
});

test("a path that is too long moves to the temporary folder, the same for the same folder", () => {
  const folder = `/${"d".repeat(LIMITS.socketPathBytes)}`;
  const path = socketPath(folder, "/tmp");
  assert.match(path, /^\/tmp\/blx-[0-9a-f]{16}\.sock$/);
  assert.equal(socketPath(folder, "/tmp"), path);
  assert.notEqual(socketPath(`${folder}x`, "/tmp"), path);
  // 60 three-byte letters: the limit counts bytes, not letters.
  assert.match(socketPath(`/${"€".repeat(60)}`, "/tmp"), /^\/tmp\/blx-/);
});

test("where even that does not fit, the error says how long it may be", () => {
  const folder = `/${"d".repeat(200)}`;
  assert.throws(
    () => socketPath(folder, folder),
    (error) =>
      error instanceof BlixardError && error.code === "TooLarge" && /107/.test(error.message),
  );
});
