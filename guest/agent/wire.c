#include "wire.h"

#include <string.h>

void reader_init(struct reader *reader, const uint8_t *bytes, size_t length) {
  reader->bytes = bytes;
  reader->left = length;
  reader->bad = false;
}

static const uint8_t *take(struct reader *reader, size_t count) {
  if (reader->bad || count > reader->left) {
    reader->bad = true;
    return NULL;
  }
  const uint8_t *at = reader->bytes;
  reader->bytes += count;
  reader->left -= count;
  return at;
}

uint64_t read_uint(struct reader *reader, unsigned size) {
  const uint8_t *at = take(reader, size);
  uint64_t value = 0;
  if (at == NULL) return 0;
  for (unsigned i = 0; i < size; i++) value |= (uint64_t)at[i] << (8 * i);
  if (value > INTEGER_MAX) {
    reader->bad = true;
    return 0;
  }
  return value;
}

bool reader_done(const struct reader *reader) { return !reader->bad && reader->left == 0; }

/* Bytes of a text, without its length; NULL and `bad` when it cannot be a C string. */
static const uint8_t *take_text(struct reader *reader, size_t max, size_t *length) {
  *length = (size_t)read_uint(reader, 4);
  if (*length > max) reader->bad = true;
  const uint8_t *at = take(reader, *length);
  if (at != NULL && memchr(at, 0, *length) != NULL) reader->bad = true;
  return reader->bad ? NULL : at;
}

static char *arena_take(struct arena *arena, struct reader *reader, size_t size) {
  static char empty[1] = "";
  empty[0] = 0;
  if (reader->bad || size > sizeof arena->bytes - arena->used) {
    reader->bad = true;
    return empty;
  }
  char *at = arena->bytes + arena->used;
  arena->used += size;
  return at;
}

char *read_text(struct reader *reader, struct arena *arena, size_t max) {
  size_t length;
  const uint8_t *at = take_text(reader, max, &length);
  char *text = arena_take(arena, reader, length + 1);
  if (at == NULL || reader->bad) return text;
  memcpy(text, at, length);
  text[length] = 0;
  return text;
}

static size_t read_count(struct reader *reader) {
  size_t count = (size_t)read_uint(reader, 2);
  if (count > ARGS_MAX) {
    reader->bad = true;
    return 0;
  }
  return count;
}

size_t read_argv(struct reader *reader, struct arena *arena, char *argv[ARGS_MAX + 1]) {
  size_t count = read_count(reader);
  size_t i = 0;
  for (; i < count && !reader->bad; i++) argv[i] = read_text(reader, arena, PAYLOAD_BYTES_MAX);
  argv[i] = NULL;
  return i;
}

size_t read_env(struct reader *reader, struct arena *arena, char *env[ARGS_MAX + 1]) {
  size_t count = read_count(reader);
  size_t i = 0;
  for (; i < count && !reader->bad; i++) {
    size_t name_length;
    size_t value_length;
    const uint8_t *name = take_text(reader, PAYLOAD_BYTES_MAX, &name_length);
    const uint8_t *value = take_text(reader, PAYLOAD_BYTES_MAX, &value_length);
    if (name_length == 0 || (name != NULL && memchr(name, '=', name_length) != NULL)) {
      reader->bad = true;
    }
    env[i] = arena_take(arena, reader, name_length + value_length + 2);
    if (name == NULL || value == NULL || reader->bad) continue;
    memcpy(env[i], name, name_length);
    env[i][name_length] = '=';
    memcpy(env[i] + name_length + 1, value, value_length);
    env[i][name_length + 1 + value_length] = 0;
  }
  env[i] = NULL;
  return i;
}

void write_uint(struct writer *writer, unsigned size, uint64_t value) {
  if (size > writer->size - writer->used) return;
  for (unsigned i = 0; i < size; i++) writer->bytes[writer->used++] = (uint8_t)(value >> (8 * i));
}

void write_text(struct writer *writer, const char *text) {
  size_t room = writer->size - writer->used;
  if (room < 4) return;
  size_t length = strlen(text);
  if (length > room - 4) length = room - 4;
  write_uint(writer, 4, length);
  memcpy(writer->bytes + writer->used, text, length);
  writer->used += length;
}
