/** From a status to checks with a verdict. */

import { hasQuorum } from "@blixard/raft";
import type { PeerId } from "@blixard/std";

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
  const heard = new Set(progress.filter(({ active }) => active).map(({ peer }) => peer)).add(id);
  // A joint configuration needs a majority of each half.
  const halves = [conf.voters, conf.votersOutgoing].filter((half) => half.length > 0);
  const counts = halves.map((half) => `${count(half, heard)} of ${half.length}`);
  const ok = hasQuorum(conf, (peer) => heard.has(peer));
  return { name, ok, detail: `${counts.join(" and ")} voters heard` };
}

function count(half: readonly PeerId[], heard: ReadonlySet<PeerId>): number {
  return half.filter((peer) => heard.has(peer)).length;
}
