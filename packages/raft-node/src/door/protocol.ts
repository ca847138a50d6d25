/**
 * What clients and members say to each other at the client door. Little-endian, over TCP or TLS.
 *
 *   hello    magic u32 "BXRC", version u8 = 1, token length u16, token
 *   welcome  magic u32 "BXRC", version u8 = 1, verdict u8 (0 welcome, 1 refused), member u32,
 *            leader u32 (0: none known)
 *   request  length u32 (of what follows), id u32, kind u8, timeout in ms u32, payload
 *   answer   length u32 (of what follows), id u32, status u8 (0 ok, 1 error), payload
 *
 * Requests are pipelined; answers come in any order. An error's payload is JSON text of a ClusterError.
 *
 *   kind          payload                                         answer
 *   1 propose     command                                         response
 *   2 inSession   session u64, sequence u64, acknowledged u64,    response
 *                 command
 *   3 query       consistency u8, query                           answer
 *   4 open        -                                               session u64
 *   5 close       session u64                                     -
 *   6 status      -                                               JSON text of status and health
 *   7 transfer    peer u32                                        -
 *   8 change      op u8, peer u32, context                        index u64
 *   9 snapshot    -                                               -
 */

import { ByteWriter, decodeWith, err, ok, utf8 } from "@blixard/std";
import type { Result } from "@blixard/std";

import type { ClusterError, Consistency } from "../cluster/types.ts";

export const DOOR_MAGIC = 0x43525842; // "BXRC" in file order
export const DOOR_VERSION = 1;
export const WELCOME_BYTES = 14;
export const HELLO_HEAD_BYTES = 7;
/** length, id, kind, timeout. */
export const REQUEST_HEAD_BYTES = 13;
/** length, id, status. */
export const ANSWER_HEAD_BYTES = 9;

/** Numbers are for ever. */
export const REQUEST = {
  propose: 1,
  inSession: 2,
  query: 3,
  open: 4,
  close: 5,
  status: 6,
  transfer: 7,
  change: 8,
  snapshot: 9,
} as const;
export type RequestKind = (typeof REQUEST)[keyof typeof REQUEST];

export const CONSISTENCIES: readonly Consistency[] = ["linearizable", "lease", "stale"];
export const CHANGE_OPS = ["addVoter", "addLearner", "removeMember"] as const;

export function encodeHello(token: string): Uint8Array {
  const bytes = utf8(token);
  const writer = new ByteWriter(HELLO_HEAD_BYTES + bytes.length);
  return writer.u32(DOOR_MAGIC).u8(DOOR_VERSION).u16(bytes.length).raw(bytes).finish();
}

/** Undefined while more bytes are needed; `length` of the whole hello once it is known. */
export function decodeHello(
  bytes: Uint8Array,
  tokenBytesMax: number,
): Result<{ readonly token: Uint8Array; readonly length: number } | undefined, string> {
  if (bytes.length < HELLO_HEAD_BYTES) return ok(undefined);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== DOOR_MAGIC) return err("it does not speak this protocol");
  if (view.getUint8(4) !== DOOR_VERSION) return err(`protocol version ${view.getUint8(4)}`);
  const tokenBytes = view.getUint16(5, true);
  if (tokenBytes > tokenBytesMax) return err(`a token of ${tokenBytes} bytes`);
  const length = HELLO_HEAD_BYTES + tokenBytes;
  if (bytes.length < length) return ok(undefined);
  return ok({ token: bytes.subarray(HELLO_HEAD_BYTES, length), length });
}

export interface Welcome {
  readonly isWelcome: boolean;
  readonly member: number;
  readonly leader: number;
}

export function encodeWelcome({ isWelcome, member, leader }: Welcome): Uint8Array {
  const writer = new ByteWriter(WELCOME_BYTES).u32(DOOR_MAGIC).u8(DOOR_VERSION);
  return writer
    .u8(isWelcome ? 0 : 1)
    .u32(member)
    .u32(leader)
    .finish();
}

export function decodeWelcome(bytes: Uint8Array): Result<Welcome, string> {
  return decodeWith(bytes, (reader) => {
    if (reader.u32() !== DOOR_MAGIC) throw new RangeError("it is no client door");
    const version = reader.u8();
    if (version !== DOOR_VERSION) throw new RangeError(`protocol version ${version}`);
    const verdict = reader.u8();
    if (verdict > 1) throw new RangeError(`verdict ${verdict}`);
    return { isWelcome: verdict === 0, member: reader.u32(), leader: reader.u32() };
  });
}

export function encodeError(error: ClusterError): Uint8Array {
  return utf8(JSON.stringify(error));
}

const CODES: Readonly<Record<ClusterError["code"], true>> = {
  NotLeader: true,
  NoLeader: true,
  ProposalDropped: true,
  TooLarge: true,
  Overloaded: true,
  DiskFull: true,
  Timeout: true,
  SessionExpired: true,
  Invalid: true,
  ApplyFailed: true,
  Stopped: true,
};

/** An error of a code that this version does not know becomes `Timeout`: the outcome is unknown. */
export function decodeError(bytes: Uint8Array): ClusterError {
  const text = new TextDecoder().decode(bytes);
  try {
    const value: unknown = JSON.parse(text);
    const code = typeof value === "object" && value !== null && "code" in value ? value.code : "";
    // Safe: its code is one of the union; the other fields are for people.
    if (typeof code === "string" && Object.hasOwn(CODES, code)) return value as ClusterError;
  } catch (caught) {
    return { code: "Timeout", operation: "call", reason: `unreadable answer: ${String(caught)}` };
  }
  return { code: "Timeout", operation: "call", reason: text };
}
