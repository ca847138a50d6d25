/** Decoders of the fields that commands and records share. */

import type { CorrelationId, Epoch, NodeId, PeerId, PublicKeyHex, VmId } from "@blixard/std";
import { utf8 } from "@blixard/std";
import * as limits from "./limits.ts";
import type { Capacity, VmBounds, VmSpec } from "./types.ts";
import { counter, dictionary, integer, invalid, list, pattern, record, text } from "./validate.ts";
import type { Decoder } from "./validate.ts";

// oxlint-disable-next-line no-control-regex -- control characters are exactly what is refused
const CONTROL = /[\u0000-\u001f\u007f]/;
// oxlint-disable-next-line no-control-regex -- NUL cannot be part of an argument vector
const NUL = /\u0000/;

const NAME = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;

export const name = pattern<string>(
  NAME,
  `1 to ${limits.NAME_CHARS_MAX} lower-case letters, digits or "-", ` +
    `beginning and ending with a letter or digit`,
);
export const image = pattern<string>(
  /^[\u0021-\u007e]{1,255}$/,
  `1 to ${limits.IMAGE_CHARS_MAX} printable ASCII characters without spaces`,
);
export const address = pattern<string>(
  /^[\u0021-\u007e]{1,255}$/,
  `host:port of at most ${limits.ADDRESS_CHARS_MAX} printable ASCII characters`,
);
export const nodeId = pattern<NodeId>(/^[0-9a-f]{32}$/, "32 lower-case hex digits");
export const vmId = pattern<VmId>(/^[0-9a-f]{16}$/, "16 lower-case hex digits");
export const publicKey = pattern<PublicKeyHex>(/^[0-9a-f]{64}$/, "64 lower-case hex digits");
export const sha256 = pattern<string>(/^[0-9a-f]{64}$/, "64 lower-case hex digits");
export const correlationId = pattern<CorrelationId>(/^[0-9a-f]{32}$/, "32 lower-case hex digits");
export const peerId = integer<PeerId>(1, 0xffffffff);
export const epoch: Decoder<Epoch> = counter<Epoch>();
export const unixMs = counter<number>();
export const reason = text(limits.REASON_BYTES_MAX);
export const exitCode = integer<number>(0, limits.EXIT_CODE_MAX);
export const commandVersion = integer<number>(1, 255);

export const labels = dictionary(
  pattern(
    /^[a-z0-9](?:[-a-z0-9._/]{0,61}[a-z0-9])?$/,
    `1 to ${limits.LABEL_KEY_CHARS_MAX} lower-case letters, digits, "-", ".", "_" or "/"`,
  ),
  text(limits.LABEL_VALUE_BYTES_MAX, CONTROL),
  limits.LABELS_MAX,
);

export const drivers = list(name, limits.DRIVERS_MAX);

const args = list(text(limits.COMMAND_ARGS_BYTES_MAX, NUL), limits.COMMAND_ARGS_MAX);

export const argv: Decoder<readonly string[]> = (value, path) => {
  const checked = args(value, path);
  let bytes = 0;
  for (const arg of checked) bytes += utf8(arg).length;
  if (bytes > limits.COMMAND_ARGS_BYTES_MAX) {
    return invalid(value, path, `at most ${limits.COMMAND_ARGS_BYTES_MAX} bytes in all`);
  }
  return checked;
};

export const vmSpec = record<VmSpec>(
  {
    name,
    image,
    vcpus: integer(limits.VCPUS_MIN, limits.VCPUS_MAX),
    memoryBytes: integer(limits.MEMORY_BYTES_MIN, limits.MEMORY_BYTES_MAX, " bytes"),
    diskBytes: integer(0, limits.DISK_BYTES_MAX, " bytes"),
    labels,
    command: argv,
  },
  {},
);

export const nodeCapacity = record<Capacity>(
  {
    vcpus: integer(0, limits.NODE_VCPUS_MAX),
    memoryBytes: integer(0, limits.NODE_MEMORY_BYTES_MAX, " bytes"),
    diskBytes: integer(0, limits.NODE_DISK_BYTES_MAX, " bytes"),
  },
  {},
);

const bounds = record<VmBounds>(
  {
    vcpusMax: integer(1, limits.NODE_VCPUS_MAX),
    memoryBytesMin: integer(0, limits.NODE_MEMORY_BYTES_MAX, " bytes"),
    memoryBytesMax: integer(1, limits.NODE_MEMORY_BYTES_MAX, " bytes"),
  },
  {},
);

export const vmBounds: Decoder<VmBounds> = (value, path) => {
  const checked = bounds(value, path);
  if (checked.memoryBytesMin <= checked.memoryBytesMax) return checked;
  return invalid(value, path, "a least memory that is not above the greatest");
};

/** Whether the text may name a VM or a node. */
export function isName(candidate: string): boolean {
  return NAME.test(candidate);
}

/** The longest prefix of `reason` that a report may carry. */
export function clipReason(full: string): string {
  const wellFormed = full.toWellFormed();
  if (utf8(wellFormed).length <= limits.REASON_BYTES_MAX) return wellFormed;
  let out = "";
  let bytes = 0;
  for (const point of wellFormed) {
    bytes += utf8(point).length;
    if (bytes > limits.REASON_BYTES_MAX - 3) break;
    out += point;
  }
  return `${out}...`;
}
