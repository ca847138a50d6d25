#include "frame.h"

#include <string.h>

static const uint8_t MAGIC[4] = {'B', 'L', 'X', 'A'};
static const uint8_t FRAME_VERSION = 1;

static uint32_t crc_table[256];

static void crc_prepare(void) {
  for (uint32_t n = 0; n < 256; n++) {
    uint32_t c = n;
    for (int k = 0; k < 8; k++) c = (c & 1) ? (c >> 1) ^ 0x82f63b78u : c >> 1;
    crc_table[n] = c;
  }
}

uint32_t crc32c(const uint8_t *bytes, size_t length) {
  /* Entry 1 is never 0 once the table stands. */
  if (crc_table[1] == 0) crc_prepare();
  uint32_t c = ~0u;
  for (size_t i = 0; i < length; i++) c = crc_table[(c ^ bytes[i]) & 255] ^ (c >> 8);
  return ~c;
}

static void put_u32(uint8_t *out, uint32_t value) {
  for (int i = 0; i < 4; i++) out[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get_u32(const uint8_t *in) {
  return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

void frame_header(uint8_t *out, uint8_t type, uint32_t session, uint32_t stream,
                  const uint8_t *payload, uint32_t length) {
  memcpy(out, MAGIC, sizeof MAGIC);
  out[4] = FRAME_VERSION;
  out[5] = type;
  out[6] = 0;
  out[7] = 0;
  put_u32(out + 8, session);
  put_u32(out + 12, stream);
  put_u32(out + 16, length);
  put_u32(out + 20, crc32c(payload, length));
  put_u32(out + 24, crc32c(out, 24));
}

void parser_init(struct parser *parser) {
  parser->start = 0;
  parser->end = 0;
  parser->bad_payloads = 0;
  parser->skipped_bytes = 0;
}

size_t parser_space(struct parser *parser, uint8_t **at) {
  if (parser->start > 0) {
    memmove(parser->bytes, parser->bytes + parser->start, parser->end - parser->start);
    parser->end -= parser->start;
    parser->start = 0;
  }
  *at = parser->bytes + parser->end;
  return sizeof parser->bytes - parser->end;
}

void parser_added(struct parser *parser, size_t count) {
  if (count <= sizeof parser->bytes - parser->end) parser->end += count;
}

static void skip(struct parser *parser, size_t count) {
  parser->start += count;
  parser->skipped_bytes += count;
}

/* Moves start to the next magic, or to a beginning of one that the end of the bytes cuts off. */
static void seek_magic(struct parser *parser) {
  for (;;) {
    size_t left = parser->end - parser->start;
    if (left == 0) return;
    const uint8_t *from = parser->bytes + parser->start;
    const uint8_t *found = memchr(from, MAGIC[0], left);
    if (found == NULL) {
      skip(parser, left);
      return;
    }
    skip(parser, (size_t)(found - from));
    left = parser->end - parser->start;
    size_t known = left < sizeof MAGIC ? left : sizeof MAGIC;
    if (memcmp(found, MAGIC, known) == 0) return;
    skip(parser, 1);
  }
}

bool parser_next(struct parser *parser, struct frame *frame) {
  for (;;) {
    seek_magic(parser);
    size_t left = parser->end - parser->start;
    if (left < HEADER_BYTES) return false;
    const uint8_t *head = parser->bytes + parser->start;
    uint32_t length = get_u32(head + 16);
    bool valid = head[4] == FRAME_VERSION && length <= PAYLOAD_BYTES_MAX &&
                 get_u32(head + 24) == crc32c(head, 24);
    if (!valid) {
      skip(parser, 1);
      continue;
    }
    if (left < HEADER_BYTES + length) return false;
    if (get_u32(head + 20) != crc32c(head + HEADER_BYTES, length)) {
      /* A frame cut short swallows those behind it, so look inside; but not for ever: a hostile
       * peer could otherwise buy a checksum over 64 KiB with every 28 bytes. */
      parser->bad_payloads++;
      skip(parser, parser->bad_payloads <= RESCANS_MAX ? 1 : HEADER_BYTES + length);
      continue;
    }
    parser->bad_payloads = 0;
    frame->type = head[5];
    frame->session = get_u32(head + 8);
    frame->stream = get_u32(head + 12);
    frame->length = length;
    frame->payload = head + HEADER_BYTES;
    parser->start += HEADER_BYTES + length;
    return true;
  }
}
