import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Prng } from "@blixard/std";
import { check, checkModel } from "./check.ts";
import { generate } from "./generate.ts";
import { decodeHistories, encodeHistories, type StoredHistory } from "./history.ts";
import { type ModelName, MODELS, registerModel } from "./models.ts";
import { Recorder } from "./recorder.ts";
import { spoil } from "./spoil.ts";
import { storedHistories } from "./stored.ts";

const DIR = new URL("../../testdata/histories/", import.meta.url);
const MODEL_NAMES: readonly ModelName[] = ["register", "kv", "vm", "list", "counter"];

function textOf(name: string): string {
  return readFileSync(new URL(`${name}.jsonl`, DIR), "utf8");
}

function stored(name: string): StoredHistory[] {
  const decoded = decodeHistories(textOf(name));
  assert.ok(decoded.ok, decoded.ok ? "" : decoded.error);
  return decoded.value;
}

test("every stored history has the verdict that it is stored with", () => {
  const all = ["classic", ...MODEL_NAMES].flatMap(stored);
  const bad = all.filter(({ expected }) => expected === "illegal");
  assert.ok(all.length >= 100 && bad.length >= 50, `${all.length}, of them ${bad.length} bad`);
  for (const { name, expected, history } of all) {
    assert.equal(check(history).kind, expected, name);
  }
});

test("the stored histories are what the generator writes", () => {
  for (const model of MODEL_NAMES) {
    assert.equal(encodeHistories(storedHistories(model)), textOf(model), model);
  }
});

test("larger histories are found good, and every spoiled one of them bad", () => {
  const kinds = new Set<string>();
  for (const model of MODEL_NAMES) {
    for (let seed = 1; seed <= 20; seed++) {
      const random = new Prng(seed);
      const shape = { operations: 150, clients: 6, keys: 3, lost: 0.02, longest: 30 };
      const history = generate(model, random, shape);
      assert.equal(check(history).kind, "ok", `${model} ${seed}`);
      for (const { kind, history: spoiled } of spoil(history, random)) {
        assert.equal(check(spoiled).kind, "illegal", `${model} ${seed} ${kind}`);
        kinds.add(`${model} ${kind}`);
      }
    }
  }
  assert.equal(kinds.size, 4 + 4 + 4 + 4 + 3, [...kinds].join(", "));
});

test("a bad history is told with its offender, the longest order and what was open", () => {
  const [found] = stored("classic").filter(({ name }) => name === "knossos-two-winners");
  assert.ok(found);
  const verdict = check(found.history);
  assert.ok(verdict.kind === "illegal");
  assert.equal(
    verdict.report,
    [
      "not linearizable (model register): when this was answered, no order of what was sent " +
        "before explained all answers:",
      '  c2 cas {"from":1,"to":3} -> true [2, 9]',
      "the longest order without it (2 of 4 operations):",
      '  c0 write {"value":1} -> true [0, 1]',
      '  c1 cas {"from":1,"to":2} -> true [2, 9]',
      "after that it would have been answered: false",
    ].join("\n"),
  );
});

test("too few steps, or too little memory, is neither good nor bad", () => {
  const shape = { operations: 60, clients: 8, keys: 1, lost: 0, longest: 40 };
  const history = generate("register", new Prng(3), shape);
  const [spoiled] = spoil(history, new Prng(1));
  assert.ok(spoiled);
  const few = check(spoiled.history, { stepsMax: 20, configurationsMax: 1e6 });
  assert.equal(few.kind === "unknown" && few.limit, "steps");
  const small = check(history, { stepsMax: 1e6, configurationsMax: 5 });
  assert.equal(small.kind === "unknown" && small.limit, "configurations");
});

test("the recorder keeps the order of what happened, and what was lost", () => {
  const recorder = new Recorder<{ f: "read" } | { f: "write"; value: number }, number | boolean>();
  const write = recorder.begin(1, { f: "write", value: 5 });
  const read = recorder.begin(2, { f: "read" });
  recorder.end(read, 5);
  recorder.lost(write);
  recorder.refused(recorder.begin(1, { f: "write", value: 6 }));
  recorder.begin(3, { f: "write", value: 7 });
  const operations = recorder.operations();
  assert.deepEqual(
    operations.map(({ client, call, return: end }) => [client, call, end]),
    [
      [1, 0, undefined],
      [2, 1, 2],
      [3, 4, undefined],
    ],
  );
  assert.equal(checkModel(registerModel, operations).kind, "ok");
  recorder.end(recorder.begin(2, { f: "read" }), 6);
  assert.equal(checkModel(registerModel, recorder.operations()).kind, "illegal");
});

test("a file of histories that is not one is refused, and says why", () => {
  const [header, first] = textOf("classic").split("\n");
  const wrong: readonly (readonly [string, RegExp])[] = [
    ["", /not a file of histories/],
    ["{", /JSON/],
    ['{"magic":"blixard-history","version":2,"count":0}', /version 2/],
    [`${header}\n${first}`, /lines/],
    ['{"magic":"blixard-history","version":1,"count":1}\n{}', /array/],
    ['{"magic":"blixard-history","version":1,"count":1}\n[1]', /name/],
    ['{"magic":"blixard-history","version":1,"count":1}\n["a","so"]', /expected/],
    ['{"magic":"blixard-history","version":1,"count":1}\n["a","ok","queue",[]]', /queue/],
    ['{"magic":"blixard-history","version":1,"count":1}\n["a","ok","kv",3]', /operations/],
    ['{"magic":"blixard-history","version":1,"count":1}\n["a","ok","kv",[[0,1]]]', /no kv/],
  ];
  for (const [text, reason] of wrong) {
    const decoded = decodeHistories(text);
    assert.match(decoded.ok ? "ok" : decoded.error, reason);
  }
});

test("no model takes another model's operations or answers", () => {
  for (const model of Object.values(MODELS)) {
    for (const input of [null, 3, [], {}, { f: "push" }, { f: "write", value: "x" }]) {
      assert.equal(model.parseInput(input), undefined, model.name);
    }
  }
  const rows: readonly (readonly [ModelName, unknown, unknown])[] = [
    ["register", { f: "read" }, "x"],
    ["register", { f: "write", value: 1 }, 1],
    ["register", { f: "cas", from: 1, to: 2 }, null],
    ["kv", { f: "get", key: "a" }, 3],
    ["kv", { f: "put", key: "a", value: "b" }, false],
    ["kv", { f: "delete", key: "a" }, null],
    ["list", { f: "append", key: "a", value: 1 }, false],
    ["list", { f: "read", key: "a" }, ["x"]],
    ["counter", { f: "read" }, null],
    ["vm", { f: "get", vm: "a" }, "gone"],
    ["vm", { f: "get", vm: "a" }, { revision: "1" }],
    ["vm", { f: "get", vm: "a" }, { value: 1 }],
  ];
  for (const [model, input, output] of rows) {
    const line = JSON.stringify(["x", "ok", model, [[0, 0, 1, input, output]]]);
    const text = `{"magic":"blixard-history","version":1,"count":1}\n${line}\n`;
    assert.equal(decodeHistories(text).ok, false, line);
  }
});
