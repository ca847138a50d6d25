/**
 * What daemon and supervisor say to each other over the supervisor's unix socket. Each side opens with
 * eight bytes: "BLXSUP", version, role. A "control" connection carries frames (u32 length, then one
 * JSON object); an "agent" connection carries the guest agent's bytes as they are. The format outlives
 * both sides' releases: a daemon that was upgraded adopts supervisors of the version before.
 */

import {
  as,
  BlixardError,
  concat,
  type Failure,
  failure,
  isFailure,
  unreachable,
  utf8,
  utf8Text,
  type VmId,
  type VmMachineStats,
} from "@blixard/std";
import { asInteger, asNumber, asObject, asOneOf, asText, asTexts } from "./json.ts";
import { type JsonObject, optional, ShapeError } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { readProgress } from "./state.ts";
import { readMachineStats } from "./stats.ts";
import type { InstanceStatus } from "./types.ts";

const MAGIC = utf8("BLXSUP");
export const WIRE_VERSION = 1;
export const PREAMBLE_BYTES = 8;

export type Role = "control" | "agent";
const ROLES: readonly Role[] = ["control", "agent"];

/** Daemon to supervisor. */
export type Order =
  /** Never moves the deadline backwards. */
  | { readonly kind: "renew"; readonly deadlineMonotonicMs: number }
  | { readonly kind: "stop"; readonly graceMs: number }
  | { readonly kind: "kill" }
  /** Only to a supervisor whose status says that it answers. */
  | { readonly kind: "stats"; readonly id: number }
  /** The workload ended while the daemon held the agent's line. */
  | { readonly kind: "commandExit"; readonly code: number };

/** What is asked of a supervisor beyond the first release's orders; an older one would hang up. */
export const ANSWERS = ["stats"] as const;
export type Answer = (typeof ANSWERS)[number];

/** Supervisor to daemon. */
export type Report =
  /** Sent on connecting and at each change. */
  | {
      readonly kind: "status";
      readonly status: InstanceStatus;
      readonly consoleEnd: number;
      /** Absent: the first release's, which answers nothing. */
      readonly answers?: readonly Answer[];
    }
  /** One of the two: what was measured, or why it was not. */
  | {
      readonly kind: "stats";
      readonly id: number;
      readonly consoleEnd: number;
      readonly stats?: VmMachineStats;
      readonly failure?: Failure;
    }
  /** The console log now reaches to this offset. */
  | { readonly kind: "console"; readonly consoleEnd: number };

export function preamble(role: Role): Uint8Array {
  const out = new Uint8Array(PREAMBLE_BYTES);
  out.set(MAGIC);
  out[6] = WIRE_VERSION;
  out[7] = ROLES.indexOf(role);
  return out;
}

/** `bytes` holds PREAMBLE_BYTES; throws Unsupported for another version, Corrupt for anything else. */
export function readPreamble(bytes: Uint8Array): Role {
  if (!MAGIC.every((byte, at) => bytes[at] === byte)) throw broken("no preamble");
  const version = bytes[6];
  if (version !== WIRE_VERSION) {
    const what = `supervisor protocol version ${version}`;
    throw new BlixardError(
      failure("Unsupported", { what }, `${what}; this release speaks version ${WIRE_VERSION}`),
    );
  }
  const role = ROLES[bytes[7] ?? ROLES.length];
  if (role === undefined) throw broken(`role ${bytes[7]} is unknown`);
  return role;
}

export function encodeFrame(message: Order | Report): Uint8Array {
  const body = utf8(JSON.stringify(message));
  if (body.length > LIMITS.frameBytes) throw broken(`a frame of ${body.length} bytes to send`);
  const out = new Uint8Array(4 + body.length);
  new DataView(out.buffer).setUint32(0, body.length, true);
  out.set(body, 4);
  return out;
}

/** Cuts a byte stream into frames and reads each with `read`; holds at most one unfinished frame. */
export class FrameReader<T> {
  #pending: Uint8Array = new Uint8Array(0);
  readonly #read: (value: unknown) => T;

  constructor(read: (value: unknown) => T) {
    this.#read = read;
  }

  /** Throws Corrupt; the connection is then of no further use. */
  push(chunk: Uint8Array): T[] {
    let bytes = this.#pending.length === 0 ? chunk : concat([this.#pending, chunk]);
    const out: T[] = [];
    while (bytes.length >= 4) {
      const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
      if (length > LIMITS.frameBytes) throw broken(`a frame of ${length} bytes`);
      if (bytes.length < 4 + length) break;
      out.push(this.#decode(bytes.subarray(4, 4 + length)));
      bytes = bytes.subarray(4 + length);
    }
    // A copy: the view would keep the whole chunk alive.
    this.#pending = bytes.slice();
    return out;
  }

  #decode(body: Uint8Array): T {
    try {
      return this.#read(JSON.parse(utf8Text(body)));
    } catch (caught) {
      throw broken(caught instanceof Error ? caught.message : String(caught));
    }
  }
}

export function readOrder(value: unknown): Order {
  const fields = asObject(value, "order");
  const kinds = ["renew", "stop", "kill", "commandExit", "stats"] as const;
  const kind = asOneOf(fields["kind"], kinds, "order.kind");
  switch (kind) {
    case "renew":
      return { kind, deadlineMonotonicMs: asNumber(fields["deadlineMonotonicMs"], "deadline") };
    case "stop":
      return { kind, graceMs: asNumber(fields["graceMs"], "graceMs") };
    case "kill":
      return { kind };
    case "stats":
      return { kind, id: asInteger(fields["id"], "id") };
    case "commandExit":
      return { kind, code: asInteger(fields["code"], "code") };
    default:
      return unreachable(kind);
  }
}

function readStatus(value: unknown): InstanceStatus {
  const fields = asObject(value, "status");
  const vmId = asText(fields["vmId"], "status.vmId");
  if (!/^[0-9a-f]{16}$/.test(vmId)) throw new ShapeError("status.vmId is not 16 hex digits");
  const { supervisorPid, backendPid } = fields;
  return {
    vmId: as<VmId>(vmId),
    ...readProgress(fields),
    ...(supervisorPid === undefined
      ? {}
      : { supervisorPid: asInteger(supervisorPid, "status.supervisorPid") }),
    ...(backendPid === undefined ? {} : { backendPid: asInteger(backendPid, "status.backendPid") }),
  };
}

export function readReport(value: unknown): Report {
  const fields = asObject(value, "report");
  const kind = asOneOf(fields["kind"], ["status", "console", "stats"] as const, "report.kind");
  const consoleEnd = asInteger(fields["consoleEnd"], "report.consoleEnd");
  if (kind === "console") return { kind, consoleEnd };
  if (kind === "stats") return readStats(fields, consoleEnd);
  // Names that this release does not know are a later one's.
  const told = optional(fields["answers"], "report.answers", asTexts);
  const answers = ANSWERS.filter((name) => told?.includes(name) === true);
  const status = readStatus(fields["status"]);
  return { kind, consoleEnd, status, ...(told === undefined ? {} : { answers }) };
}

function readStats(fields: JsonObject, consoleEnd: number): Report {
  const id = asInteger(fields["id"], "report.id");
  const failed = fields["failure"];
  if (failed === undefined) {
    const stats = readMachineStats(fields["stats"], "report.stats");
    return { kind: "stats", id, consoleEnd, stats };
  }
  if (!isFailure(failed)) throw new ShapeError("report.failure is none");
  return { kind: "stats", id, consoleEnd, failure: failed };
}

function broken(reason: string): BlixardError {
  const where = "supervisor socket";
  return new BlixardError(
    failure("Corrupt", { what: "frame", where }, `Protocol error on the ${where}: ${reason}`),
  );
}
