/** When gathered proposals go: full, the log at rest, or of age. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { as, utf8, utf8Text } from "@blixard/std";
import type { LogIndex, PeerId, Term } from "@blixard/std";

import { PROPOSAL_BATCH_COUNT } from "../limits.ts";
import { Proposals } from "./proposals.ts";

const SELF = as<PeerId>(1);

/** A leader whose log is busy as long as the test says so. */
class World {
  isBusy = true;
  readonly batches: string[][] = [];
  readonly timers: (() => void)[] = [];
  readonly proposals: Proposals<number>;
  #last = 0;

  constructor() {
    this.proposals = new Proposals<number>(
      {
        life: 1,
        leader: () => ({ peer: SELF, term: as<Term>(1) }),
        isLogBusy: () => this.isBusy,
        later: (run) => void this.timers.push(run),
        wake: () => this.proposals.dispatch(0),
        send: () => false,
        appendHere: (_kind, entries) => {
          this.batches.push(entries.map(utf8Text));
          this.#last += entries.length;
          return { lastIndex: as<LogIndex>(this.#last) };
        },
      },
      SELF,
    );
  }

  propose(text: string): void {
    const done = (): void => undefined;
    this.proposals.add({ kind: "command", data: utf8(text), deadlineMs: Infinity, done });
    this.proposals.dispatch(0);
  }

  pass(): void {
    for (const run of this.timers.splice(0)) run();
  }
}

test("proposals gather while the log is busy, and go when they are of age", () => {
  const world = new World();
  world.propose("a");
  world.propose("b");
  assert.deepEqual(world.batches, []);
  assert.equal(world.timers.length, 1, "one watch for all that gather");
  world.pass();
  assert.deepEqual(world.batches, [["a", "b"]]);
  world.propose("c");
  assert.equal(world.batches.length, 1, "the next ones gather anew");
});

test("what came after the watch began waits for one of its own", () => {
  const world = new World();
  world.propose("a");
  world.isBusy = false;
  world.proposals.dispatch(0);
  world.isBusy = true;
  world.propose("b");
  world.pass();
  assert.deepEqual(world.batches, [["a"]]);
  world.pass();
  assert.deepEqual(world.batches, [["a"], ["b"]]);
});

test("a full batch waits for nothing", () => {
  const world = new World();
  for (let i = 0; i <= PROPOSAL_BATCH_COUNT; i++) world.propose(`${i}`);
  assert.equal(world.batches[0]?.length, PROPOSAL_BATCH_COUNT);
  assert.equal(world.batches.length, 1);
});
