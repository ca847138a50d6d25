/**
 * Repair of a member that lost acknowledged log content (rot below the durable watermark).
 *
 * Such a member D keeps its term and vote, but its lost acknowledgements may already have been
 * counted, or may still be in flight and be counted later. So D must behave as though dead for
 * elections until it again holds everything that its lost acknowledgements can ever help to commit.
 *
 * Rule. D starts from its snapshot with an empty log, and draws a nonce that names this life. While
 * damaged it neither votes nor campaigns, ignores the commit index of heartbeats, and puts the
 * nonce in every reply. A leader L of term T that sees a nonce it does not know for D forgets what
 * D held, stops counting D for commit, appends a noop of its own, and takes that noop's index as
 * D's target. Once D has acknowledged (durably, under that nonce) the log up to the target, L
 * echoes the nonce in heartbeats to D. On the echo of its own nonce from the leader of its term, D
 * is whole.
 *
 * Why it is sound. Let entry e be one that D acknowledged, in term Ta, and lost. D's term survived,
 * so Ta <= D's term <= T.
 *   Ta = T: L is the only leader of T and had e in its log before D acknowledged it, hence before
 *     it saw the nonce; its log only grows in T, so e lies below the target.
 *   Ta < T: if e is ever committed by counting D, a majority of voters accepted e in Ta before they
 *     voted in any later term. L's election majority overlaps it. D itself votes only while it
 *     still holds e, or after its repair, never in between; so every voter in the overlap compared
 *     L's log with one that held e, and L has e (leader completeness), below its first own entry
 *     and so below the target.
 * So when D is whole it holds every entry that its lost acknowledgements can commit, and voting
 * again is the same as if it had never lost them. The nonce shows that the target was taken after
 * D's restart: an echo cannot come from a message older than the nonce. A late acknowledgement of
 * D's former life may make L count D again for a moment; that is the same as counting it before the
 * crash, and D's next reply corrects it. The leader's noop makes sure that D writes at least one
 * entry, which truncates on disk whatever bad entries were left there.
 *
 * Acknowledgements of ReadIndex rounds and of check-quorum count as usual: they speak of D's term
 * only, which it did not lose.
 */

import { assert } from "@blixard/std";
import { acknowledgeOwn, appendOwn, maybeCommit } from "./leader-log.ts";
import { forgetMatch, type Progress } from "./progress.ts";
import { lastIndex, type RaftState } from "./state.ts";

export function isDamaged(state: RaftState): boolean {
  return state.damage.nonce !== 0;
}

/** Leader: takes note of the nonce in a member's reply, before anything else in the reply. */
export function noteRepair(state: RaftState, progress: Progress, nonce: number): void {
  if (progress.repair === nonce) return;
  progress.repair = nonce;
  if (nonce === 0) {
    // What it holds counts from now on.
    maybeCommit(state);
    return;
  }
  appendOwn(state, "noop", new Uint8Array(0));
  acknowledgeOwn(state);
  progress.repairTarget = lastIndex(state);
  forgetMatch(progress);
}

/** Leader: the nonce to echo to a member, or 0. */
export function repairEcho(progress: Progress): number {
  return progress.repair !== 0 && progress.match >= progress.repairTarget ? progress.repair : 0;
}

/** Damaged member: the leader of our term says that `nonce` is whole. */
export function noteRepaired(state: RaftState, nonce: number): void {
  const { damage } = state;
  if (damage.nonce !== 0 && damage.nonce === nonce && damage.phase === "waiting") {
    damage.phase = "whole";
  }
}

/** For Ready: true once. */
export function takeRepaired(state: RaftState): boolean {
  if (state.damage.phase !== "whole") return false;
  state.damage.phase = "told";
  return true;
}

/** The driver has cleared its durable mark. */
export function finishRepair(state: RaftState): void {
  assert(state.damage.phase === "told", "repaired is the answer to Ready.repaired");
  state.damage = { nonce: 0, phase: "waiting" };
}
