import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_LEASE_OPTIONS, leaseOptionsProblem } from "./limits.ts";

test("lease options that would break the promise are refused with the reason", () => {
  const problem = (over: object) => leaseOptionsProblem({ ...DEFAULT_LEASE_OPTIONS, ...over });
  assert.equal(problem({}), undefined);
  assert.match(problem({ leaseMs: Number.NaN }) ?? "", /finite/);
  assert.match(problem({ renewEveryMs: 0 }) ?? "", /positive/);
  assert.match(problem({ renewEveryMs: 2000 }) ?? "", /three renewals/);
  assert.match(problem({ maxDriftRatio: 0.5 }) ?? "", /between 0 and 0.1/);
  assert.match(problem({ maxDriftRatio: -0.1 }) ?? "", /between 0 and 0.1/);
  assert.match(problem({ maxClockJumpMs: 0 }) ?? "", /positive/);
  assert.match(problem({ leaseMs: 5000 }) ?? "", /time to kill/);
});
