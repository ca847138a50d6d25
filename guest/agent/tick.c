/* `--tick MS`: a line with the epoch each MS milliseconds, for those who must see when a guest ran. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

enum { NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

static int64_t monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* Until a point in time, not for a duration: what a tick costs does not add up. */
static void sleep_until(int64_t at_ns) {
  struct timespec at = {.tv_sec = at_ns / NS_PER_S, .tv_nsec = at_ns % NS_PER_S};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) continue;
}

/* BLIXARD_EPOCH, which is digits alone; NULL otherwise. */
static const char *epoch_text(void) {
  const char *epoch = getenv("BLIXARD_EPOCH");
  if (epoch == NULL || *epoch == 0 || strlen(epoch) > TICK_EPOCH_BYTES_MAX) return NULL;
  return epoch[strspn(epoch, "0123456789")] == 0 ? epoch : NULL;
}

int tick_run(const char *period) {
  char *end;
  long period_ms = strtol(period, &end, 10);
  const char *epoch = epoch_text();
  if (*period == 0 || *end != 0 || period_ms < 1 || period_ms > TICK_MS_MAX || epoch == NULL) {
    fprintf(stderr, "blixard-agent: --tick takes 1 to %d ms, and BLIXARD_EPOCH\n", TICK_MS_MAX);
    return 2;
  }
  int64_t period_ns = period_ms * NS_PER_MS;
  int64_t start_ns = monotonic_ns();
  /* Counts periods, not lines: after a pause it goes on with the present one, and makes up none. */
  for (int64_t count = 1;; count++) {
    int64_t passed = (monotonic_ns() - start_ns) / period_ns;
    if (count < passed) count = passed;
    sleep_until(start_ns + count * period_ns);
    char line[64];
    int length = snprintf(line, sizeof line, "tick %s %lld\n", epoch, (long long)count);
    if (write(STDOUT_FILENO, line, (size_t)length) != length) {
      perror("blixard-agent: tick");
      return 1;
    }
  }
}
