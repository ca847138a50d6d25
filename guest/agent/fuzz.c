/*
 * Feeds standard input to the parser and the payload readers in chunks of changing size, and prints
 * what came out, so that a test can compare it with the host's parser.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "wire.h"

static struct parser parser;
static struct arena arena;
static char *entries[ARGS_MAX + 1];

/* Every reader over the payload, whatever it is; the sanitizers watch. */
static void read_everything(const struct frame *frame) {
  struct reader reader;
  size_t total = 0;
  reader_init(&reader, frame->payload, frame->length);
  arena.used = 0;
  total += read_uint(&reader, frame->type % 9);
  total += strlen(read_text(&reader, &arena, PATH_BYTES_MAX));
  size_t argc = read_argv(&reader, &arena, entries);
  for (size_t i = 0; i < argc; i++) total += strlen(entries[i]);
  size_t envc = read_env(&reader, &arena, entries);
  for (size_t i = 0; i < envc; i++) total += strlen(entries[i]);
  printf("%u %u %u %u %08x %d\n", frame->type, frame->session, frame->stream, frame->length,
         crc32c(frame->payload, frame->length), reader_done(&reader) && total > 0);
}

int main(int argc, char **argv) {
  unsigned seed = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1;
  struct frame frame;
  parser_init(&parser);
  for (;;) {
    uint8_t *at;
    size_t space = parser_space(&parser, &at);
    if (space == 0) abort();
    seed = seed * 1664525u + 1013904223u;
    size_t wanted = 1 + (seed >> 16) % ((seed & 256) != 0 ? 16 : 4096);
    size_t count = fread(at, 1, wanted < space ? wanted : space, stdin);
    if (count == 0) break;
    parser_added(&parser, count);
    while (parser_next(&parser, &frame)) read_everything(&frame);
  }
  printf("skipped %llu held %zu\n", (unsigned long long)parser.skipped_bytes,
         parser.end - parser.start);
  return 0;
}
