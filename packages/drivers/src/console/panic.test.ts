import assert from "node:assert/strict";
import { test } from "node:test";
import { PanicWatch } from "./panic.ts";

test("a panic is found however its line is cut, made harmless, and the first one counts", () => {
  const watch = new PanicWatch();
  const feed = (text: string): void => watch.push(Buffer.from(text));
  feed("[    1.0] fine\r\n[    2.0] Kernel panic - not sy");
  assert.equal(watch.found, undefined);
  feed("ncing: \x1b[31mAttempted to kill init!\r");
  assert.equal(watch.found, undefined, "the line goes on");
  feed("\n[    3.0] Kernel panic - not syncing: second\n");
  assert.equal(watch.found, "[31mAttempted to kill init!");
  const long = new PanicWatch();
  long.push(
    Buffer.from(`${"a".repeat(100_000)}\nKernel panic - not syncing: ${"b".repeat(999)}\n`),
  );
  assert.match(long.found ?? "", /^b{200}$/);
});
