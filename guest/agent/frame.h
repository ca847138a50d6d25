/* Frames of guest/PROTOCOL.md: checksum, encoder of headers, incremental parser. Pure. */
#ifndef BLIXARD_FRAME_H
#define BLIXARD_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limits.h"

enum frame_type {
  FRAME_HELLO = 1,
  FRAME_WELCOME = 2,
  FRAME_START = 3,
  FRAME_WORKLOAD_EXIT = 4,
  FRAME_EXEC = 5,
  FRAME_OPENED = 6,
  FRAME_STDIN = 7,
  FRAME_STDIN_CLOSE = 8,
  FRAME_RESIZE = 9,
  FRAME_SIGNAL = 10,
  FRAME_CLOSE = 11,
  FRAME_STDOUT = 12,
  FRAME_STDERR = 13,
  FRAME_EXIT = 14,
  FRAME_ERROR = 15,
  FRAME_CREDIT = 16,
  FRAME_FILE_WRITE = 17,
  FRAME_FILE_READ = 18,
  FRAME_HEALTH = 19,
  FRAME_HEALTH_REPORT = 20,
  FRAME_SHUTDOWN = 21,
  FRAME_EPOCH = 22,
  FRAME_DONE = 23,
};

struct frame {
  uint8_t type;
  uint32_t session;
  uint32_t stream;
  uint32_t length;
  /* Into the parser's buffer: valid until its next parser_space. */
  const uint8_t *payload;
};

/* Invariant: start <= end <= sizeof bytes. */
struct parser {
  size_t start;
  size_t end;
  unsigned bad_payloads;
  uint64_t skipped_bytes;
  uint8_t bytes[2 * (HEADER_BYTES + PAYLOAD_BYTES_MAX)];
};

uint32_t crc32c(const uint8_t *bytes, size_t length);

/* Writes HEADER_BYTES for a payload of at most PAYLOAD_BYTES_MAX. */
void frame_header(uint8_t *out, uint8_t type, uint32_t session, uint32_t stream,
                  const uint8_t *payload, uint32_t length);

void parser_init(struct parser *parser);
/* Where new bytes go, and how many fit; never 0 once parser_next has returned false. */
size_t parser_space(struct parser *parser, uint8_t **at);
void parser_added(struct parser *parser, size_t count);
/* The next valid frame; false when more bytes are needed. Whatever is no frame is skipped. */
bool parser_next(struct parser *parser, struct frame *frame);

#endif
