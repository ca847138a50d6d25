/* Fast Fourier transform of 1,024 complex f64, there and back. */

#include <math.h>

#include "bench.h"

enum { N = 1024 };
typedef struct {
  double re, im;
} Complex;
static Complex data[N], twiddle[N / 2];

__attribute__((noinline)) static void fft(int inverse) {
  for (unsigned i = 1, j = 0; i < N; i++) {
    unsigned bit = N >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      Complex swap = data[i];
      data[i] = data[j];
      data[j] = swap;
    }
  }
  for (unsigned length = 2; length <= N; length *= 2) {
    unsigned step = N / length;
    for (unsigned start = 0; start < N; start += length) {
      for (unsigned k = 0; k < length / 2; k++) {
        Complex w = twiddle[k * step], *p = &data[start + k], *q = p + length / 2;
        if (inverse) w.im = -w.im;
        double re = q->re * w.re - q->im * w.im, im = q->re * w.im + q->im * w.re;
        q->re = p->re - re;
        q->im = p->im - im;
        p->re += re;
        p->im += im;
      }
    }
  }
  if (!inverse) return;
  for (unsigned i = 0; i < N; i++) {
    data[i].re /= N;
    data[i].im /= N;
  }
}

int main(int argc, char **argv) {
  unsigned repetitions = bench_repetitions(argc, argv);
  uint64_t sum = 0;
  for (unsigned k = 0; k < N / 2; k++) {
    twiddle[k].re = cos(2 * 3.141592653589793 * k / N);
    twiddle[k].im = sin(2 * 3.141592653589793 * k / N);
  }
  for (unsigned i = 0; i < N; i++) {
    data[i].re = (double)(i % 17) - 8;
    data[i].im = (double)(i % 5) / 3;
  }
  bench_begin();
  for (unsigned i = 0; i < repetitions; i++) {
    fft(0);
    sum = bench_mix(sum, bench_bits(data[i % N].re));
    fft(1);
    sum = bench_mix(sum, bench_bits(data[i % N].im));
  }
  bench_end(sum);
  return 0;
}
