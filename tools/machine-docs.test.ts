/** docs/machine.md shows what the code produces now. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DOCUMENT, machineBlocks, shownBlocks, withBlocks } from "./machine-docs.ts";
import { ROOT } from "./run.ts";

const UPDATE = "run: node --conditions=source tools/machine-docs.ts --write";
const document = readFileSync(join(ROOT, DOCUMENT), "utf8");

test("every block of the document is what the code produces", () => {
  const blocks = machineBlocks();
  const shown = shownBlocks(document);
  assert.deepEqual([...shown.keys()].sort(), [...blocks.keys()].sort(), "blocks by name");
  for (const [name, text] of shown) assert.equal(text, blocks.get(name), `${name}: ${UPDATE}`);
});

test("every mark in the document is followed by a block", () => {
  const marks = [...document.matchAll(/<!-- shown: ([^>]*?) -->/g)].map((match) => match[1]);
  assert.deepEqual(marks, [...shownBlocks(document).keys()]);
});

test("a block that is out of date is found, and brought up to date", () => {
  const [name, text] = [...machineBlocks()][0] ?? assert.fail("no blocks");
  const block = `\`\`\`text\n${text} no more\n\`\`\``;
  const stale = `before\n\n<!-- shown: ${name} -->\n\n${block}\n\nafter\n`;
  assert.notEqual(shownBlocks(stale).get(name), text);
  const fresh = withBlocks(stale, new Map([[name, text]]));
  assert.equal(shownBlocks(fresh).get(name), text);
  assert.match(fresh, /^before\n[\s\S]*\nafter\n$/);
});
