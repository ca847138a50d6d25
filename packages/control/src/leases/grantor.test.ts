import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_LEASE_OPTIONS, LEASE_CONFIRMS_MAX } from "../limits.ts";
import { nodeId } from "../testing/world.ts";
import {
  becameLeader,
  createGrantor,
  grantorAbandoned,
  grantorConfirmed,
  grantorRequest,
  grantorTick,
  lostLeadership,
  type LeaseGrantor,
  type LeaseRecord,
} from "./grantor.ts";

const WAIT_MS = 6060;
const up = (leaseEpoch: number, n = 1) => ({ id: nodeId(n), state: "up", leaseEpoch }) as const;
const request = (leaseEpoch = 1, n = 1) => ({
  nodeId: nodeId(n),
  leaseEpoch,
  requestId: 5,
  receivedAtMs: 0,
});

function leader(): LeaseGrantor {
  const grantor = createGrantor();
  becameLeader(grantor, 0, 3);
  return grantor;
}

/** Renews through to the answer, the quorum round ending at `nowMs`. */
function renew(grantor: LeaseGrantor, nowMs: number, record: LeaseRecord | undefined, epoch = 1) {
  const [effect] = grantorRequest(grantor, request(epoch));
  assert.ok(effect?.kind === "confirm");
  return grantorConfirmed(grantor, effect.token, nowMs, () => record);
}

test("a renewal is granted after its quorum round", () => {
  const answer = renew(leader(), 10, up(1));
  assert.deepEqual(answer, { kind: "granted", nodeId: nodeId(1), requestId: 5, leaseEpoch: 1 });
});

test("a renewal is refused for an unknown node, another epoch, a node that is not up", () => {
  const say = (record: LeaseRecord | undefined) => {
    const answer = renew(leader(), 10, record);
    return answer?.kind === "refused" ? [answer.reason, answer.currentEpoch] : answer;
  };
  assert.deepEqual(say(undefined), ["unknownNode", 0]);
  assert.deepEqual(say(up(2)), ["wrongEpoch", 2]);
  assert.deepEqual(say({ state: "lost", leaseEpoch: 1 }), ["lost", 1]);
  assert.deepEqual(say({ state: "joining", leaseEpoch: 1 }), ["lost", 1]);
});

test("a lease not renewed is declared lost after a full lease plus drift, from the grant", () => {
  const grantor = leader();
  renew(grantor, 1000, up(1));
  assert.deepEqual(grantorTick(grantor, 1000 + WAIT_MS, [up(1)]), []);
  const expire = { kind: "expire", nodeId: nodeId(1), leaseEpoch: 1, term: 3 };
  assert.deepEqual(grantorTick(grantor, 1001 + WAIT_MS, [up(1)]), [expire]);
  assert.deepEqual(grantorTick(grantor, 1500 + WAIT_MS, [up(1)]), [], "proposed just now");
  assert.deepEqual(grantorTick(grantor, 2001 + WAIT_MS, [up(1)]), [expire], "not applied: again");
});

test("once its expiry is proposed an epoch gets no grant from this leader", () => {
  const grantor = leader();
  grantorTick(grantor, 0, [up(1)]);
  grantorTick(grantor, 1 + WAIT_MS, [up(1)]);
  const answer = renew(grantor, 2 + WAIT_MS, up(1));
  assert.ok(answer?.kind === "refused" && answer.reason === "expiring");
  assert.equal(renew(grantor, 3 + WAIT_MS, up(2), 2)?.kind, "granted", "the next epoch does");
});

test("a new epoch counts from when it is first seen, a lost or removed node not at all", () => {
  const grantor = leader();
  grantorTick(grantor, 0, [up(1), up(1, 2)]);
  assert.deepEqual(grantorTick(grantor, 6000, [up(2), up(1, 2)]), []);
  const lost = { ...up(1, 2), state: "lost" } as const;
  assert.deepEqual(grantorTick(grantor, 6100, [up(2), lost]), []);
  assert.equal(grantor.leases.size, 1);
  assert.deepEqual(grantorTick(grantor, 6000 + WAIT_MS, [up(2)]), []);
  assert.equal(grantorTick(grantor, 6001 + WAIT_MS, [up(2)]).length, 1);
});

test("a new leader waits a full lease plus drift before it declares any lost", () => {
  const grantor = leader();
  grantorTick(grantor, 0, [up(1)]);
  becameLeader(grantor, 6000, 8);
  assert.deepEqual(grantorTick(grantor, 6000, [up(1)]), []);
  assert.deepEqual(grantorTick(grantor, 6000 + WAIT_MS, [up(1)]), []);
  const [effect] = grantorTick(grantor, 6001 + WAIT_MS, [up(1)]);
  assert.ok(effect?.kind === "expire" && effect.term === 8);
});

test("who does not lead answers nothing, and old tokens die with their leadership", () => {
  const grantor = createGrantor();
  assert.deepEqual(grantorRequest(grantor, request()), []);
  assert.deepEqual(grantorTick(grantor, 99_999, [up(1)]), []);
  becameLeader(grantor, 0, 1);
  const [effect] = grantorRequest(grantor, request());
  assert.ok(effect?.kind === "confirm");
  lostLeadership(grantor);
  assert.equal(
    grantorConfirmed(grantor, effect.token, 1, () => up(1)),
    undefined,
  );
  becameLeader(grantor, 2, 4);
  assert.equal(
    grantorConfirmed(grantor, effect.token, 3, () => up(1)),
    undefined,
  );
});

test("a token is good once, and not after it was given up", () => {
  const grantor = leader();
  const tokens = [request(), request()].flatMap((each) => grantorRequest(grantor, each));
  const [first, second] = tokens.map((effect) => (effect.kind === "confirm" ? effect.token : 0));
  assert.ok(grantorConfirmed(grantor, first ?? 0, 1, () => up(1)) !== undefined);
  assert.equal(
    grantorConfirmed(grantor, first ?? 0, 1, () => up(1)),
    undefined,
  );
  grantorAbandoned(grantor, second ?? 0);
  assert.equal(
    grantorConfirmed(grantor, second ?? 0, 1, () => up(1)),
    undefined,
  );
});

test("requests waiting for a round are bounded, the oldest dropped", () => {
  const grantor = leader();
  for (let i = 0; i < LEASE_CONFIRMS_MAX + 3; i++) grantorRequest(grantor, request());
  assert.equal(grantor.confirms.size, LEASE_CONFIRMS_MAX);
  assert.equal(grantor.confirms.has(3), false);
  assert.equal(grantor.confirms.has(4), true);
});

test("options that break the promise stop the process", () => {
  assert.throws(() => createGrantor({ ...DEFAULT_LEASE_OPTIONS, leaseMs: 1 }), /lease options/);
});
