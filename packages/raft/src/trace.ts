/**
 * Why a member did what it did, as data: for logs, for timelines, and for transcripts. Off unless
 * `RaftConfig.trace` is set; whoever sets it takes `state.trace` and empties it.
 */

import type { PeerId } from "@blixard/std";
import type { Progress } from "./progress.ts";
import type { RaftState } from "./state.ts";
import type { AnyConfChange, ConfState, Message, MessageOf, Role, SnapshotMeta } from "./types.ts";

/** The end of a log. */
export interface Position {
  readonly term: number;
  readonly index: number;
}

export type TraceEvent =
  | { readonly kind: "role"; readonly role: Role }
  | { readonly kind: "campaigns" }
  | { readonly kind: "cannotCampaign"; readonly why: "leads" | "noVoter" | "confPending" }
  | { readonly kind: "asksForVote"; readonly message: MessageOf<"vote" | "preVote"> }
  | {
      readonly kind: "ballot";
      readonly message: MessageOf<"voteReply" | "preVoteReply">;
      readonly granted: number;
      readonly refused: number;
    }
  | {
      readonly kind: "judgedVote";
      readonly message: MessageOf<"vote" | "preVote">;
      /** lease: it was not even looked at. */
      readonly verdict: "granted" | "refused" | "lease";
      readonly vote: PeerId | 0;
      readonly last: Position;
      readonly remainingTicks: number;
    }
  | { readonly kind: "laterTerm" | "earlierTerm"; readonly message: Message; readonly own: number }
  | { readonly kind: "quorumLost" }
  | { readonly kind: "conf"; readonly conf: ConfState }
  | { readonly kind: "leavesJoint"; readonly conf: ConfState; readonly isProposed: boolean }
  | {
      readonly kind: "confRefused";
      readonly change: AnyConfChange;
      readonly why: "pending" | "joint" | "notJoint";
      readonly pendingConfig: number;
      readonly applied: number;
      readonly conf: ConfState;
    }
  | {
      readonly kind: "proposalDropped";
      readonly why: "noLeader" | "transferring" | "tooMuch" | "notForwarding";
      readonly to: PeerId | 0;
    }
  | { readonly kind: "appendRefused"; readonly message: MessageOf<"append">; readonly had: number }
  | {
      readonly kind: "conflict";
      readonly at: Position;
      readonly had: number;
      /** The log was durable up to here. */
      readonly durable: number;
    }
  | { readonly kind: "hinted"; readonly message: MessageOf<"appendReply"> }
  | { readonly kind: "stranger"; readonly from: PeerId }
  | {
      readonly kind: "progress";
      readonly what: "decreased" | "paused" | "recovered" | "unreachable" | "arrived" | "lost";
      readonly progress: Progress;
    }
  | {
      readonly kind: "sendsSnapshot";
      readonly meta: SnapshotMeta;
      readonly progress: Progress;
      readonly firstIndex: number;
    }
  | { readonly kind: "keepsSnapshot"; readonly peer: PeerId }
  | {
      readonly kind: "snapshot";
      readonly meta: SnapshotMeta;
      readonly what: "restored" | "forwarded" | "done" | "ignored";
      readonly commit: number;
      readonly last: Position;
    }
  | {
      readonly kind: "restoring";
      readonly meta: SnapshotMeta;
      readonly commit: number;
      readonly applied: number;
      readonly applying: number;
      readonly durable: number;
      readonly handed: number;
      readonly last: number;
    }
  | {
      readonly kind: "transfer";
      readonly to: PeerId;
      readonly what:
        | "starts"
        | "same"
        | "aborted"
        | "self"
        | "learner"
        | "upToDate"
        | "caughtUp"
        | "noLeader";
    }
  | { readonly kind: "timeoutNow"; readonly from: PeerId; readonly taken: boolean }
  | { readonly kind: "forgets"; readonly leader: PeerId }
  | { readonly kind: "keepsLeader" };

/** What was noted, with the term in which it was. */
export interface Traced {
  readonly term: number;
  readonly event: TraceEvent;
}

/** Notes `event`; the data are taken as they are, so what changes later must be a copy. */
export function note(state: RaftState, event: TraceEvent): void {
  state.trace?.push({ term: state.term, event });
}

/** A progress as it is now, for an event. */
export function frozen(progress: Progress): Progress {
  return { ...progress, inflight: [...progress.inflight] };
}
