/*
 * Follows pointers in a random cycle through BYTES of memory, one 64-byte line after another. How the speed
 * falls as the working set grows is what a TLB costs. usage: chase BYTES STEPS; 0 steps: only what comes before
 */

#include "bench.h"

typedef struct Line {
  struct Line *next;
  uint64_t value;
  uint8_t rest[48];
} Line;

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  size_t count = strtoull(argv[1], NULL, 10) / sizeof(Line);
  uint64_t steps = strtoull(argv[2], NULL, 10), random = 88172645463325252u, sum = 0;
  Line *lines = aligned_alloc(4096, count * sizeof(Line));
  uint32_t *order = malloc(count * sizeof *order);
  if (lines == NULL || order == NULL || count == 0) return 1;
  for (size_t i = 0; i < count; i++) order[i] = (uint32_t)i;
  for (size_t i = count - 1; i > 0; i--) {
    size_t j = bench_random(&random) % (i + 1);
    uint32_t swap = order[i];
    order[i] = order[j];
    order[j] = swap;
  }
  for (size_t i = 0; i < count; i++) {
    lines[order[i]].next = &lines[order[(i + 1) % count]];
    lines[order[i]].value = i;
  }
  free(order);
  bench_begin();
  const Line *line = lines;
  for (uint64_t i = 0; i < steps; i++) {
    sum = (sum ^ line->value) * 3;
    line = line->next;
  }
  bench_end(sum);
  return 0;
}
