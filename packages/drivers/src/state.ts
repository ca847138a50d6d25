/**
 * `instance.json`: what is known of a VM on this host, written whole and durably at each change.
 * The driver writes it once when it creates the folder; from a start on, the supervisor that holds
 * the instance's lock is the only writer.
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createFile, isMissing, replaceFile } from "@blixard/host";
import { as, type Epoch, fail, toBlixardError, type VmId } from "@blixard/std";
import {
  asInteger,
  asObject,
  asOneOf,
  asText,
  asTexts,
  type JsonObject,
  onlyFields,
  optional,
  parseWith,
  ShapeError,
} from "./json.ts";
import { LIMITS } from "./limits.ts";
import type { ProcessIdentity } from "./os/index.ts";
import type { InstanceEnd, InstancePhase, InstanceSpec, InstanceStatus } from "./types.ts";

export const STATE_FILE = "instance.json";
const FORMAT = "blixard-instance";
const VERSION = 1;

export interface InstanceState {
  readonly spec: InstanceSpec;
  /** Name of the driver that made it. */
  readonly driver: string;
  /** Random part of the lock's address, so that no other user can hold it in our stead. */
  readonly lockToken: string;
  /** Of the last start; 0 before the first. */
  readonly epoch: Epoch;
  readonly phase: InstancePhase;
  readonly ended?: InstanceEnd;
  readonly commandExit?: number;
  readonly supervisor?: ProcessIdentity;
  /** Recorded before the machine runs its first instruction. */
  readonly backend?: ProcessIdentity;
  /** The supervisor's unix socket; absolute when the folder's path is too long for one. */
  readonly socket?: string;
}

const PHASES = ["created", "starting", "running", "stopping", "stopped"] as const;

export function readSpec(value: unknown, what = "spec"): InstanceSpec {
  const fields = asObject(value, what);
  onlyFields(
    fields,
    ["vmId", "name", "image", "vcpus", "memoryBytes", "diskBytes", "command"],
    what,
  );
  const vmId = asText(fields["vmId"], `${what}.vmId`);
  if (!/^[0-9a-f]{16}$/.test(vmId)) throw new ShapeError(`${what}.vmId is not 16 hex digits`);
  return {
    vmId: as<VmId>(vmId),
    name: asText(fields["name"], `${what}.name`),
    image: asText(fields["image"], `${what}.image`),
    vcpus: asInteger(fields["vcpus"], `${what}.vcpus`),
    memoryBytes: asInteger(fields["memoryBytes"], `${what}.memoryBytes`),
    diskBytes: asInteger(fields["diskBytes"], `${what}.diskBytes`),
    command: asTexts(fields["command"], `${what}.command`),
  };
}

function readIdentity(value: unknown, what: string): ProcessIdentity {
  const fields = asObject(value, what);
  return {
    pid: asInteger(fields["pid"], `${what}.pid`),
    startTime: asText(fields["startTime"], `${what}.startTime`),
  };
}

export function readEnd(value: unknown, what: string): InstanceEnd {
  const fields = asObject(value, what);
  const kinds = ["shutdown", "killed", "leaseExpired", "crashed"] as const;
  const kind = asOneOf(fields["kind"], kinds, `${what}.kind`);
  if (kind !== "crashed") return { kind };
  return { kind, reason: asText(fields["reason"], `${what}.reason`) };
}

/** The fields that state file and status message share. */
export function readProgress(fields: JsonObject): {
  epoch: Epoch;
  phase: InstancePhase;
  ended?: InstanceEnd;
  commandExit?: number;
} {
  const ended = optional(fields["ended"], "ended", readEnd);
  const commandExit = optional(fields["commandExit"], "commandExit", asInteger);
  return {
    epoch: as<Epoch>(asInteger(fields["epoch"], "epoch")),
    phase: asOneOf(fields["phase"], PHASES, "phase"),
    ...(ended === undefined ? {} : { ended }),
    ...(commandExit === undefined ? {} : { commandExit }),
  };
}

function readState(value: unknown): InstanceState {
  const fields = asObject(value, "the file");
  if (fields["format"] !== FORMAT) throw new ShapeError(`"format" is not "${FORMAT}"`);
  const version = asInteger(fields["version"], "version");
  if (version !== VERSION) throw new ShapeError(`version ${version} is not ${VERSION}`);
  const supervisor = optional(fields["supervisor"], "supervisor", readIdentity);
  const backend = optional(fields["backend"], "backend", readIdentity);
  const socket = optional(fields["socket"], "socket", asText);
  return {
    spec: readSpec(fields["spec"]),
    driver: asText(fields["driver"], "driver"),
    lockToken: asText(fields["lockToken"], "lockToken"),
    ...readProgress(fields),
    ...(supervisor === undefined ? {} : { supervisor }),
    ...(backend === undefined ? {} : { backend }),
    ...(socket === undefined ? {} : { socket }),
  };
}

export function encodeState(state: InstanceState): string {
  return `${JSON.stringify({ format: FORMAT, version: VERSION, ...state }, undefined, 2)}\n`;
}

export function decodeState(text: string, path: string): InstanceState {
  const parsed = parseWith(text, readState);
  if (parsed.ok) return parsed.value;
  return fail(
    "Corrupt",
    { what: "instance state", where: path },
    `Cannot read ${path}: ${parsed.error}`,
    "delete the VM with: blixard vm rm <name>, or restore the file",
  );
}

/** Undefined when the folder or the file does not exist; throws Corrupt. */
export async function loadState(folder: string): Promise<InstanceState | undefined> {
  const path = join(folder, STATE_FILE);
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (caught) {
    if (isMissing(caught)) return undefined;
    throw toBlixardError(caught, `reading ${path}`);
  }
  if (bytes.length > LIMITS.stateBytes) {
    fail(
      "TooLarge",
      { what: path, limit: LIMITS.stateBytes, actual: bytes.length },
      `${path} has ${bytes.length} bytes`,
    );
  }
  return decodeState(Buffer.from(bytes).toString("utf8"), path);
}

/** Atomic and durable: readers see the old or the new file, also after a power loss. */
export async function saveState(folder: string, state: InstanceState): Promise<void> {
  await replaceFile(join(folder, STATE_FILE), encodeState(state), 0o600);
}

/** Like `saveState`, but false when the file exists already. */
export async function createState(folder: string, state: InstanceState): Promise<boolean> {
  return await createFile(join(folder, STATE_FILE), encodeState(state), 0o600);
}

/** What callers see of a state, taken at its word: whether the processes live is not checked. */
export function statusOf(state: InstanceState): InstanceStatus {
  const ran = isActive(state.phase);
  return {
    vmId: state.spec.vmId,
    epoch: state.epoch,
    phase: state.phase,
    ...(state.ended === undefined ? {} : { ended: state.ended }),
    ...(state.commandExit === undefined ? {} : { commandExit: state.commandExit }),
    ...(ran && state.supervisor !== undefined ? { supervisorPid: state.supervisor.pid } : {}),
    ...(ran && state.backend !== undefined ? { backendPid: state.backend.pid } : {}),
  };
}

/** Whether a supervisor and its backend belong to this phase. */
export function isActive(phase: InstancePhase): boolean {
  return phase === "starting" || phase === "running" || phase === "stopping";
}
