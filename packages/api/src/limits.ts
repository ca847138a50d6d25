/** Bounds of the HTTP API, one place; both halves (server and client) read them. */

import { assert } from "@blixard/std";

export const BODY_BYTES_MAX = 1_048_576;
export const REF_CHARS_MAX = 253;

/** Requests being answered at once, streams included; more are refused with Unavailable. */
export const REQUESTS_MAX = 1024;
/** Watches and log streams open at once. */
export const STREAMS_MAX = 512;
/** Exec sessions open at once. */
export const EXECS_MAX = 256;
/** TCP (and unix) connections open at once; more are closed on arrival. */
export const CONNECTIONS_MAX = 2048;

export const HEADERS_BYTES_MAX = 16_384;
/** From the first byte of a request to the last byte of its headers. */
export const HEADERS_TIMEOUT_MS = 10_000;
/** From the first byte of a request to its last. */
export const REQUEST_TIMEOUT_MS = 30_000;
export const KEEP_ALIVE_TIMEOUT_MS = 30_000;

/** Comment on an idle watch, ping on an idle exec: keeps proxies and NAT entries open. */
export const HEARTBEAT_MS = 15_000;
/** A client that hears nothing from a watch for this long reconnects. */
export const WATCH_SILENCE_MAX_MS = 45_000;

/** From the WebSocket's opening to the message that says what to run. */
export const EXEC_START_TIMEOUT_MS = 10_000;
/** Largest WebSocket message, either way. */
export const EXEC_MESSAGE_BYTES_MAX = 1_048_576;
/** Stdin bytes that a client may have sent without the guest having taken them. */
export const EXEC_STDIN_WINDOW_BYTES = 262_144;
/** Stdin is cut into frames of at most this size. */
export const EXEC_STDIN_FRAME_BYTES = 32_768;
/** Output waiting for the peer's socket above which the server stops taking more from the guest. */
export const EXEC_BUFFERED_BYTES_MAX = 1_048_576;
/** Output that the client holds for its caller before it stops reading the socket. */
export const EXEC_CLIENT_QUEUE_BYTES_MAX = 1_048_576;
/** Signals and resizes that wait for the command to begin. */
export const EXEC_CONTROLS_WAITING_MAX = 64;
export const EXEC_ARGS_MAX = 1024;

/** In-flight requests may finish within this once the server is told to close. */
export const CLOSE_GRACE_MS = 5000;

/** Largest answer that the client reads into memory. */
export const RESPONSE_BYTES_MAX = 268_435_456;
/** From sending a request to its complete answer, unless the caller says otherwise. */
export const CLIENT_TIMEOUT_MS = 60_000;
export const CLIENT_SOCKETS_MAX = 256;
/** Pause before a watch reconnects; doubles up to the second. */
export const RECONNECT_MS_MIN = 50;
export const RECONNECT_MS_MAX = 5000;
/** Longest line of an event stream that the client accepts. */
export const EVENT_CHARS_MAX = 4_194_304;

/** Longest path of a unix socket that every system takes (sun_path is 104 bytes on macOS). */
export const SOCKET_PATH_BYTES_MAX = 103;

assert(STREAMS_MAX + EXECS_MAX < REQUESTS_MAX, "streams leave room for ordinary requests");
assert(REQUESTS_MAX <= CONNECTIONS_MAX, "each request has a connection");
assert(HEADERS_TIMEOUT_MS <= REQUEST_TIMEOUT_MS, "headers are part of the request");
assert(2 * HEARTBEAT_MS < WATCH_SILENCE_MAX_MS, "one lost heartbeat is no silence");
assert(EXEC_STDIN_FRAME_BYTES < EXEC_STDIN_WINDOW_BYTES, "a frame fits the stdin window");
assert(EXEC_STDIN_FRAME_BYTES < EXEC_MESSAGE_BYTES_MAX, "a stdin frame fits a message");
