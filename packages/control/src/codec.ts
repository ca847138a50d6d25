/**
 * Commands as bytes in the log: magic "BXC", the version that introduced the kind, then UTF-8 JSON
 * `{"meta": ..., "command": ...}`. A kind's meaning never changes; see docs/formats.md.
 */

import {
  concat,
  err,
  failure,
  ok,
  utf8,
  utf8Text,
  type Failure,
  type LogIndex,
  type Result,
} from "@blixard/std";
import * as field from "./fields.ts";
import { COMMAND_BYTES_MAX, JOIN_TOKEN_USES_MAX } from "./limits.ts";
import type { ControlState } from "./state.ts";
import type {
  Command,
  CommandMeta,
  NodeRegistration,
  NodeRegistrationBase,
  VmSpec,
} from "./types.ts";
import { counter, decode, integer, invalid, oneOf, record, type Decoder } from "./validate.ts";

export type CommandKind = Command["kind"];
type CommandOf<K extends CommandKind> = Extract<Command, { readonly kind: K }>;

/** The command version that introduced each kind. */
export const COMMAND_VERSIONS: { readonly [K in CommandKind]: number } = Object.freeze({
  acquireLease: 1,
  admitNode: 1,
  claimStart: 1,
  createJoinToken: 1,
  createVm: 1,
  deleteVm: 1,
  expireLease: 1,
  placeVm: 1,
  registerNode: 1,
  removeNode: 1,
  reportHealth: 3,
  reportVm: 1,
  setDesired: 1,
  setMaintenance: 2,
  setVmBounds: 3,
  settleVm: 2,
});

/** What this software understands: a node registers with it. */
export const COMMAND_VERSION = Math.max(...Object.values(COMMAND_VERSIONS));

const HEADER_BYTES = 4;
const MAGIC = utf8("BXC");

const base = {
  id: field.nodeId,
  name: field.name,
  publicKey: field.publicKey,
  address: field.address,
};

const registration = record<NodeRegistration>(
  {
    ...base,
    peerId: field.peerId,
    capacity: field.nodeCapacity,
    drivers: field.drivers,
    labels: field.labels,
    commandVersion: field.commandVersion,
  },
  {},
);

const desired = oneOf("running", "stopped");
const leaseEpoch = counter<number>();

const DECODERS: { readonly [K in CommandKind]: Decoder<CommandOf<K>> } = {
  acquireLease: record<CommandOf<"acquireLease">>(
    { kind: oneOf("acquireLease"), nodeId: field.nodeId, fromEpoch: leaseEpoch },
    {},
  ),
  admitNode: record<CommandOf<"admitNode">>(
    {
      kind: oneOf("admitNode"),
      tokenHash: field.sha256,
      node: record<NodeRegistrationBase>(base, {}),
    },
    {},
  ),
  claimStart: record<CommandOf<"claimStart">>(
    { kind: oneOf("claimStart"), vmId: field.vmId, nodeId: field.nodeId, leaseEpoch },
    {},
  ),
  createJoinToken: record<CommandOf<"createJoinToken">>(
    {
      kind: oneOf("createJoinToken"),
      hash: field.sha256,
      uses: integer(1, JOIN_TOKEN_USES_MAX),
      expiresAtMs: field.unixMs,
    },
    {},
  ),
  createVm: record<CommandOf<"createVm">>(
    { kind: oneOf("createVm"), vmId: field.vmId, spec: field.vmSpec, desired },
    {},
  ),
  deleteVm: record<CommandOf<"deleteVm">>({ kind: oneOf("deleteVm"), vmId: field.vmId }, {}),
  expireLease: record<CommandOf<"expireLease">>(
    {
      kind: oneOf("expireLease"),
      nodeId: field.nodeId,
      leaseEpoch,
      term: counter(),
    },
    {},
  ),
  placeVm: record<CommandOf<"placeVm">>(
    {
      kind: oneOf("placeVm"),
      vmId: field.vmId,
      nodeId: field.nodeId,
      atRevision: counter<LogIndex>(),
    },
    {},
  ),
  registerNode: record<CommandOf<"registerNode">>(
    { kind: oneOf("registerNode"), node: registration },
    {},
  ),
  removeNode: record<CommandOf<"removeNode">>(
    { kind: oneOf("removeNode"), nodeId: field.nodeId },
    {},
  ),
  reportHealth: record<CommandOf<"reportHealth">>(
    {
      kind: oneOf("reportHealth"),
      vmId: field.vmId,
      nodeId: field.nodeId,
      leaseEpoch,
      epoch: field.epoch,
      health: oneOf("responsive", "unresponsive"),
    },
    {},
  ),
  setVmBounds: record<CommandOf<"setVmBounds">>(
    { kind: oneOf("setVmBounds"), nodeId: field.nodeId, vmBounds: field.vmBounds },
    {},
  ),
  reportVm: record<CommandOf<"reportVm">>(
    {
      kind: oneOf("reportVm"),
      vmId: field.vmId,
      nodeId: field.nodeId,
      leaseEpoch,
      epoch: field.epoch,
      phase: oneOf("running", "stopping", "stopped", "failed", "crashed", "gone"),
    },
    { reason: field.reason, commandExit: field.exitCode },
  ),
  setDesired: record<CommandOf<"setDesired">>(
    { kind: oneOf("setDesired"), vmId: field.vmId, desired },
    {},
  ),
  setMaintenance: record<CommandOf<"setMaintenance">>(
    {
      kind: oneOf("setMaintenance"),
      nodeId: field.nodeId,
      maintenance: oneOf("none", "cordon", "drain", "drainDisks"),
    },
    {},
  ),
  settleVm: record<CommandOf<"settleVm">>(
    {
      kind: oneOf("settleVm"),
      vmId: field.vmId,
      nodeId: field.nodeId,
      leaseEpoch,
      epoch: field.epoch,
    },
    {},
  ),
};

const META = record<CommandMeta>(
  { correlationId: field.correlationId, proposedAtMs: field.unixMs },
  {},
);

interface Envelope {
  readonly meta: CommandMeta;
  readonly command: Command;
}

function unsupported(what: string): Failure {
  const message = `Cannot apply ${what}: this software does not know it`;
  return failure("Unsupported", { what }, message, "upgrade blixard on every node");
}

function malformed(where: string, reason: string): Failure {
  const message = `Cannot read the command: ${reason}`;
  return failure("Corrupt", { what: "command", where }, message);
}

function isKind(kind: unknown): kind is CommandKind {
  return typeof kind === "string" && Object.hasOwn(COMMAND_VERSIONS, kind);
}

const COMMAND: Decoder<Command> = (value, path) => {
  const kind = kindOf(value);
  return isKind(kind) ? DECODERS[kind](value, path) : invalid(kind, `${path}.kind`, "a kind");
};

function kindOf(command: unknown): unknown {
  return typeof command === "object" && command !== null && "kind" in command
    ? command.kind
    : undefined;
}

const ENVELOPE = record<Envelope>({ meta: META, command: COMMAND }, {});

/** Whole milliseconds and a reason that fits: what a careful proposer would have sent. */
function tidy(command: Command, meta: CommandMeta): Envelope {
  const proposedAtMs = Math.max(0, Math.trunc(meta.proposedAtMs));
  const whole = { correlationId: meta.correlationId, proposedAtMs };
  if (command.kind !== "reportVm" || command.reason === undefined) return { meta: whole, command };
  return { meta: whole, command: { ...command, reason: field.clipReason(command.reason) } };
}

/**
 * Bytes for the log. Does not validate (apply will): check user input with `validateVmSpec` and the
 * like, and the cluster with `checkProposable`. A report's over-long reason is clipped.
 */
export function encodeCommand(command: Command, meta: CommandMeta): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES);
  header.set(MAGIC);
  header[MAGIC.length] = COMMAND_VERSIONS[command.kind];
  return concat([header, utf8(JSON.stringify(tidy(command, meta)))]);
}

function parse(bytes: Uint8Array): Result<unknown, Failure> {
  try {
    return ok(JSON.parse(utf8Text(bytes)));
  } catch {
    // The engine's own message is left out: failures must be the same on every node.
    return err(malformed(`byte ${HEADER_BYTES}`, "it is not JSON in UTF-8"));
  }
}

/**
 * The exact reverse of `encodeCommand` for anything that may stand in the log. Failures are the
 * same on every node: Corrupt (not a command at all), TooLarge, Unsupported (version or kind
 * unknown here), InvalidArgument (a field).
 */
export function decodeCommand(bytes: Uint8Array): Result<Envelope, Failure> {
  if (bytes.length > COMMAND_BYTES_MAX) {
    const data = { what: "command", limit: COMMAND_BYTES_MAX, actual: bytes.length };
    const message = `A command has at most ${COMMAND_BYTES_MAX} bytes, this one ${bytes.length}`;
    return err(failure("TooLarge", data, message));
  }
  const version = bytes[MAGIC.length];
  if (version === undefined || !MAGIC.every((byte, i) => bytes[i] === byte)) {
    return err(malformed("byte 0", "it does not begin with the magic bytes"));
  }
  if (version === 0 || version > COMMAND_VERSION) {
    return err(unsupported(`a command of version ${version}`));
  }
  const parsed = parse(bytes.subarray(HEADER_BYTES));
  if (!parsed.ok) return parsed;
  const body = parsed.value;
  const inner =
    typeof body === "object" && body !== null && "command" in body ? body.command : null;
  const kind = kindOf(inner);
  if (typeof kind === "string" && !isKind(kind)) {
    return err(
      unsupported(`a command of kind ${JSON.stringify(kind.slice(0, 60).toWellFormed())}`),
    );
  }
  if (isKind(kind) && COMMAND_VERSIONS[kind] !== version) {
    return err(unsupported(`kind ${kind} in version ${version}`));
  }
  return decode(ENVELOPE, body, "");
}

/** Lowest command version among the nodes: what may be proposed. 1 while there are none. */
export function lowestCommandVersion(state: ControlState): number {
  let lowest = COMMAND_VERSION;
  for (const node of state.nodes.values()) lowest = Math.min(lowest, node.commandVersion);
  return lowest;
}

/** Refuses, before it is proposed, a command that some node of the cluster would not understand. */
export function checkProposable(state: ControlState, command: Command): Result<void, Failure> {
  const needed = isKind(command.kind) ? COMMAND_VERSIONS[command.kind] : Number.POSITIVE_INFINITY;
  const lowest = lowestCommandVersion(state);
  if (needed <= lowest) return ok(undefined);
  const what = `${command.kind} (command version ${needed})`;
  const why = `a node of the cluster understands only version ${lowest}`;
  const message = `Cannot propose ${what}: ${why}`;
  return err(failure("Unsupported", { what }, message, "blixard cluster status"));
}

/** A VM description in canonical form, or InvalidArgument naming the field that is wrong. */
export function validateVmSpec(spec: unknown): Result<VmSpec, Failure> {
  return decode(field.vmSpec, spec, "");
}

/** As a node registers itself: the same rules that apply will use. */
export function validateRegistration(node: unknown): Result<NodeRegistration, Failure> {
  return decode(registration, node, "");
}
