/* Payloads of guest/PROTOCOL.md: bounds-checked reading, bounded writing. Pure. */
#ifndef BLIXARD_WIRE_H
#define BLIXARD_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limits.h"

/* Once a read fails, `bad` stays set and every later read gives 0 or "". */
struct reader {
  const uint8_t *bytes;
  size_t left;
  bool bad;
};

void reader_init(struct reader *reader, const uint8_t *bytes, size_t length);
uint64_t read_uint(struct reader *reader, unsigned size);
/* True when everything was read and nothing is left over. */
bool reader_done(const struct reader *reader);

/*
 * Texts of one payload, as C strings. A text of n bytes takes 4 + n on the wire and n + 1 here (a
 * variable: 8 + n + m there and n + m + 2 here), so one payload always fits.
 */
struct arena {
  size_t used;
  char bytes[PAYLOAD_BYTES_MAX];
};

/* "" and `bad` when it is longer than `max` or holds a zero byte. */
char *read_text(struct reader *reader, struct arena *arena, size_t max);
/* Fills at most ARGS_MAX entries and a NULL; returns how many. */
size_t read_argv(struct reader *reader, struct arena *arena, char *argv[ARGS_MAX + 1]);
/* The same with "name=value" entries; names are not empty and hold no "=". */
size_t read_env(struct reader *reader, struct arena *arena, char *env[ARGS_MAX + 1]);

/* Writes past the end are dropped; callers size the buffer for their message. */
struct writer {
  uint8_t *bytes;
  size_t used;
  size_t size;
};

void write_uint(struct writer *writer, unsigned size, uint64_t value);
/* Cut to what fits. */
void write_text(struct writer *writer, const char *text);

#endif
