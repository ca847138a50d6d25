import assert from "node:assert/strict";
import { PassThrough, Writable } from "node:stream";
import { test } from "node:test";
import { LIMITS } from "../limits.ts";
import { Inlet, Outlet } from "./embedded-ports.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("an inlet gives the guest what it has room for, and stops reading beyond its bound", async () => {
  const source = new PassThrough({ highWaterMark: 1 << 24 });
  const given: string[] = [];
  let told = 0;
  const inlet = new Inlet(
    source,
    (data) => given.push(Buffer.from(data).toString()),
    () => (told += 1),
  );
  source.write("hello");
  await turn();
  assert.equal(told, 1);
  inlet.flush();
  assert.deepEqual(given, []);
  inlet.grant(3);
  inlet.flush();
  inlet.grant(100);
  inlet.flush();
  assert.deepEqual(given, ["hel", "lo"]);

  const chunk = "x".repeat(LIMITS.embeddedInputBytes);
  for (let i = 0; i < 3; i++) source.write(chunk);
  await turn();
  assert.equal(source.isPaused(), true);
  inlet.grant(2 * chunk.length);
  while (given.join("").length < 5 + 98 + 2 * chunk.length) {
    inlet.flush();
    await turn();
  }
  inlet.grant(chunk.length);
  for (let i = 0; i < 3; i++) {
    inlet.flush();
    await turn();
  }
  assert.equal(given.join(""), `hello${chunk}${chunk}${chunk}`);
  assert.equal(source.isPaused(), false);
});

test("an outlet nobody reads is blocked until somebody does, or is gone", () => {
  let pass = (): void => undefined;
  const sink = new Writable({
    highWaterMark: 1024,
    write: (_chunk, _encoding, done) => {
      pass = done;
    },
  });
  let room = 0;
  const outlet = new Outlet(sink, () => (room += 1));
  outlet.write(new Uint8Array(2048));
  assert.equal(outlet.blocked, false, "little waits");
  outlet.write(new Uint8Array(LIMITS.embeddedOutputBytes));
  assert.equal(outlet.blocked, true);
  pass();
  sink.destroy();
  outlet.write(new Uint8Array(1));
  assert.equal(outlet.blocked, false);
});
