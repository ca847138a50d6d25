import assert from "node:assert/strict";
import { test } from "node:test";

import { as } from "@blixard/std";
import type { PeerId, Term } from "@blixard/std";
import type { Message } from "@blixard/raft";

import { Outbox } from "./outbox.ts";

function message(term: number): Message {
  const one = as<PeerId>(1);
  return { kind: "voteReply", to: one, from: one, term: as<Term>(term), granted: true };
}

test("no message leaves before the write that it names is durable", () => {
  const sent: number[] = [];
  const outbox = new Outbox(({ term }) => void sent.push(term));
  outbox.add([
    { message: message(1), after: 2 },
    { message: message(2), after: 0 },
    { message: message(3), after: 1 },
  ]);
  assert.deepEqual(sent, [2]);
  outbox.onDurable(1);
  assert.deepEqual(sent, [2, 3]);
  outbox.add([{ message: message(4), after: 2 }]);
  outbox.add([{ message: message(5), after: 1 }]);
  assert.deepEqual(sent, [2, 3, 5]);
  outbox.onDurable(2);
  assert.deepEqual(sent, [2, 3, 5, 1, 4]);
  outbox.onDurable(3);
  assert.equal(sent.length, 5);
});
