/** Messages on their way out. Each waits at least for the term and vote it was sent under. */

import type { PeerId } from "@blixard/std";
import { afterHard, afterIndex } from "./durability.ts";
import type { RaftState } from "./state.ts";
import type { Message } from "./types.ts";

/** Queues a message that needs `after`, or later if the term it speaks under is not yet durable. */
export function send(state: RaftState, message: Message, after = 0): void {
  state.outbox.push({ message, after: Math.max(after, afterHard(state)) });
}

/** Acknowledges the log up to `index`, once it is durable here. */
export function sendAccepted(state: RaftState, to: PeerId, index: number): void {
  sendAppendReply(state, to, { rejected: false, index, hintIndex: 0, hintTerm: 0 });
}

export interface AppendAnswer {
  readonly rejected: boolean;
  readonly index: number;
  readonly hintIndex: number;
  readonly hintTerm: number;
}

export function sendAppendReply(state: RaftState, to: PeerId, answer: AppendAnswer): void {
  const message = {
    kind: "appendReply",
    to,
    from: state.id,
    term: state.term,
    ...answer,
    repair: state.damage.nonce,
  };
  // Safe: the numbers come from our own log or from a validated message; a brand adds nothing.
  send(state, message as Message, answer.rejected ? 0 : afterIndex(state, answer.index));
}
