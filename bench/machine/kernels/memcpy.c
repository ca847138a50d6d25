/* The C library's memcpy over 32 KiB: whole, and in pieces at odd addresses. */

#include "bench.h"

enum { SIZE = 32768 };
static uint8_t from[SIZE + 64], to[SIZE + 64];

int main(int argc, char **argv) {
  unsigned repetitions = bench_repetitions(argc, argv);
  uint64_t sum = 0;
  void *(*volatile copy)(void *, const void *, size_t) = memcpy;
  for (unsigned i = 0; i < sizeof from; i++) from[i] = (uint8_t)(i * 13 + (i >> 8));
  bench_begin();
  for (unsigned i = 0; i < repetitions; i++) {
    for (unsigned n = 0; n < 100; n++) copy(to, from, SIZE);
    for (unsigned at = 0; at + 512 <= SIZE; at += 512) copy(to + at + (i & 7), from + at, 256 + (at >> 8));
    from[i % SIZE] ^= to[(i * 31) % SIZE];
    sum = bench_mix(sum, to[(i * 127) % SIZE]);
  }
  for (unsigned i = 0; i < SIZE; i++) sum = bench_mix(sum, to[i]);
  bench_end(sum);
  return 0;
}
