#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent.h"

static uint8_t queue[OUT_BYTES];
static size_t queue_start;
static size_t queue_end;

uint64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

size_t out_pending(void) { return queue_end - queue_start; }

size_t out_free(void) { return OUT_BYTES - out_pending(); }

const uint8_t *out_bytes(void) { return queue + queue_start; }

void out_sent(size_t count) {
  queue_start += count;
  if (queue_start == queue_end) queue_start = queue_end = 0;
}

/* Callers have checked out_free; a frame that does not fit is a bug and is left out. */
void out_frame(uint8_t type, uint32_t stream, const uint8_t *payload, size_t length) {
  size_t need = HEADER_BYTES + length;
  if (agent.session == 0 || length > PAYLOAD_BYTES_MAX || need > out_free()) return;
  if (need > OUT_BYTES - queue_end) {
    memmove(queue, queue + queue_start, out_pending());
    queue_end -= queue_start;
    queue_start = 0;
  }
  frame_header(queue + queue_end, type, agent.session, stream, payload, (uint32_t)length);
  if (length > 0) memcpy(queue + queue_end + HEADER_BYTES, payload, length);
  queue_end += need;
}

void out_u32(uint8_t type, uint32_t stream, uint32_t value) {
  uint8_t payload[4];
  struct writer writer = {payload, 0, sizeof payload};
  write_uint(&writer, 4, value);
  out_frame(type, stream, payload, writer.used);
}

void out_error(uint32_t stream, int error, const char *format, ...) {
  char text[ERROR_TEXT_BYTES_MAX];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  uint8_t payload[ERROR_TEXT_BYTES_MAX + 8];
  struct writer writer = {payload, 0, sizeof payload};
  write_uint(&writer, 4, (uint32_t)error);
  write_text(&writer, text);
  out_frame(FRAME_ERROR, stream, payload, writer.used);
}
