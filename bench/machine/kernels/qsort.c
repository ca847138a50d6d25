/* The C library's qsort of 8,192 numbers, with its compare behind a pointer, and a binary search for each. */

#include "bench.h"

enum { COUNT = 8192 };
static uint32_t numbers[COUNT];

static int compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  unsigned repetitions = bench_repetitions(argc, argv);
  uint64_t sum = 0, random = 88172645463325252u;
  bench_begin();
  for (unsigned i = 0; i < repetitions; i++) {
    for (unsigned n = 0; n < COUNT; n++) numbers[n] = (uint32_t)bench_random(&random);
    uint32_t wanted = numbers[i % COUNT];
    qsort(numbers, COUNT, sizeof numbers[0], compare);
    uint32_t *found = bsearch(&wanted, numbers, COUNT, sizeof numbers[0], compare);
    sum = bench_mix(sum, numbers[COUNT / 2] + (uint64_t)(found - numbers));
  }
  bench_end(sum);
  return 0;
}
