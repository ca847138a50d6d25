#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"

/* For programs that outlive an epoch; written beside and renamed, so that it is never half there. */
static void publish_epoch(void) {
  static const char path[] = "/run/blixard/epoch";
  static const char temporary[] = "/run/blixard/epoch.tmp";
  if (mkdir("/run/blixard", 0755) != 0 && errno != EEXIST) {
    perror("blixard-agent: /run/blixard");
    return;
  }
  FILE *file = fopen(temporary, "we");
  if (file == NULL || fprintf(file, "%llu\n", (unsigned long long)agent.epoch) < 0) {
    perror("blixard-agent: epoch");
  }
  if (file != NULL && fclose(file) == 0 && rename(temporary, path) != 0) {
    perror("blixard-agent: epoch");
  }
}

void epoch_set(uint64_t epoch) {
  agent.epoch = epoch;
  if (agent.init) publish_epoch();
}

struct start_request {
  uint64_t epoch;
  char *hostname;
  char *traceparent;
  char *argv[ARGS_MAX + 1];
  char *env[ARGS_MAX + 1];
  size_t argc;
};

/* The console as 1 and 2, nothing as 0. */
static pid_t start_on_console(const struct start_request *request, const char **what) {
  int none = open("/dev/null", O_RDONLY | O_CLOEXEC);
  int console = agent.init ? open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC)
                           : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  struct spawn spawn = {
      .argv = (char **)request->argv,
      .env = spawn_env(request->env, request->traceparent, false),
      .cwd = "/",
      .fds = {none, console, console},
  };
  *what = "/dev/console";
  pid_t pid = none < 0 || console < 0 ? -1 : spawn_process(&spawn, what);
  int error = errno;
  if (none >= 0) close(none);
  if (console >= 0) close(console);
  errno = error;
  return pid;
}

void workload_start(uint32_t id, struct reader *reader) {
  static struct arena arena;
  static struct start_request request;
  arena.used = 0;
  request.epoch = read_uint(reader, 8);
  request.hostname = read_text(reader, &arena, HOSTNAME_BYTES_MAX);
  request.traceparent = read_text(reader, &arena, 64);
  request.argc = read_argv(reader, &arena, request.argv);
  read_env(reader, &arena, request.env);
  if (!reader_done(reader)) {
    out_error(id, EPROTO, "malformed start request");
    return;
  }
  if (agent.workload != WORKLOAD_NONE) {
    if (request.epoch == agent.epoch) out_frame(FRAME_DONE, id, NULL, 0);
    else out_error(id, EALREADY, "the workload of epoch %llu was started",
                   (unsigned long long)agent.epoch);
    return;
  }
  epoch_set(request.epoch);
  memcpy(agent.hostname, request.hostname, strlen(request.hostname) + 1);
  if (agent.init && sethostname(agent.hostname, strlen(agent.hostname)) != 0) {
    perror("blixard-agent: hostname");
  }
  if (request.argc == 0) {
    out_frame(FRAME_DONE, id, NULL, 0);
    return;
  }
  const char *what = "";
  pid_t pid = start_on_console(&request, &what);
  if (pid < 0) {
    int error = errno;
    out_error(id, error, "%s: %s", what, strerror(error));
    return;
  }
  agent.workload = WORKLOAD_RUNNING;
  agent.workload_pid = pid;
  out_frame(FRAME_DONE, id, NULL, 0);
}

void workload_exited(uint32_t code) {
  agent.workload = WORKLOAD_EXITED;
  agent.workload_code = code;
  agent.workload_report_due = true;
}
