/* Primes below 65,536, a byte for each number. */

#include "bench.h"

enum { SIZE = 65536 };
static uint8_t composite[SIZE];

static unsigned sieve(void) {
  unsigned primes = 0;
  memset(composite, 0, sizeof composite);
  for (unsigned n = 2; n < SIZE; n++) {
    if (composite[n]) continue;
    primes++;
    for (unsigned m = 2 * n; m < SIZE; m += n) composite[m] = 1;
  }
  return primes;
}

int main(int argc, char **argv) {
  unsigned repetitions = bench_repetitions(argc, argv);
  uint64_t sum = 0;
  bench_begin();
  for (unsigned i = 0; i < repetitions; i++) sum = bench_mix(sum, sieve());
  bench_end(sum);
  return 0;
}
