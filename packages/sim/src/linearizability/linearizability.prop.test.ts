/** The checker against the definition, on histories small enough to try every order. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "@blixard/std";
import { check, checkModel } from "./check.ts";
import { generate } from "./generate.ts";
import type { History } from "./history.ts";
import type { Model, Operation } from "./model.ts";
import { type ModelName, MODELS } from "./models.ts";
import { spoil } from "./spoil.ts";
import { isLinearizable } from "./testing/oracle.ts";

const MODEL_NAMES: readonly ModelName[] = ["register", "kv", "vm", "list", "counter"];

function oracle(history: History): boolean {
  // The operations of a history are of its model.
  const model = MODELS[history.model] as Model<unknown, unknown, unknown>;
  const parts = new Map<string, Operation<unknown, unknown>[]>();
  for (const operation of history.operations) {
    const name = model.partition(operation.input);
    parts.set(name, [...(parts.get(name) ?? []), operation]);
  }
  return [...parts.values()].every((part) => isLinearizable(model, part));
}

/** As the oracle does, in one partition: what the checker makes of operations of any kind. */
function verdictOf(history: History): string {
  return check(history).kind;
}

test("what is spoiled is certainly bad, and what is generated good, by trying every order", () => {
  const kinds = new Set<string>();
  for (const model of MODEL_NAMES) {
    for (let seed = 1; seed <= 150; seed++) {
      const random = new Prng(seed);
      const shape = { operations: 7, clients: 3, keys: 2, lost: 0.1, longest: 12 };
      const history = generate(model, random, shape);
      assert.ok(oracle(history), `${model} ${seed}`);
      assert.equal(verdictOf(history), "ok", `${model} ${seed}`);
      for (const { kind, history: spoiled } of spoil(history, random)) {
        assert.ok(!oracle(spoiled), `${model} ${seed} ${kind}`);
        assert.equal(verdictOf(spoiled), "illegal", `${model} ${seed} ${kind}`);
        kinds.add(`${model} ${kind}`);
      }
    }
  }
  assert.equal(kinds.size, 4 + 4 + 4 + 4 + 3, [...kinds].join(", "));
});

/** Answers that may or may not fit: taken from other operations of the same history. */
function shuffled(history: History, random: Prng): History {
  const { model } = history;
  // Of the model, whatever it is: outputs only move between operations with the same function.
  const operations = history.operations as readonly Operation<{ f: string }, unknown>[];
  const moved = operations.map((operation) => {
    const same = operations.filter(
      (other) => other.input.f === operation.input.f && other.return !== undefined,
    );
    const other = same[random.below(Math.max(1, same.length))];
    if (operation.return === undefined || other === undefined || random.chance(0.6)) {
      return operation;
    }
    return { ...operation, output: other.output };
  });
  return { model, operations: moved } as unknown as History;
}

test("any small history has the verdict that trying every order gives", () => {
  const seen = { ok: 0, illegal: 0 };
  for (const model of MODEL_NAMES) {
    for (let seed = 1; seed <= 500; seed++) {
      const random = new Prng(seed);
      const shape = { operations: 7, clients: 4, keys: 1, lost: 0.2, longest: 20 };
      const history = shuffled(generate(model, random, shape), random);
      const expected = oracle(history) ? "ok" : "illegal";
      assert.equal(verdictOf(history), expected, `${model} ${seed} ${JSON.stringify(history)}`);
      seen[expected]++;
    }
  }
  assert.ok(seen.ok > 300 && seen.illegal > 300, JSON.stringify(seen));
});

test("the order of the operations in the list is of no account", () => {
  const random = new Prng(9);
  const shape = { operations: 30, clients: 5, keys: 1, lost: 0.1, longest: 20 };
  const history = generate("register", random, shape);
  assert.ok(history.model === "register");
  const turned = history.operations.toReversed();
  assert.equal(checkModel(MODELS.register, turned).kind, "ok");
});
