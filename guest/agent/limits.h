/* Bounds of the agent protocol; packages/drivers/src/agent/limits.ts holds the same numbers. */
#ifndef BLIXARD_LIMITS_H
#define BLIXARD_LIMITS_H

#define AGENT_VERSION "0.1.0"
#define PROTOCOL_VERSION_MIN 1
#define PROTOCOL_VERSION_MAX 1
#define AGENT_PORT_NAME "blixard.agent.0"

#define HEADER_BYTES 28u
#define PAYLOAD_BYTES_MAX 65536u
#define RESCANS_MAX 8u

/* Largest integer that the host can represent exactly. */
#define INTEGER_MAX ((UINT64_C(1) << 53) - 1)
#define STREAMS_MAX 64u
#define WINDOW_BYTES_MAX 1048576u
#define INPUT_WINDOW_BYTES 65536u
#define ARGS_MAX 1024u
#define PATH_BYTES_MAX 4095u
#define HOSTNAME_BYTES_MAX 64u
#define ERROR_TEXT_BYTES_MAX 512u

/* Frames waiting for the port. */
#define OUT_BYTES 262144u
/* Kept free of children's output, for answers and exits. */
#define OUT_RESERVE_BYTES 65536u
/* Room that handling one request, or one stream's exit, may need. */
#define OUT_REPLY_BYTES 4096u

#define EXIT_LINGER_MS 250u
#define TERMINAL_RETRY_MS 20u
#define CLOSE_GRACE_MS 1000u
#define SHUTDOWN_GRACE_MS 2000u
#define FLUSH_MS 1000u
/* While nobody holds the other end of the port, which poll(2) cannot wait for. */
#define PORT_RETRY_MS 50u

#define TICK_MS_MAX 60000
/* 2^53 has 16 digits. */
#define TICK_EPOCH_BYTES_MAX 20

_Static_assert(INPUT_WINDOW_BYTES <= WINDOW_BYTES_MAX, "the first input window is a window");
_Static_assert(OUT_RESERVE_BYTES >= STREAMS_MAX * (HEADER_BYTES + 4u) + OUT_REPLY_BYTES,
               "every stream can exit while the queue is full of output");
_Static_assert(OUT_BYTES >= OUT_RESERVE_BYTES + HEADER_BYTES + PAYLOAD_BYTES_MAX,
               "one full frame of output fits beside the reserve");

#endif
