import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Change,
  type Command,
  type CommandResult,
  createControlState,
  encodeCommand,
  type NodeRecord,
} from "@blixard/control";
import { as, type CorrelationId, type NodeId } from "@blixard/std";
import { Violation } from "../world/world.ts";
import { GivenUp, type Holder, LeaseChecker } from "./lease-checker.ts";

const ID = as<NodeId>("1".padStart(32, "0"));
const finds = (invariant: string) => (thrown: unknown) =>
  thrown instanceof Violation && thrown.invariant === invariant;

// Safe: the checker reads these fields of a record alone.
const record = (state: NodeRecord["state"], leaseEpoch: number): NodeRecord =>
  ({ id: ID, name: "node-1", state, leaseEpoch }) as NodeRecord;

const expiry = (leaseEpoch: number, term: number): Command => ({
  kind: "expireLease",
  nodeId: ID,
  leaseEpoch,
  term,
});
const acquire: Command = { kind: "acquireLease", nodeId: ID, fromEpoch: 3 };

class Bench {
  holder: Holder | undefined = { epoch: undefined, executing: [], frozen: [] };
  readonly checker = new LeaseChecker(() => this.holder);
  #index = 0;

  apply(command: Command, term: number, before: NodeRecord, after: NodeRecord): void {
    const about = { correlationId: as<CorrelationId>("0".repeat(32)), proposedAtMs: 0 };
    const changes: Change[] = [{ kind: "node", id: ID, before, after }];
    const result: CommandResult = { ok: true, value: {}, changes };
    const data = encodeCommand(command, about);
    this.checker.applied({ index: ++this.#index, term, data }, result);
  }

  lose(command = expiry(3, 7), term = 7): void {
    this.apply(command, term, record("up", 3), record("lost", 3));
  }

  acquire(): void {
    this.apply(acquire, 7, record("lost", 3), record("up", 4));
  }
}

test("what is lost runs nothing and holds nothing; what sleeps does not execute", () => {
  const bench = new Bench();
  bench.holder = { epoch: undefined, executing: ["a"], frozen: [] };
  assert.throws(() => bench.lose(), finds("a lost node runs nothing"));
  bench.holder = { epoch: 3, executing: [], frozen: [] };
  assert.throws(() => bench.lose(), finds("a lost node holds no lease"));
  bench.holder = { epoch: undefined, executing: [], frozen: ["a"] };
  bench.lose();
  bench.holder = undefined;
  bench.lose();
});

test("an expiry is of the term and the epoch that it was decided in", () => {
  const bench = new Bench();
  assert.throws(() => bench.lose(expiry(3, 6)), finds("a lease ends as it was given up"));
  assert.throws(() => bench.lose(expiry(2, 7)), finds("a lease ends as it was given up"));
  assert.throws(() => bench.lose(acquire), finds("leases run out"));
});

test("a new epoch begins where nothing runs, asleep or not", () => {
  const bench = new Bench();
  bench.acquire();
  bench.holder = { epoch: undefined, executing: [], frozen: ["a"] };
  assert.throws(() => bench.acquire(), finds("a lease begins where nothing runs"));
});

test("an epoch that is over is not held again; each entry is looked at once", () => {
  const bench = new Bench();
  bench.checker.extended(ID, 1);
  bench.lose();
  assert.throws(() => bench.checker.extended(ID, 3), finds("a lease that is over is not held"));
  bench.checker.extended(ID, 4);
  bench.checker.applied(
    { index: 1, term: 7, data: new Uint8Array() },
    { ok: true, value: {}, changes: [] },
  );
});

test("renewals are as recorded, and not of what is being given up", () => {
  const bench = new Bench();
  const granted = { kind: "granted", nodeId: ID, requestId: 1, leaseEpoch: 3 } as const;
  const none = createControlState();
  assert.throws(
    () => bench.checker.granted(granted, none),
    finds("leases are renewed as recorded"),
  );
  const given = new GivenUp();
  given.granted(granted, 7);
  given.proposed(acquire);
  given.proposed(expiry(3, 7));
  given.granted(granted, 8);
  given.granted({ ...granted, leaseEpoch: 4 }, 7);
  assert.throws(() => given.granted(granted, 7), finds("what is given up is not renewed"));
});
