/** What may enter: how proposals are handed to the protocol, and which are refused at once. */

import { err } from "@blixard/std";
import type { LogIndex, Result } from "@blixard/std";
import { lastIndex, step } from "@blixard/raft";
import type { RaftState, StepError } from "@blixard/raft";

import type { RaftNodeOptions } from "../types.ts";
import { decodedChange } from "./applier.ts";

/** Appends to the leader's log; the index of the last one, or why it was refused. */
export function appendTo(
  state: RaftState,
  kind: "command" | "config",
  entries: readonly Uint8Array[],
): { readonly lastIndex: LogIndex } | StepError {
  let refused: StepError | undefined;
  if (kind === "command") {
    refused = step(state, { kind: "propose", entries });
  } else {
    const change = decodedChange(entries[0] ?? new Uint8Array(0));
    if (change === undefined) return { code: "InvalidConfChange", reason: "it does not decode" };
    refused = step(state, { kind: "proposeConf", change });
  }
  return refused ?? { lastIndex: lastIndex(state) };
}

export type Refusal = Result<
  never,
  { readonly code: "TooLarge"; readonly limit: number } | { readonly code: "Overloaded" }
>;

/** Why a proposal of so many bytes is not taken now; undefined when it is. */
export function refusalOf(
  bytes: number,
  options: RaftNodeOptions,
  proposals: { hasRoom(bytes: number, countMax: number): boolean },
): Refusal | undefined {
  const { maxProposalBytes, maxPendingProposals } = options;
  if (bytes > maxProposalBytes) return err({ code: "TooLarge", limit: maxProposalBytes });
  return proposals.hasRoom(bytes, maxPendingProposals) ? undefined : err({ code: "Overloaded" });
}
