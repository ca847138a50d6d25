/* Product of two 48 x 48 matrices of f64, in 54 KiB. */

#include "bench.h"

enum { N = 48 };
static double a[N][N], b[N][N], c[N][N];

__attribute__((noinline)) static void multiply(void) {
  for (int i = 0; i < N; i++) {
    for (int j = 0; j < N; j++) {
      double sum = 0;
      for (int k = 0; k < N; k++) sum += a[i][k] * b[k][j];
      c[i][j] = sum;
    }
  }
}

int main(int argc, char **argv) {
  unsigned repetitions = bench_repetitions(argc, argv);
  uint64_t sum = 0;
  for (int i = 0; i < N; i++) {
    for (int j = 0; j < N; j++) {
      a[i][j] = 1.0 / (1 + i + j);
      b[i][j] = i == j ? 0.5 : 1.0 / (3 + i * 2 + j);
    }
  }
  bench_begin();
  for (unsigned i = 0; i < repetitions; i++) {
    multiply();
    a[i % N][(i * 7) % N] = c[(i * 5) % N][i % N];
    sum = bench_mix(sum, bench_bits(c[i % N][(i * 3) % N]));
  }
  bench_end(sum);
  return 0;
}
