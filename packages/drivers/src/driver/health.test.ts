import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../compliance-world.ts";
import { HealthWatch } from "./health.ts";

interface Agent {
  readonly watch: HealthWatch;
  readonly changes: boolean[];
  /** What the agent does with a question. */
  answer: () => Promise<unknown>;
  nowMs: number;
  asked: number;
}

function make(replyMs = 10_000): Agent {
  const agent: Omit<Agent, "watch"> = {
    changes: [],
    answer: () => Promise.resolve(),
    nowMs: 0,
    asked: 0,
  };
  const watch = new HealthWatch(
    { everyMs: 0, replyMs, unansweredMs: 1000 },
    {
      ask: () => {
        agent.asked++;
        return agent.answer();
      },
      onChange: () => agent.changes.push(watch.unresponsive),
      nowMs: () => agent.nowMs,
    },
  );
  return Object.assign(agent, { watch });
}

async function questions(agent: Agent, more: number): Promise<void> {
  const wanted = agent.asked + more;
  await until("questions", 60_000, () => Promise.resolve(agent.asked >= wanted || undefined));
}

test("unresponsive after the time without an answer, and back with the first one", async () => {
  const agent = make();
  await questions(agent, 3);
  agent.answer = () => Promise.reject(new Error("away"));
  await questions(agent, 5);
  assert.deepEqual(agent.changes, [], "not for long enough");
  agent.nowMs = 2000;
  await questions(agent, 3);
  assert.deepEqual(agent.changes, [true]);
  agent.answer = () => Promise.resolve();
  await questions(agent, 3);
  assert.deepEqual(agent.changes, [true, false]);
  agent.watch.stop();
  const { asked } = agent;
  // Another one, begun later, asks three times.
  const other = make();
  await questions(other, 3);
  other.watch.stop();
  assert.ok(agent.asked <= asked + 1, "nobody asks any more");
});

test("a pause of the asking computer is no silence of the guest's", async () => {
  const agent = make();
  await questions(agent, 2);
  agent.nowMs = 1_000_000;
  let misses = 0;
  agent.answer = () => (misses++ === 0 ? Promise.reject(new Error("late")) : Promise.resolve());
  await questions(agent, 4);
  assert.deepEqual(agent.changes, []);
  agent.watch.stop();
});

test("a question that never ends is one without an answer", async () => {
  const agent = make(1);
  agent.answer = () => new Promise(() => undefined);
  await questions(agent, 2);
  agent.nowMs = 5000;
  await until("told", 60_000, () => Promise.resolve(agent.changes[0]));
  agent.watch.stop();
});
