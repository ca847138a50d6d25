/** Proposals: a leader takes them into its log, a follower may pass them on. */

import { confRefusal, owedChange } from "./confchange.ts";
import { decodeAnyChange, encodeAnyChange } from "./conf-codec.ts";
import { isEtcd } from "./dialect.ts";
import { acknowledgeOwn, appendOwn } from "./leader-log.ts";
import { ENTRY_OVERHEAD_BYTES, MAX_FORWARDED } from "./limits.ts";
import { toTerm } from "./log.ts";
import { send } from "./outbox.ts";
import { broadcast } from "./replication.ts";
import type { RaftState } from "./state.ts";
import { note } from "./trace.ts";
import type { AnyConfChange, MessageOf, Proposal, StepError } from "./types.ts";

const NOTHING = new Uint8Array(0);

export function propose(state: RaftState, entries: readonly Uint8Array[]): StepError | undefined {
  if (state.role !== "leader") {
    return forward(
      state,
      entries.map((data) => ({ kind: "command", data })),
    );
  }
  let bytes = 0;
  for (const data of entries) bytes += data.length + ENTRY_OVERHEAD_BYTES;
  const refusal = refusalOf(state, bytes);
  if (refusal !== undefined) return refusal;
  for (const data of entries) appendOwn(state, "command", data);
  acknowledgeOwn(state);
  broadcast(state);
  return undefined;
}

export function proposeConf(state: RaftState, change: AnyConfChange): StepError | undefined {
  return take(state, [{ kind: "config", data: encodeAnyChange(change) }]);
}

/** Forwarded by a follower. It has no term: whoever leads takes it. */
export function onPropose(state: RaftState, message: MessageOf<"propose">): StepError | undefined {
  return take(state, message.proposals);
}

function take(state: RaftState, proposals: readonly Proposal[]): StepError | undefined {
  return state.role === "leader" ? admit(state, proposals) : forward(state, proposals);
}

function forward(state: RaftState, proposals: readonly Proposal[]): StepError | undefined {
  const { role, leader } = state;
  if (state.config.forwarding !== true || role !== "follower" || leader === 0) {
    const isLeft = role !== "follower" || leader === 0;
    note(state, {
      kind: "proposalDropped",
      why: isLeft ? "noLeader" : "notForwarding",
      to: leader,
    });
    return { code: "NotLeader", leader };
  }
  if (proposals.length > MAX_FORWARDED) return { code: "Overloaded" };
  send(state, { kind: "propose", to: leader, from: state.id, term: toTerm(0), proposals });
  return undefined;
}

/** All of them or none. */
function admit(state: RaftState, proposals: readonly Proposal[]): StepError | undefined {
  // A leader must always be able to leave a joint configuration.
  const isOwed = proposals.every(({ kind }) => kind === "config");
  let bytes = 0;
  for (const { data } of proposals) bytes += data.length + ENTRY_OVERHEAD_BYTES;
  const refusal = refusalOf(state, isOwed ? 0 : bytes) ?? confRefusalOf(state, proposals);
  if (refusal !== undefined) return refusal;
  for (const proposal of proposals) {
    const isRefused = isEtcd(state) && isRefusedConf(state, proposal);
    appendOwn(state, isRefused ? "command" : proposal.kind, isRefused ? NOTHING : proposal.data);
  }
  acknowledgeOwn(state);
  broadcast(state);
  return undefined;
}

/** Why the leader refuses this proposal, or undefined. */
function refusalOf(state: RaftState, bytes: number): StepError | undefined {
  if (state.transferee !== 0) {
    note(state, { kind: "proposalDropped", why: "transferring", to: state.transferee });
    return { code: "Transferring", to: state.transferee };
  }
  // Removed, and staying only until it is deposed.
  if (isEtcd(state) && !state.progress.has(state.id)) return { code: "NotLeader", leader: 0 };
  // One proposal always fits an idle leader, however large: the caller bounds its size.
  const before = state.uncommittedBytes;
  if (bytes > 0 && before > 0 && before + bytes > state.config.maxUncommittedBytes) {
    note(state, { kind: "proposalDropped", why: "tooMuch", to: 0 });
    return { code: "Overloaded" };
  }
  return undefined;
}

/** A configuration change comes alone, so that the leader has applied every earlier one. */
function confRefusalOf(state: RaftState, proposals: readonly Proposal[]): StepError | undefined {
  if (isEtcd(state)) return undefined;
  for (const { kind, data } of proposals) {
    if (kind !== "config") continue;
    if (proposals.length > 1) {
      return { code: "InvalidConfChange", reason: "a configuration change is proposed alone" };
    }
    const change = decodeAnyChange(data);
    if (!change.ok) return { code: "InvalidConfChange", reason: change.error };
    const refusal = confRefusal(state, change.value);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** Dialect of etcd: a refused configuration change leaves an empty entry in its place. */
function isRefusedConf(state: RaftState, { kind, data }: Proposal): boolean {
  if (kind !== "config") return false;
  const change = decodeAnyChange(data);
  return !change.ok || confRefusal(state, change.value) !== undefined;
}

/** Leader: leaves a joint configuration that is to be left by itself, once that may be. */
export function leaveWhenDue(state: RaftState): void {
  const data = owedChange(state);
  // Refused during a transfer: whoever leads after it tries again.
  if (data === undefined) return;
  const { conf } = state;
  const isProposed = admit(state, [{ kind: "config", data }]) === undefined;
  note(state, { kind: "leavesJoint", conf, isProposed });
}
