/** From a status to checks with a verdict. */

import type { ClusterHealth, ClusterStatus, HealthCheck } from "./types.ts";

/** Committed entries that may wait for `apply` before that counts as trouble. */
const APPLY_LAG_MAX = 10_000;

export function healthOf(status: ClusterStatus): ClusterHealth {
  const { phase, leader, disk, damaged, commit, applied } = status;
  const lag = commit - applied;
  const checks: HealthCheck[] = [
    { name: "running", ok: phase === "running", detail: phase },
    { name: "leader", ok: leader !== 0, detail: leader === 0 ? "none known" : `member ${leader}` },
    quorumOf(status),
    { name: "disk", ok: disk === "fine", detail: disk },
    { name: "log", ok: !damaged, detail: damaged ? "being repaired from other members" : "intact" },
    { name: "applied", ok: lag <= APPLY_LAG_MAX, detail: `${lag} entries behind` },
  ];
  return { ok: checks.every((check) => check.ok), checks };
}

/** Only the leader hears from the others; the rest judge by having a leader. */
function quorumOf({ role, id, conf, progress, leader }: ClusterStatus): HealthCheck {
  const name = "quorum";
  if (role !== "leader") {
    return { name, ok: leader !== 0, detail: "judged by whether there is a leader" };
  }
  const heard = progress.filter(
    ({ peer, active }) => conf.voters.includes(peer) && (active || peer === id),
  ).length;
  const isMajority = heard * 2 > conf.voters.length;
  return { name, ok: isMajority, detail: `${heard} of ${conf.voters.length} voters heard` };
}
