import assert from "node:assert/strict";
import { test } from "node:test";
import { BlixardError } from "@blixard/std";
import { LIMITS } from "./limits.ts";
import { Questions } from "./questions.ts";

const refused = (code: string) => (error: unknown) =>
  error instanceof BlixardError && error.code === code;

test("answers find their questions in any order; late and unknown ones are dropped", async () => {
  const questions = new Questions<string>("it");
  const ids: number[] = [];
  const asked = [1, 2].map(() => questions.ask((id) => ids.push(id)));
  const [first = 0, second = 0] = ids;
  questions.answer(second, "b");
  questions.answer(99, "nobody");
  questions.answer(first, "a");
  assert.deepEqual(await Promise.all(asked), ["a", "b"]);
  questions.answer(first, "again");
  await assert.rejects(
    questions.ask((id) => questions.refuse(id, new Error("no"))),
    /no/,
  );
});

test("no answer is TimedOut, too many questions Unavailable, the end is told to all", async () => {
  const questions = new Questions<string>("it");
  await assert.rejects(
    questions.ask(() => undefined, 1),
    refused("TimedOut"),
  );
  const waiting = Array.from({ length: LIMITS.statsWaiting }, () =>
    questions.ask(() => undefined, 60_000),
  );
  await assert.rejects(
    questions.ask(() => undefined),
    refused("Unavailable"),
  );
  questions.end(new Error("over"));
  for (const one of await Promise.allSettled(waiting)) assert.equal(one.status, "rejected");
  await assert.rejects(
    questions.ask(() => undefined),
    /over/,
  );
});
