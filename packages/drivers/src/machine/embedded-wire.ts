/**
 * Between a supervisor and its embedded machine, on the control socket: lines of JSON. First the machine's
 * configuration, named and versioned; then orders one way and words the other. Both are of one release.
 */

import type { VmMachineStats } from "@blixard/std";
import { asInteger, asNumber, asObject, asOneOf, asText, onlyFields, optional } from "../json.ts";
import { type JsonObject, parseWith, ShapeError } from "../json.ts";
import { LIMITS } from "../limits.ts";
import { readMachineStats } from "../stats.ts";
import type { EmbeddedMachineConfig } from "./types.ts";

const FORMAT = "blixard-embedded";
const VERSION = 1;

export type EmbeddedOrder =
  /** Lets the guest run its first instruction, until the deadline. */
  | { readonly kind: "run"; readonly deadlineMonotonicMs: number }
  | { readonly kind: "renew"; readonly deadlineMonotonicMs: number }
  | { readonly kind: "stats"; readonly id: number };

export type EmbeddedWord =
  /** The guest lies in memory, paused. */
  | { readonly kind: "ready" }
  /** What the guest was given cannot be booted. */
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "stats"; readonly id: number; readonly stats: VmMachineStats }
  | { readonly kind: "shutdown" }
  | { readonly kind: "leaseExpired" }
  | { readonly kind: "died"; readonly reason: string };

export function encodeEmbeddedConfig(config: EmbeddedMachineConfig): string {
  return `${JSON.stringify({ format: FORMAT, version: VERSION, ...config })}\n`;
}

const CONFIG_FIELDS = [
  "kind",
  "kernel",
  "initrd",
  "cmdline",
  "memoryBytes",
  "imageDisk",
  "disk",
  "cpuMillicores",
  "jit",
  "regions",
];

function readImageDisk(value: unknown, what: string): { base: string; overlay: string } {
  const fields = asObject(value, what);
  onlyFields(fields, ["base", "overlay"], what);
  return {
    base: asText(fields["base"], `${what}.base`),
    overlay: asText(fields["overlay"], `${what}.overlay`),
  };
}

/** `encodeEmbeddedConfig` without its marks; also part of a supervisor's configuration. Throws ShapeError. */
export function readEmbeddedConfig(value: unknown, what: string): EmbeddedMachineConfig {
  const fields = asObject(value, what);
  onlyFields(fields, CONFIG_FIELDS, what);
  const imageDisk = optional(fields["imageDisk"], `${what}.imageDisk`, readImageDisk);
  const jit = optional(fields["jit"], `${what}.jit`, (value, name) =>
    asOneOf(value, ["off", "on"] as const, name),
  );
  const cpuMillicores = optional(fields["cpuMillicores"], `${what}.cpuMillicores`, asInteger);
  const initrd = optional(fields["initrd"], `${what}.initrd`, asText);
  const regions = optional(fields["regions"], `${what}.regions`, asText);
  const disk = optional(fields["disk"], `${what}.disk`, asText);
  return {
    kind: asOneOf(fields["kind"], ["embedded"] as const, `${what}.kind`),
    kernel: asText(fields["kernel"], `${what}.kernel`),
    ...(initrd === undefined ? {} : { initrd }),
    cmdline: asText(fields["cmdline"], `${what}.cmdline`),
    memoryBytes: asInteger(fields["memoryBytes"], `${what}.memoryBytes`),
    ...(imageDisk === undefined ? {} : { imageDisk }),
    ...(disk === undefined ? {} : { disk }),
    ...(cpuMillicores === undefined ? {} : { cpuMillicores }),
    ...(jit === undefined ? {} : { jit }),
    ...(regions === undefined ? {} : { regions }),
  };
}

/** Throws ShapeError. */
export function decodeEmbeddedConfig(line: string): EmbeddedMachineConfig {
  return shaped(line, (value) => {
    const { format, version, ...config } = asObject(value, "configuration");
    if (format !== FORMAT || version !== VERSION) {
      throw new ShapeError(`it is no ${FORMAT} of version ${VERSION}`);
    }
    return readEmbeddedConfig(config, "configuration");
  });
}

export function encodeLine(message: EmbeddedOrder | EmbeddedWord): string {
  return `${JSON.stringify(message)}\n`;
}

/** Throws ShapeError. */
export function decodeOrder(line: string): EmbeddedOrder {
  return shaped(line, (value) => {
    const fields = asObject(value, "order");
    const kind = asOneOf(fields["kind"], ["run", "renew", "stats"] as const, "order.kind");
    if (kind === "stats") return { kind, id: asInteger(fields["id"], "order.id") };
    return {
      kind,
      deadlineMonotonicMs: asNumber(fields["deadlineMonotonicMs"], "order.deadlineMonotonicMs"),
    };
  });
}

const WORDS = ["ready", "refused", "stats", "shutdown", "leaseExpired", "died"] as const;

/** Throws ShapeError. */
export function decodeWord(line: string): EmbeddedWord {
  return shaped(line, (value) => {
    const fields: JsonObject = asObject(value, "word");
    const kind = asOneOf(fields["kind"], WORDS, "word.kind");
    if (kind === "stats") {
      const stats = readMachineStats(fields["stats"], "word.stats");
      return { kind, id: asInteger(fields["id"], "word.id"), stats };
    }
    if (kind !== "refused" && kind !== "died") return { kind };
    return { kind, reason: asText(fields["reason"], "word.reason") };
  });
}

function shaped<T>(line: string, read: (value: unknown) => T): T {
  const parsed = parseWith(line, read);
  if (parsed.ok) return parsed.value;
  throw new ShapeError(parsed.error);
}

/** Cuts a stream of text into lines; throws ShapeError on one that does not end. */
export class Lines {
  #rest = "";

  push(text: string): string[] {
    const parts = (this.#rest + text).split("\n");
    this.#rest = parts.pop() ?? "";
    if (this.#rest.length > LIMITS.embeddedLineBytes) {
      this.#rest = "";
      throw new ShapeError(`a line of more than ${LIMITS.embeddedLineBytes} bytes`);
    }
    return parts;
  }
}
