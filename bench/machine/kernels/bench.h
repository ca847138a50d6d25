/*
 * What every benchmark program shares. A program takes one argument, how often to repeat its work, and prints
 * "bench: begin" before and "bench: end CHECKSUM" after it: the host takes the time between the two, so that
 * the guest's clock decides nothing.
 */

#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void bench_say(const char *text, size_t length) {
  while (length > 0) {
    ssize_t written = write(STDOUT_FILENO, text, length);
    if (written <= 0) _exit(1);
    text += written;
    length -= (size_t)written;
  }
}

/* Repetitions that the host asks for; whatever must be ready is ready. */
static inline unsigned bench_repetitions(int argc, char **argv) {
  if (argc != 2 || atoi(argv[1]) < 1) {
    fprintf(stderr, "usage: %s REPETITIONS\n", argc > 0 ? argv[0] : "bench");
    exit(2);
  }
  return (unsigned)atoi(argv[1]);
}

static inline void bench_begin(void) {
  static const char text[] = "bench: begin\n";
  bench_say(text, sizeof text - 1);
}

static inline void bench_end(uint64_t checksum) {
  char text[64];
  int length = snprintf(text, sizeof text, "bench: end %016llx\n", (unsigned long long)checksum);
  bench_say(text, (size_t)length);
}

static inline uint64_t bench_mix(uint64_t sum, uint64_t value) {
  sum ^= value + 0x9e3779b97f4a7c15u + (sum << 6) + (sum >> 2);
  return sum * 0xff51afd7ed558ccdu;
}

static inline uint64_t bench_bits(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/* xorshift64: the same numbers on every machine. */
static inline uint64_t bench_random(uint64_t *state) {
  uint64_t x = *state;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return *state = x;
}

#endif
