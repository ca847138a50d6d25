/**
 * What a command looks like in the log when sessions are on. Little-endian:
 *
 *   0  magic   u8  = 0xC5
 *   1  version u8  = 1
 *   2  kind    u8: 0 plain, 1 in a session, 2 open a session, 3 close one
 *   kind 1:  session u64, sequence u64, acknowledged u64, then the command
 *   kind 3:  session u64
 */

import { ByteWriter, decodeWith } from "@blixard/std";
import type { Result } from "@blixard/std";

const MAGIC = 0xc5;
const VERSION = 1;
export const HEAD_BYTES = 3;
/** Bytes that a command grows by at most. */
export const ENTRY_ENVELOPE_BYTES = HEAD_BYTES + 24;

export type ClusterEntry =
  | { readonly kind: "plain"; readonly command: Uint8Array }
  | {
      readonly kind: "session";
      readonly session: number;
      readonly sequence: number;
      /** The client has the answers of all sequences up to here. */
      readonly acknowledged: number;
      readonly command: Uint8Array;
    }
  | { readonly kind: "open" }
  | { readonly kind: "close"; readonly session: number };

/** A command outside of any session: it stands behind HEAD_BYTES. Most are, and need no decoder. */
export function isPlain(bytes: Uint8Array): boolean {
  return bytes[0] === MAGIC && bytes[1] === VERSION && bytes[2] === 0;
}

export function encodeEntry(entry: ClusterEntry): Uint8Array {
  const command = "command" in entry ? entry.command : undefined;
  const writer = new ByteWriter(ENTRY_ENVELOPE_BYTES + (command?.length ?? 0));
  writer.u8(MAGIC).u8(VERSION);
  switch (entry.kind) {
    case "plain":
      writer.u8(0);
      break;
    case "session":
      writer.u8(1).u64(entry.session).u64(entry.sequence).u64(entry.acknowledged);
      break;
    case "open":
      writer.u8(2);
      break;
    case "close":
      writer.u8(3).u64(entry.session);
      break;
  }
  if (command !== undefined) writer.raw(command);
  return writer.finish();
}

/** The command is a view of `bytes`. */
export function decodeEntry(bytes: Uint8Array): Result<ClusterEntry, string> {
  return decodeWith(bytes, (reader): ClusterEntry => {
    if (reader.u8() !== MAGIC) throw new RangeError("it is no command of a cluster with sessions");
    const version = reader.u8();
    if (version !== VERSION) throw new RangeError(`command of version ${version}`);
    const kind = reader.u8();
    if (kind === 0) return { kind: "plain", command: reader.raw(reader.remaining) };
    if (kind === 2) return { kind: "open" };
    if (kind === 3) return { kind: "close", session: reader.u64() };
    if (kind !== 1) throw new RangeError(`command of kind ${kind}`);
    const [session, sequence, acknowledged] = [reader.u64(), reader.u64(), reader.u64()];
    const command = reader.raw(reader.remaining);
    return { kind: "session", session, sequence, acknowledged, command };
  });
}
