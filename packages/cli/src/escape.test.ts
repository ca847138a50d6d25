import assert from "node:assert/strict";
import { test } from "node:test";
import { EscapeFilter } from "./escape.ts";

/** What passes when these chunks are typed, and how often the person wanted to leave. */
async function typed(
  active: boolean,
  ...chunks: string[]
): Promise<{ text: string; left: number; helped: number }> {
  let [left, helped] = [0, 0];
  const filter = new EscapeFilter(
    active,
    () => (left += 1),
    () => (helped += 1),
  );
  for (const chunk of chunks) filter.write(chunk);
  filter.end();
  let text = "";
  for await (const chunk of filter) text += String(chunk);
  return { text, left, helped };
}

test("~. leaves at the beginning of a line only, also when its keys come apart", async () => {
  assert.deepEqual(await typed(true, "~."), { text: "", left: 1, helped: 0 });
  assert.deepEqual(await typed(true, "ls\r", "~", ".", "x"), { text: "ls\rx", left: 1, helped: 0 });
  assert.deepEqual(await typed(true, "a~."), { text: "a~.", left: 0, helped: 0 });
  assert.deepEqual(await typed(true, "ls ~/x\n~.rest"), { text: "ls ~/x\n", left: 1, helped: 0 });
});

test("a tilde that leads nowhere is typed; ~~ is one", async () => {
  assert.deepEqual(await typed(true, "~", "/x\r"), { text: "~/x\r", left: 0, helped: 0 });
  assert.deepEqual(await typed(true, "~~.\r~\r~."), { text: "~.\r~\r", left: 1, helped: 0 });
});

test("what is not typed passes as it is", async () => {
  assert.deepEqual(await typed(false, "~.\n~."), { text: "~.\n~.", left: 0, helped: 0 });
});

test("~? asks for help and leaves the line as empty as it was", async () => {
  assert.deepEqual(await typed(true, "~?~?~", ".x"), { text: "", left: 1, helped: 2 });
  assert.deepEqual(await typed(true, "a~?\n~?b~?"), { text: "a~?\nb~?", left: 0, helped: 1 });
});
