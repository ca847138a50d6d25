/** Messages of the protocol as datagrams; an append that goes to several followers is encoded once. */

import { encodeMessage, MESSAGE_TO_OFFSET } from "@blixard/raft";
import type { Message, MessageOf } from "@blixard/raft";

import { RAFT_ENVELOPE } from "./envelope.ts";

type Append = MessageOf<"append">;

export class RaftDatagrams {
  #last: { readonly append: Append; readonly bytes: Uint8Array } | undefined;

  /** Valid until the next call: a network copies what it is given to send. */
  encode(message: Message): Uint8Array {
    if (message.kind !== "append" || message.entries.length === 0) {
      return encodeMessage(message, RAFT_ENVELOPE);
    }
    const last = this.#last;
    if (last !== undefined && isSame(last.append, message)) {
      setU32(last.bytes, RAFT_ENVELOPE.length + MESSAGE_TO_OFFSET, message.to);
      return last.bytes;
    }
    const bytes = encodeMessage(message, RAFT_ENVELOPE);
    this.#last = { append: message, bytes };
    return bytes;
  }
}

/** But for the receiver. Entries of one log between the same two are the same. */
function isSame(a: Append, b: Append): boolean {
  return (
    a.term === b.term &&
    a.prevIndex === b.prevIndex &&
    a.prevTerm === b.prevTerm &&
    a.commit === b.commit &&
    a.entries.length === b.entries.length &&
    a.entries[0] === b.entries[0] &&
    a.entries.at(-1) === b.entries.at(-1)
  );
}

function setU32(bytes: Uint8Array, at: number, value: number): void {
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).setUint32(at, value, true);
}
