/** Bounds of the agent protocol; guest/agent/limits.h holds the same numbers for the other side. */

import { assert } from "@blixard/std";

export const PROTOCOL_VERSION_MIN = 1;
export const PROTOCOL_VERSION_MAX = 1;

/** Name of the virtio-console port; the guest finds it under /sys/class/virtio-ports. */
export const AGENT_PORT_NAME = "blixard.agent.0";

export const HEADER_BYTES = 28;
export const PAYLOAD_BYTES_MAX = 65_536;
/** After this many payload checksum failures in a row, whole frames are skipped, not rescanned. */
export const RESCANS_MAX = 8;

/** Streams (exec, file transfer, pending request) open at once in one session. */
export const STREAMS_MAX = 64;
/** Bytes of stdout and stderr that the guest may send before the host consumes some. */
export const OUTPUT_WINDOW_BYTES = 262_144;
/** Largest window, or sum of credits, that either side may hold for a stream. */
export const WINDOW_BYTES_MAX = 1_048_576;
/** Bytes of stdin or file content that the guest buffers for a stream. */
export const INPUT_WINDOW_BYTES = 65_536;
/** Bytes that callers of `write` may have waiting for the guest's credit, for each stream. */
export const INPUT_QUEUE_BYTES_MAX = 4_194_304;
/** Bytes waiting in the byte stream towards the guest before it counts as not reading. */
export const OUTBOUND_BYTES_MAX = 16_777_216;

/** Entries of argv, and of env. */
export const ARGS_MAX = 1024;
export const PATH_BYTES_MAX = 4095;
export const HOSTNAME_BYTES_MAX = 64;
export const ERROR_TEXT_BYTES_MAX = 512;
/** Largest file that `readFile` and `writeFile` carry. */
export const FILE_BYTES_MAX = 67_108_864;

/** Between two hellos while the guest boots. */
export const HELLO_RETRY_MS = 500;
/** For answers that need no work in the guest; wide, because an emulated guest may be slow. */
export const REPLY_TIMEOUT_MS = 30_000;
/** From SIGHUP to SIGKILL after a stream was closed, in the guest. */
export const CLOSE_GRACE_MS = 1000;
/** After a process ended while one it left behind keeps its pipes open, in the guest. */
export const EXIT_LINGER_MS = 250;

assert(INPUT_WINDOW_BYTES <= WINDOW_BYTES_MAX, "the input window fits the largest window");
assert(OUTPUT_WINDOW_BYTES <= WINDOW_BYTES_MAX, "the output window fits the largest window");
assert(INPUT_QUEUE_BYTES_MAX >= PAYLOAD_BYTES_MAX, "one full frame of input can be queued");
assert(
  OUTBOUND_BYTES_MAX >= STREAMS_MAX * INPUT_WINDOW_BYTES + PAYLOAD_BYTES_MAX,
  "all windows together fit the outbound bound, so that only a stuck guest exceeds it",
);
