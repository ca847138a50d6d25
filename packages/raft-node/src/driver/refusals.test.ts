import assert from "node:assert/strict";
import { test } from "node:test";

import { as } from "@blixard/std";
import type { LogIndex, PeerId, Term } from "@blixard/std";

import type { Envelope } from "./envelope.ts";
import { Proposals } from "./proposals.ts";
import { Reads } from "./reads.ts";

const LEADER = as<PeerId>(2);
const OTHER = as<PeerId>(3);
const TERM = as<Term>(5);
const LATE_MS = 1000;

// Found by the simulator: in profile control, refused reads were nearly half of all messages.
test("a refused read is asked for again with the next tick, or of another leader at once", () => {
  const sent: Envelope[] = [];
  let leader = LEADER;
  const reads = new Reads({
    life: 1,
    self: as<PeerId>(1),
    leader: () => leader,
    readIndex: () => undefined,
    send: (_, envelope) => sent.push(envelope) > 0,
  });
  const refuse = (from: PeerId): void => {
    const last = sent.at(-1);
    assert.ok(last?.kind === "readForward");
    reads.onReply(from, last.id, as<LogIndex>(0));
  };
  reads.add({ deadlineMs: LATE_MS, hereOnly: false, isLease: false, done: () => undefined });
  reads.dispatch(7);
  assert.equal(sent.length, 1);
  refuse(LEADER);
  reads.dispatch(7);
  assert.equal(sent.length, 1);
  reads.dispatch(8);
  assert.equal(sent.length, 2);
  refuse(LEADER);
  leader = OTHER;
  reads.dispatch(8);
  assert.equal(sent.length, 3);
});

test("a refused proposal is sent again with the next tick, or to another leader at once", () => {
  const sent: Envelope[] = [];
  let leader = LEADER;
  const proposals = new Proposals<number>(
    {
      life: 1,
      leader: () => ({ peer: leader, term: TERM }),
      appendHere: () => ({ code: "Overloaded" }),
      isLogBusy: () => false,
      later: undefined,
      wake: () => undefined,
      send: (_, envelope) => sent.push(envelope) > 0,
    },
    as<PeerId>(1),
  );
  const refuse = (from: PeerId): void => {
    const last = sent.at(-1);
    assert.ok(last?.kind === "forward");
    const outcomes = last.items.map(({ id }) => ({
      id,
      kind: "rejected" as const,
      retry: true,
      reason: "Overloaded",
    }));
    proposals.onReply(from, TERM, outcomes);
  };
  const data = Uint8Array.of(1);
  proposals.add({ kind: "command", data, deadlineMs: LATE_MS, done: () => undefined });
  proposals.dispatch(7);
  refuse(LEADER);
  proposals.dispatch(7);
  assert.equal(sent.length, 1);
  proposals.dispatch(8);
  assert.equal(sent.length, 2);
  refuse(LEADER);
  leader = OTHER;
  proposals.dispatch(8);
  assert.equal(sent.length, 3);
});
