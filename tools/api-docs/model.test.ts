import assert from "node:assert/strict";
import { test } from "node:test";

import { codeBlocks, describedUnions, examples, exportsOf, unreachable } from "./model.ts";

const text = (words: string) => [{ kind: "text", text: words }];
const reference = (name: string, target: unknown, of = "@blixard/std") => ({
  type: "reference",
  name,
  target,
  package: of,
});
const model = {
  name: "Project",
  children: [
    {
      name: "Thing",
      kind: 128,
      children: [{ name: "at", kind: 1024, type: reference("Term", 7) }],
    },
    { name: "make", kind: 64, signatures: [{ type: reference("Lost", { fileName: "lost.ts" }) }] },
    { name: "Foreign", kind: 256, extendedTypes: [reference("Error", {}, "typescript")] },
    {
      name: "Told",
      kind: 2097152,
      type: { type: "union", types: [{}, {}], elementSummaries: [text("one"), text("two")] },
      comment: { blockTags: [{ tag: "@example", content: text("```ts\nmake();\n```") }] },
    },
    {
      name: "Half",
      kind: 2097152,
      type: { type: "union", types: [{}, {}], elementSummaries: [text("one"), []] },
    },
    { name: "Silent", kind: 2097152, type: { type: "union", types: [{}, {}] } },
  ],
};

test("a type of ours that is mentioned and not exported is found", () => {
  assert.deepEqual(unreachable(model), [
    "make mentions Lost of @blixard/std, which is not exported",
  ]);
});

test("a union is described only where each member is", () => {
  assert.deepEqual([...describedUnions(model)], ["Told"]);
});

test("examples come with the name of what they explain", () => {
  assert.deepEqual(examples(model), [{ of: "Told", text: "make();\n" }]);
  assert.deepEqual(codeBlocks("a\n```ts\n1;\n```\nb\n```sh\nls\n```\n```ts\n2;\n```"), [
    "1;\n",
    "2;\n",
  ]);
});

test("values and types are told apart, since they are imported apart", () => {
  assert.deepEqual(exportsOf(model), {
    values: ["Thing", "make"],
    types: ["Foreign", "Told", "Half", "Silent"],
  });
});
