/** Stored and sent forms of configurations. Little-endian, version byte first. */

import { ByteWriter, decodeWith, type ByteReader, type PeerId, type Result } from "@blixard/std";
import { as } from "@blixard/std";
import { isJointChange } from "./changes.ts";
import { MAX_CHANGES, MAX_CONTEXT_BYTES, MAX_MEMBERS } from "./limits.ts";
import type { AnyConfChange, ConfChange, ConfChangeOp, ConfState, JointChange } from "./types.ts";

/** One change alone, as ever. */
const CONF_CHANGE_VERSION = 1;
/** Any number of changes, for members that know joint configurations. */
const JOINT_CHANGE_VERSION = 2;
const TRANSITIONS: readonly JointChange["transition"][] = ["auto", "implicit", "explicit"];
const CONF_STATE_VERSION = 1;
/** Positions are part of the format: append only. */
const OPS: readonly ConfChangeOp[] = ["addVoter", "addLearner", "removeMember", "updateMember"];

/** Thrown inside decoders only; decodeWith turns it into the reason of its Result. */
export class FormatError extends Error {
  override readonly name = "FormatError";
}

export function expectByte(reader: ByteReader, expected: number, what: string): void {
  const found = reader.u8();
  if (found !== expected) throw new FormatError(`${what} ${found}, expected ${expected}`);
}

export function readFlag(reader: ByteReader): boolean {
  const value = reader.u8();
  if (value > 1) throw new FormatError(`flag ${value}`);
  return value === 1;
}

export function readPeer(reader: ByteReader): PeerId {
  const value = reader.u32();
  if (value === 0) throw new FormatError("member id 0");
  return as<PeerId>(value);
}

/** The name behind a small number. */
export function readEnum<T>(reader: ByteReader, names: readonly T[], what: string): T {
  const value = reader.u8();
  const name = names[value];
  if (name === undefined) throw new FormatError(`${what} ${value}`);
  return name;
}

/** version u8 = 1, op u8, peer u32, context bytes. */
export function encodeConfChange(change: ConfChange): Uint8Array {
  const writer = new ByteWriter(16 + change.context.length);
  writer.u8(CONF_CHANGE_VERSION);
  writeSingle(writer, change);
  return writer.finish();
}

/** As above, or version u8 = 2, transition u8, count u32, then each change as above from op on. */
export function encodeAnyChange(change: AnyConfChange): Uint8Array {
  if (!isJointChange(change)) return encodeConfChange(change);
  const writer = new ByteWriter(32);
  writer.u8(JOINT_CHANGE_VERSION).u8(TRANSITIONS.indexOf(change.transition));
  writer.u32(change.changes.length);
  for (const single of change.changes) writeSingle(writer, single);
  return writer.finish();
}

function writeSingle(writer: ByteWriter, { op, peer, context }: ConfChange): void {
  writer.u8(OPS.indexOf(op)).u32(peer).bytes(context);
}

function readSingle(reader: ByteReader): ConfChange {
  const op = readEnum(reader, OPS, "conf change op");
  const peer = readPeer(reader);
  const context = reader.bytes();
  if (context.length > MAX_CONTEXT_BYTES) throw new FormatError("context too large");
  return { op, peer, context };
}

/** One change alone. The context is a view of `bytes`. */
export function decodeConfChange(bytes: Uint8Array): Result<ConfChange, string> {
  return decodeWith(bytes, (reader) => {
    expectByte(reader, CONF_CHANGE_VERSION, "conf change version");
    return readSingle(reader);
  });
}

/** Whatever a "config" entry may hold. Contexts are views of `bytes`. */
export function decodeAnyChange(bytes: Uint8Array): Result<AnyConfChange, string> {
  if (bytes[0] !== JOINT_CHANGE_VERSION) return decodeConfChange(bytes);
  return decodeWith(bytes, (reader) => {
    expectByte(reader, JOINT_CHANGE_VERSION, "conf change version");
    const transition = readEnum(reader, TRANSITIONS, "transition");
    const count = reader.u32();
    if (count > MAX_CHANGES) throw new FormatError(`${count} changes`);
    const changes: ConfChange[] = [];
    for (let i = 0; i < count; i++) changes.push(readSingle(reader));
    return { transition, changes };
  });
}

function writePeers(writer: ByteWriter, peers: readonly PeerId[]): void {
  writer.u32(peers.length);
  for (const peer of peers) writer.u32(peer);
}

function readPeers(reader: ByteReader): PeerId[] {
  const count = reader.u32();
  if (count > MAX_MEMBERS) throw new FormatError(`${count} members`);
  const peers: PeerId[] = [];
  for (let i = 0; i < count; i++) peers.push(readPeer(reader));
  return peers;
}

export function writeConfState(writer: ByteWriter, conf: ConfState): void {
  writePeers(writer, conf.voters);
  writePeers(writer, conf.votersOutgoing);
  writePeers(writer, conf.learners);
  writePeers(writer, conf.learnersNext);
  writer.u8(conf.autoLeave ? 1 : 0);
}

export function readConfState(reader: ByteReader): ConfState {
  return {
    voters: readPeers(reader),
    votersOutgoing: readPeers(reader),
    learners: readPeers(reader),
    learnersNext: readPeers(reader),
    autoLeave: readFlag(reader),
  };
}

/** version u8, then each list as count u32 and ids u32, then autoLeave u8. */
export function encodeConfState(conf: ConfState): Uint8Array {
  const writer = new ByteWriter(64);
  writer.u8(CONF_STATE_VERSION);
  writeConfState(writer, conf);
  return writer.finish();
}

export function decodeConfState(bytes: Uint8Array): Result<ConfState, string> {
  return decodeWith(bytes, (reader) => {
    expectByte(reader, CONF_STATE_VERSION, "conf state version");
    return readConfState(reader);
  });
}
