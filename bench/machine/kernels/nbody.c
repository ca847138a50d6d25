/* Five bodies, each drawn by the four others; f64, one square root and one division a pair. */

#include <math.h>

#include "bench.h"

typedef struct {
  double x[3], v[3], mass;
} Body;

#define SUN (4 * 3.141592653589793 * 3.141592653589793)
#define DAYS 365.24
static Body bodies[5] = {
    {{0, 0, 0}, {0, 0, 0}, SUN},
    {{4.84143144246472082945, -1.16032004402742839362, -0.103622044471123109494},
     {0.00166007664274403694 * DAYS, 0.00769901118419740425 * DAYS, -0.0000690460016972063 * DAYS},
     0.000954791938424326609 * SUN},
    {{8.34336671824457987790, 4.12479856412430479268, -0.403523417114321381293},
     {-0.0027674251072686237 * DAYS, 0.0049985280123491719 * DAYS, 0.0000230417297573763929 * DAYS},
     0.000285885980666130812 * SUN},
    {{12.8943695621391310, -15.1111514016986312, -0.223307578892655734},
     {0.00296460137564761618 * DAYS, 0.0023784717395948095 * DAYS, -0.0000296589568540237556 * DAYS},
     0.0000436624404335156298 * SUN},
    {{15.3796971148509165, -25.9193146099879641, 0.179258772950371181},
     {0.00268067772490389322 * DAYS, 0.00162824170038242295 * DAYS, -0.000095159225451971587 * DAYS},
     0.0000515138902046611451 * SUN}};

__attribute__((noinline)) static void advance(double dt) {
  for (int i = 0; i < 5; i++) {
    Body *a = &bodies[i];
    for (int j = i + 1; j < 5; j++) {
      Body *b = &bodies[j];
      double d[3], square = 0;
      for (int k = 0; k < 3; k++) {
        d[k] = a->x[k] - b->x[k];
        square += d[k] * d[k];
      }
      double magnitude = dt / (square * sqrt(square));
      for (int k = 0; k < 3; k++) {
        a->v[k] -= d[k] * b->mass * magnitude;
        b->v[k] += d[k] * a->mass * magnitude;
      }
    }
  }
  for (int i = 0; i < 5; i++) {
    for (int k = 0; k < 3; k++) bodies[i].x[k] += dt * bodies[i].v[k];
  }
}

int main(int argc, char **argv) {
  unsigned repetitions = bench_repetitions(argc, argv);
  uint64_t sum = 0;
  bench_begin();
  for (unsigned i = 0; i < repetitions; i++) {
    for (int step = 0; step < 1000; step++) advance(0.001);
    sum = bench_mix(sum, bench_bits(bodies[1].x[0]));
  }
  for (int i = 0; i < 5; i++) {
    for (int k = 0; k < 3; k++) sum = bench_mix(sum, bench_bits(bodies[i].v[k]));
  }
  bench_end(sum);
  return 0;
}
