import assert from "node:assert/strict";
import { test } from "node:test";

import { as } from "@blixard/std";
import type { LogIndex, PeerId, Term } from "@blixard/std";
import type { StepError } from "@blixard/raft";

import { FORWARDS_REMEMBERED } from "../limits.ts";
import type { Envelope, ForwardItem, ForwardOutcome } from "./envelope.ts";
import { Forwards } from "./forwards.ts";

const FROM = as<PeerId>(2);
const TERM = as<Term>(5);

class Log {
  readonly entries: string[] = [];
  refusal: StepError | undefined;

  readonly appendHere = (
    kind: "command" | "config",
    entries: readonly Uint8Array[],
  ): { readonly lastIndex: LogIndex } | StepError => {
    if (this.refusal !== undefined) return this.refusal;
    for (const data of entries) this.entries.push(`${kind}${data[0] ?? 0}`);
    return { lastIndex: as<LogIndex>(this.entries.length) };
  };
}

function item(id: number, kind: "command" | "config" = "command", bytes = 1): ForwardItem {
  return { id, kind, data: new Uint8Array(bytes).fill(id) };
}

function ask(
  forwards: Forwards,
  items: readonly ForwardItem[],
  options: { leads?: boolean; term?: Term; life?: number } = {},
): readonly ForwardOutcome[] {
  const { leads = true, term = TERM, life = 1 } = options;
  const reply: Envelope = forwards.answer(FROM, { kind: "forward", life, term, items }, leads);
  assert(reply.kind === "forwardReply" && reply.life === life && reply.term === term);
  return reply.outcomes;
}

function elected(log: Log): Forwards {
  const forwards = new Forwards(log, 100);
  forwards.onElected(TERM);
  return forwards;
}

test("items are appended in order, each membership change by itself", () => {
  const log = new Log();
  const outcomes = ask(elected(log), [item(1), item(2), item(3, "config"), item(4), item(5)]);
  assert.deepEqual(log.entries, ["command1", "command2", "config3", "command4", "command5"]);
  assert.deepEqual(
    outcomes.map((outcome) => (outcome.kind === "accepted" ? [outcome.id, outcome.index] : [])),
    [1, 2, 3, 4, 5].map((id) => [id, id]),
  );
});

test("what was answered once is answered the same again, and appended once", () => {
  const log = new Log();
  const forwards = elected(log);
  log.refusal = { code: "Overloaded" };
  const refused = ask(forwards, [item(1)]);
  assert.deepEqual(refused, [{ id: 1, kind: "rejected", retry: true, reason: "Overloaded" }]);
  log.refusal = undefined;
  assert.deepEqual(ask(forwards, [item(1)]), refused, "a late copy of a refused one stays refused");
  const accepted = ask(forwards, [item(2)]);
  assert.deepEqual(ask(forwards, [item(2)]), accepted);
  assert.deepEqual(
    ask(forwards, [item(2)], { leads: false }),
    accepted,
    "also after stepping down",
  );
  assert.deepEqual(log.entries, ["command2"]);
  assert.equal(ask(forwards, [item(2)], { life: 2 })[0]?.kind, "accepted", "another life's own 2");
});

test("what can never be taken is refused for good", () => {
  const log = new Log();
  const forwards = elected(log);
  const [large] = ask(forwards, [item(1, "command", 101)]);
  assert.deepEqual(large, { id: 1, kind: "rejected", retry: false, reason: "too large" });
  log.refusal = { code: "InvalidConfChange", reason: "7 is not a member" };
  assert.deepEqual(ask(forwards, [item(2, "config")]), [
    { id: 2, kind: "rejected", retry: false, reason: "7 is not a member" },
  ]);
  assert.deepEqual(ask(forwards, [item(3)], { leads: false }), [
    { id: 3, kind: "rejected", retry: true, reason: "not the leader any more" },
  ]);
});

test("about a term that this process did not lead it promises nothing", () => {
  const log = new Log();
  const restarted = new Forwards(log, 100);
  assert.deepEqual(ask(restarted, [item(1)]), [{ id: 1, kind: "unknown" }]);
  const forwards = elected(log);
  forwards.onElected(as<Term>(6));
  assert.deepEqual(ask(forwards, [item(1)]), [{ id: 1, kind: "unknown" }]);
  assert.deepEqual(log.entries, []);
});

test("memory is bounded, and what was forgotten is never appended again", () => {
  const log = new Log();
  const forwards = elected(log);
  const count = FORWARDS_REMEMBERED + 10;
  for (let id = 1; id <= count; id += 100) {
    ask(
      forwards,
      Array.from({ length: Math.min(100, count - id + 1) }, (_, i) => item(id + i)),
    );
  }
  const before = log.entries.length;
  assert.equal(before, count);
  assert.deepEqual(ask(forwards, [item(1), item(10)]), []);
  assert.equal(ask(forwards, [item(11)])[0]?.kind, "accepted");
  assert.equal(log.entries.length, before);
  for (let life = 2; life < 200; life++) ask(forwards, [item(1)], { life });
});
