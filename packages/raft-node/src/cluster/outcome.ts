/** From what raft-node and the state machine answered to what a caller of RaftCluster is told. */

import { err, ok, unreachable } from "@blixard/std";
import type { PeerId, Result } from "@blixard/std";

import type { ProposeError, Proposed } from "../types.ts";
import type { Outcome } from "./host-machine.ts";
import type { ClusterError, ClusterResult } from "./types.ts";

/** `actual`: bytes of what was refused as too large. */
export function clusterError(error: ProposeError, operation: string, actual = 0): ClusterError {
  switch (error.code) {
    case "NoLeader":
    case "Overloaded":
    case "DiskFull":
    case "Stopped":
      return { code: error.code };
    case "Dropped":
      return { code: "ProposalDropped", reason: error.reason };
    case "TooLarge":
      return { code: "TooLarge", limit: error.limit, actual };
    case "OutcomeUnknown":
      return { code: "Timeout", operation, reason: error.reason };
    default:
      return unreachable(error);
  }
}

/** A read on the leader alone: without a leader here, the caller is told who leads. */
export function leaderOnly(error: ClusterError, leader: PeerId | 0): ClusterError {
  return error.code === "NoLeader" ? { code: "NotLeader", leader } : error;
}

export function clusterResult<Response>(
  result: Result<Proposed<Outcome<Response>>, ProposeError>,
  bytes: number,
): ClusterResult<Response> {
  if (!result.ok) return err(clusterError(result.error, "propose", bytes));
  const outcome = result.value.response;
  switch (outcome.kind) {
    case "applied":
      return ok(outcome.response);
    case "failed":
      return err({ code: "ApplyFailed", reason: outcome.reason });
    case "invalid":
      return err({ code: "Invalid", reason: outcome.reason });
    case "expired":
      return err({ code: "SessionExpired", session: outcome.session });
    case "window":
      return err({ code: "Overloaded" });
    case "opened":
    case "closed":
      return err({ code: "Invalid", reason: "a session's entry where a command was expected" });
    default:
      return unreachable(outcome);
  }
}
