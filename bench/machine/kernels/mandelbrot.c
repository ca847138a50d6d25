/* The Mandelbrot set on a grid of 128 x 128, at most 100 iterations a point; f64. */

#include "bench.h"

enum { GRID = 128, ITERATIONS = 100 };

__attribute__((noinline)) static unsigned escape(double re, double im) {
  double x = 0, y = 0;
  unsigned n = 0;
  while (n < ITERATIONS && x * x + y * y <= 4) {
    double next = x * x - y * y + re;
    y = 2 * x * y + im;
    x = next;
    n++;
  }
  return n;
}

int main(int argc, char **argv) {
  unsigned repetitions = bench_repetitions(argc, argv);
  uint64_t sum = 0;
  bench_begin();
  for (unsigned i = 0; i < repetitions; i++) {
    double shift = (double)(i % 16) / 1000;
    for (int row = 0; row < GRID; row++) {
      for (int column = 0; column < GRID; column++) {
        double re = -2.0 + shift + 2.5 * column / GRID, im = -1.25 + 2.5 * row / GRID;
        sum = sum * 31 + escape(re, im);
      }
    }
  }
  bench_end(sum);
  return 0;
}
