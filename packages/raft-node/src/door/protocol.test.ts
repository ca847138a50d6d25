import assert from "node:assert/strict";
import { test } from "node:test";

import { FrameCutter } from "./frames.ts";
import {
  decodeError,
  decodeHello,
  decodeWelcome,
  encodeError,
  encodeHello,
  encodeWelcome,
} from "./protocol.ts";

test("hello and welcome come back from their bytes, and from nothing else", () => {
  const hello = encodeHello("token").slice();
  for (let length = 0; length < hello.length; length++) {
    assert.deepEqual(decodeHello(hello.subarray(0, length), 100), { ok: true, value: undefined });
  }
  const read = decodeHello(hello, 100);
  assert.ok(read.ok && read.value !== undefined);
  assert.equal(new TextDecoder().decode(read.value.token), "token");
  assert.equal(decodeHello(hello, 4).ok, false);
  const other = hello.slice();
  other[4] = 9;
  assert.equal(decodeHello(other, 100).ok, false);
  const welcome = { isWelcome: true, member: 3, leader: 2 };
  const bytes = encodeWelcome(welcome).slice();
  assert.deepEqual(decodeWelcome(bytes), { ok: true, value: welcome });
  bytes[5] = 7;
  assert.equal(decodeWelcome(bytes).ok, false);
});

test("an error of an unknown code is an unknown outcome", () => {
  const error = { code: "NotLeader", leader: 0 } as const;
  assert.deepEqual(decodeError(encodeError(error)), error);
  for (const text of ['{"code":"New"}', "[]", "null", "nonsense"]) {
    assert.equal(decodeError(new TextEncoder().encode(text)).code, "Timeout");
  }
});

test("frames are cut the same however the bytes arrive", () => {
  const stream = new Uint8Array([3, 0, 0, 0, 1, 2, 3, 2, 0, 0, 0, 8, 9, 4, 0, 0, 0, 5, 5, 5, 5]);
  for (let size = 1; size <= stream.length; size++) {
    const cutter = new FrameCutter(2, 4);
    const frames: string[] = [];
    for (let at = 0; at < stream.length; at += size) {
      const pushed = cutter.push(stream.slice(at, at + size), (frame) => frames.push(frame.join()));
      assert.ok(pushed.ok);
    }
    assert.deepEqual(frames, ["1,2,3", "8,9", "5,5,5,5"]);
  }
  for (const length of [1, 5]) {
    const cutter = new FrameCutter(2, 4);
    assert.equal(cutter.push(new Uint8Array([length, 0, 0, 0]), () => undefined).ok, false);
  }
});
