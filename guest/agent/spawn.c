#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"

extern char **environ;

/* What a child tells its parent when it cannot become the program. */
struct spawn_failure {
  int error;
  int stage;
};
enum spawn_stage { STAGE_SETUP, STAGE_CWD, STAGE_EXEC };

static _Noreturn void fail_child(int report, int stage) {
  struct spawn_failure failure = {errno, stage};
  ssize_t written = write(report, &failure, sizeof failure);
  _exit(written == (ssize_t)sizeof failure ? 127 : 126);
}

static _Noreturn void become(const struct spawn *spawn, int report) {
  sigset_t none;
  setsid();
  if (spawn->terminal && ioctl(spawn->fds[0], TIOCSCTTY, 0) != 0) fail_child(report, STAGE_SETUP);
  /* Above 2 first: the order of the final dup2 calls then cannot destroy a source. */
  int high[3];
  for (int i = 0; i < 3; i++) {
    high[i] = fcntl(spawn->fds[i], F_DUPFD_CLOEXEC, 3);
    if (high[i] < 0) fail_child(report, STAGE_SETUP);
  }
  for (int i = 0; i < 3; i++) {
    if (dup2(high[i], i) < 0) fail_child(report, STAGE_SETUP);
  }
  if (chdir(spawn->cwd) != 0) fail_child(report, STAGE_CWD);
  signal(SIGPIPE, SIG_DFL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  /* execvp looks for the program in the PATH of environ. */
  environ = spawn->env;
  execvp(spawn->argv[0], spawn->argv);
  fail_child(report, STAGE_EXEC);
}

pid_t spawn_process(const struct spawn *spawn, const char **what) {
  int report[2];
  *what = "start a process";
  if (pipe2(report, O_CLOEXEC) != 0) return -1;
  pid_t pid = fork();
  if (pid == 0) become(spawn, report[1]);
  int error = errno;
  close(report[1]);
  if (pid < 0) {
    close(report[0]);
    errno = error;
    return -1;
  }
  /* Ends at once when execve closes the other end. */
  struct spawn_failure failure;
  ssize_t count;
  do count = read(report[0], &failure, sizeof failure);
  while (count < 0 && errno == EINTR);
  close(report[0]);
  if (count != (ssize_t)sizeof failure) return pid;
  while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
  if (failure.stage == STAGE_CWD) *what = spawn->cwd;
  if (failure.stage == STAGE_EXEC) *what = spawn->argv[0];
  errno = failure.error;
  return -1;
}

static bool has_name(char *const *env, size_t count, const char *variable) {
  size_t name_length = strcspn(variable, "=") + 1;
  for (size_t i = 0; i < count; i++) {
    if (strncmp(env[i], variable, name_length) == 0) return true;
  }
  return false;
}

char **spawn_env(char *const *request, const char *traceparent, bool terminal) {
  static char vm[HOSTNAME_BYTES_MAX + 16];
  static char epoch[48];
  static char trace[128];
  static char *env[ARGS_MAX + 8];
  static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  static char home[] = "HOME=/root";
  static char term[] = "TERM=xterm";
  size_t count = 0;
  while (request[count] != NULL && count < ARGS_MAX) {
    env[count] = request[count];
    count++;
  }
  size_t from_request = count;
  snprintf(vm, sizeof vm, "BLIXARD_VM=%s", agent.hostname);
  snprintf(epoch, sizeof epoch, "BLIXARD_EPOCH=%llu", (unsigned long long)agent.epoch);
  snprintf(trace, sizeof trace, "TRACEPARENT=%s", traceparent);
  char *ours[6] = {path, home, vm, epoch, NULL, NULL};
  size_t last = 4;
  if (traceparent[0] != 0) ours[last++] = trace;
  if (terminal) ours[last++] = term;
  for (size_t i = 0; i < last; i++) {
    if (!has_name(env, from_request, ours[i])) env[count++] = ours[i];
  }
  env[count] = NULL;
  return env;
}
