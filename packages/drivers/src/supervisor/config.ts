/** What a driver tells a new supervisor on its standard input; both are of one release. */

import { as, type Epoch, fail, formatTraceparent, parseTraceparent } from "@blixard/std";
import {
  asInteger,
  asNumber,
  asObject,
  asOneOf,
  asText,
  onlyFields,
  optional,
  parseWith,
  ShapeError,
} from "../json.ts";
import { readEmbeddedConfig } from "../machine/embedded-wire.ts";
import type { MachineConfig } from "../machine/types.ts";
import { readSpec } from "../state.ts";
import type { InstanceSpec, RunOptions } from "../types.ts";

const FORMAT = "blixard-supervise";
const VERSION = 1;

export interface SupervisorConfig {
  readonly folder: string;
  readonly driver: string;
  readonly spec: InstanceSpec;
  readonly run: RunOptions;
  readonly machine: MachineConfig;
}

/** What a supervisor answers on descriptor 3 once the machine runs, or instead of running it. */
export type StartAnswer =
  | { readonly ok: true; readonly socket: string }
  | { readonly ok: false; readonly failure: unknown };

export function encodeConfig(config: SupervisorConfig): string {
  const { epoch, deadlineMonotonicMs, trace } = config.run;
  const run = {
    epoch,
    deadlineMonotonicMs,
    ...(trace === undefined ? {} : { traceparent: formatTraceparent(trace) }),
  };
  return JSON.stringify({ format: FORMAT, version: VERSION, ...config, run });
}

/** Errors: InvalidArgument. */
export function decodeConfig(text: string): SupervisorConfig {
  const parsed = parseWith(text, readConfig);
  if (parsed.ok) return parsed.value;
  const reason = parsed.error;
  return fail(
    "InvalidArgument",
    { field: "stdin", reason },
    `This is not a supervisor's configuration: ${reason}`,
    "supervisors are started by the daemon; start VMs with: blixard vm start <name>",
  );
}

function readConfig(value: unknown): SupervisorConfig {
  const fields = asObject(value, "configuration");
  onlyFields(
    fields,
    ["format", "version", "folder", "driver", "spec", "run", "machine"],
    "configuration",
  );
  if (fields["format"] !== FORMAT || fields["version"] !== VERSION) {
    throw new ShapeError(`it is no ${FORMAT} of version ${VERSION}`);
  }
  return {
    folder: asText(fields["folder"], "folder"),
    driver: asText(fields["driver"], "driver"),
    spec: readSpec(fields["spec"]),
    run: readRun(fields["run"]),
    machine: readMachine(fields["machine"]),
  };
}

function readRun(value: unknown): RunOptions {
  const fields = asObject(value, "run");
  const header = optional(fields["traceparent"], "run.traceparent", asText);
  const trace = header === undefined ? undefined : parseTraceparent(header);
  return {
    epoch: as<Epoch>(asInteger(fields["epoch"], "run.epoch")),
    deadlineMonotonicMs: asNumber(fields["deadlineMonotonicMs"], "run.deadlineMonotonicMs"),
    ...(trace === undefined ? {} : { trace }),
  };
}

function readMachine(value: unknown): MachineConfig {
  const fields = asObject(value, "machine");
  const kind = asOneOf(fields["kind"], ["qemu", "fake", "embedded"] as const, "machine.kind");
  if (kind === "embedded") return readEmbeddedConfig(value, "machine");
  if (kind === "fake") return { kind, root: asText(fields["root"], "machine.root") };
  const disk = optional(fields["disk"], "machine.disk", asText);
  return {
    kind,
    binary: asText(fields["binary"], "machine.binary"),
    accel: asOneOf(fields["accel"], ["kvm", "tcg"] as const, "machine.accel"),
    sandbox: fields["sandbox"] === true,
    kernel: asText(fields["kernel"], "machine.kernel"),
    initrd: asText(fields["initrd"], "machine.initrd"),
    cmdline: asText(fields["cmdline"], "machine.cmdline"),
    vcpus: asInteger(fields["vcpus"], "machine.vcpus"),
    memoryBytes: asInteger(fields["memoryBytes"], "machine.memoryBytes"),
    ...(disk === undefined ? {} : { disk }),
  };
}
