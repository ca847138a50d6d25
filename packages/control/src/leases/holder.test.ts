import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_LEASE_OPTIONS, LEASE_REQUESTS_MAX } from "../limits.ts";
import {
  createHolder,
  heldLease,
  holderReply,
  holderTick,
  type HolderEffect,
  type LeaseHolder,
} from "./holder.ts";

const at = (ms: number, over: object = {}) => ({ monotonicMs: ms, bootMs: ms, ...over });
const kinds = (effects: readonly HolderEffect[]): string[] => effects.map(({ kind }) => kind);
const granted = (requestId: number, leaseEpoch = 1) =>
  ({ kind: "granted", requestId, leaseEpoch }) as const;
const refused = (requestId: number, leaseEpoch: number, currentEpoch: number) =>
  ({ kind: "refused", requestId, leaseEpoch, currentEpoch, reason: "lost" }) as const;

/** Holds lease epoch 1: request 1 was sent at 0 and granted. */
function held(): LeaseHolder {
  const holder = createHolder();
  holderTick(holder, at(0, { leaseEpoch: 0 }));
  const [renew] = holderTick(holder, at(0, { leaseEpoch: 1 }));
  assert.deepEqual(renew, { kind: "sendRenew", requestId: 1, leaseEpoch: 1, sentAtMs: 0 });
  assert.deepEqual(holderReply(holder, granted(1)), [
    { kind: "extend", deadlineMonotonicMs: 4500, deadlineBootMs: 4500, leaseEpoch: 1 },
  ]);
  return holder;
}

test("a fresh node acquires from its record's epoch, again while nothing comes of it", () => {
  const holder = createHolder();
  assert.deepEqual(holderTick(holder, at(0)), [], "no record yet");
  const ask = [{ kind: "acquire", fromEpoch: 4 }];
  assert.deepEqual(holderTick(holder, at(10, { leaseEpoch: 4 })), ask);
  assert.deepEqual(holderTick(holder, at(500, { leaseEpoch: 4 })), [], "asked just now");
  assert.deepEqual(holderTick(holder, at(1010, { leaseEpoch: 4 })), ask);
  const renew = holderTick(holder, at(1100, { leaseEpoch: 5 }));
  assert.deepEqual(kinds(renew), ["sendRenew"]);
  assert.equal(heldLease(holder, at(1100)), undefined, "nothing runs before the first grant");
});

test("acquire is held back while anything still runs", () => {
  const holder = createHolder();
  assert.deepEqual(holderTick(holder, at(0, { leaseEpoch: 0, runningVms: 2 })), []);
  assert.deepEqual(kinds(holderTick(holder, at(1, { leaseEpoch: 0, runningVms: 0 }))), ["acquire"]);
});

test("a grant counts from the sending of its request, however late it comes", () => {
  const holder = held();
  holderTick(holder, at(1000));
  holderTick(holder, at(2000));
  assert.deepEqual(holderReply(holder, granted(2)), [
    { kind: "extend", deadlineMonotonicMs: 5500, deadlineBootMs: 5500, leaseEpoch: 1 },
  ]);
  assert.deepEqual(heldLease(holder, at(5499)), { epoch: 1, deadlineMonotonicMs: 5500 });
  assert.equal(heldLease(holder, at(5500)), undefined);
});

test("answers out of order never move the deadline back; each counts once", () => {
  const holder = held();
  holderTick(holder, at(1000));
  holderTick(holder, at(2000));
  assert.equal(kinds(holderReply(holder, granted(3)))[0], "extend");
  assert.deepEqual(holderReply(holder, granted(2)), [], "overtaken");
  assert.deepEqual(holderReply(holder, granted(3)), [], "a duplicate");
  assert.deepEqual(holderReply(holder, granted(77)), [], "never sent");
  assert.deepEqual(holderReply(holder, granted(3, 2)), [], "another epoch");
  assert.equal(holder.deadline?.monotonicMs, 6500);
});

test("without grants the VMs are killed at the deadline, then a new epoch is needed", () => {
  const holder = held();
  for (let ms = 500; ms < 4500; ms += 500) {
    assert.ok(!kinds(holderTick(holder, at(ms))).includes("expired"));
  }
  const [expired] = holderTick(holder, at(4500, { leaseEpoch: 1, runningVms: 1 }));
  assert.equal(expired?.kind, "expired");
  assert.equal(heldLease(holder, at(4500)), undefined);
  assert.deepEqual(holderReply(holder, granted(5)), [], "too late");
  assert.deepEqual(holderTick(holder, at(4600, { leaseEpoch: 1, runningVms: 1 })), []);
  assert.deepEqual(holderTick(holder, at(4700, { leaseEpoch: 1 })), [
    { kind: "acquire", fromEpoch: 1 },
  ]);
});

test("a jump between the clocks, either way, is an expiry", () => {
  for (const bootMs of [900, -900]) {
    const holder = held();
    const [expired] = holderTick(holder, { monotonicMs: 100, bootMs: 100 + bootMs });
    assert.ok(expired?.kind === "expired" && expired.reason.includes("clock jumped"));
  }
  const holder = held();
  assert.deepEqual(holderTick(holder, { monotonicMs: 100, bootMs: 550 }), [], "within bounds");
  const back = held();
  holderTick(back, at(50));
  const [expired] = holderTick(back, at(40));
  assert.ok(expired?.kind === "expired" && expired.reason.includes("backwards"));
});

test("jumps too small to notice still add up: the boot clock has a deadline of its own", () => {
  const holder = held();
  let effects: HolderEffect[] = [];
  for (let i = 1; i <= 12 && !kinds(effects).includes("expired"); i++) {
    effects = holderTick(holder, { monotonicMs: i * 10, bootMs: i * 410 });
  }
  const [expired] = effects;
  assert.ok(expired?.kind === "expired" && expired.reason.includes("no renewal"));
});

test("after a suspension the answer may be read before any tick", () => {
  const holder = held();
  holderTick(holder, at(1000));
  const effects = holderReply(holder, granted(2), { monotonicMs: 1001, bootMs: 3_600_000 });
  assert.deepEqual(kinds(effects), ["expired"]);
  const well = held();
  holderTick(well, at(1000));
  assert.deepEqual(kinds(holderReply(well, granted(2), at(1100))), ["extend"]);
});

test("a refusal of the present epoch is an expiry; acquire starts from the epoch it names", () => {
  const holder = held();
  holderTick(holder, at(1000));
  assert.deepEqual(holderReply(holder, refused(2, 7, 9)), [], "of another epoch");
  const [expired] = holderReply(holder, refused(2, 1, 3));
  assert.ok(expired?.kind === "expired" && expired.reason.endsWith("lost"));
  assert.deepEqual(holderTick(holder, at(1001, { leaseEpoch: 1 })), [
    { kind: "acquire", fromEpoch: 3 },
  ]);
  assert.deepEqual(holderTick(holder, at(1100, { leaseEpoch: 3 })), [], "not yet moved on");
  assert.deepEqual(kinds(holderTick(holder, at(1200, { leaseEpoch: 4 }))), ["sendRenew"]);
});

test("a record in a later epoch ends the lease", () => {
  const holder = held();
  const [expired] = holderTick(holder, at(100, { leaseEpoch: 2 }));
  assert.ok(expired?.kind === "expired" && expired.reason.includes("the record has 2"));
});

test("a daemon that comes back renews the epoch under which its VMs run, or gives up", () => {
  const start = { resumeLeaseEpoch: 6, firstRequestId: 1000 };
  const holder = createHolder(DEFAULT_LEASE_OPTIONS, start);
  assert.deepEqual(holderTick(holder, at(100, { leaseEpoch: 6 })), [
    { kind: "sendRenew", requestId: 1000, leaseEpoch: 6, sentAtMs: 100 },
  ]);
  assert.equal(heldLease(holder, at(100)), undefined, "the supervisors know the old deadline");
  assert.deepEqual(holderReply(holder, granted(999, 6)), [], "an answer to its earlier life");
  assert.deepEqual(holderReply(holder, granted(1000, 6)), [
    { kind: "extend", deadlineMonotonicMs: 4600, deadlineBootMs: 4600, leaseEpoch: 6 },
  ]);
  const alone = createHolder(DEFAULT_LEASE_OPTIONS, start);
  holderTick(alone, at(100, { leaseEpoch: 6 }));
  assert.deepEqual(kinds(holderTick(alone, at(4600, { leaseEpoch: 6 }))), ["expired"]);
});

test("outstanding requests are bounded, the oldest forgotten", () => {
  const holder = held();
  holder.options satisfies object;
  for (let i = 1; i <= LEASE_REQUESTS_MAX + 4; i++) {
    holder.nextSendMs = 0;
    holderTick(holder, at(i));
  }
  assert.equal(holder.requests.length, LEASE_REQUESTS_MAX);
  assert.deepEqual(holderReply(holder, granted(2)), []);
});

test("options that break the promise stop the process", () => {
  assert.throws(() => createHolder({ ...DEFAULT_LEASE_OPTIONS, leaseMs: 1 }), /lease options/);
});
