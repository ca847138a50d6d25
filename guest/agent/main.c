/*
 * The agent: pid 1 of a guest, or with --port PATH or --fd N an ordinary process for tests.
 * With --tick MS it is no agent, but a clock that prints.
 * One loop: wait, read requests, reap children, move bytes, write answers.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"

struct agent agent;
static struct parser parser;
static int signal_fd = -1;

enum { POLL_MAX = 2 + 3 * STREAMS_MAX };

static void block_signals(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGUSR2);
  sigprocmask(SIG_BLOCK, &set, NULL);
  signal(SIGPIPE, SIG_IGN);
  signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  if (signal_fd >= 0) return;
  perror("blixard-agent: signalfd");
  exit(1);
}

static void child_ended(pid_t pid, int status) {
  uint32_t code = WIFSIGNALED(status) ? 128 + (uint32_t)WTERMSIG(status)
                                      : (uint32_t)WEXITSTATUS(status);
  if (agent.workload == WORKLOAD_RUNNING && pid == agent.workload_pid) {
    workload_exited(code);
    return;
  }
  for (size_t i = 0; i < STREAMS_MAX; i++) {
    struct stream *stream = &agent.streams[i];
    if (stream->kind == STREAM_EXEC && !stream->exited && stream->pid == pid) {
      exec_exited(stream, code);
      return;
    }
  }
}

static void take_signals(void) {
  struct signalfd_siginfo info;
  while (read(signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
    if (info.ssi_signo == SIGCHLD) continue;
    /* What busybox' reboot, halt and poweroff send to pid 1. */
    init_shutdown(agent.init && info.ssi_signo == SIGTERM);
  }
  /* As pid 1 this also buries orphans that nobody else will. */
  for (;;) {
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return;
    child_ended(pid, status);
  }
}

/* As many requests as can be answered now; the others stay in the parser. */
static void take_requests(void) {
  struct frame frame;
  while (out_free() >= OUT_REPLY_BYTES + OUT_RESERVE_BYTES / 2 && !agent.stopping &&
         parser_next(&parser, &frame)) {
    handle_frame(&frame);
  }
}

static void pump_streams(void) {
  static size_t first;
  uint64_t now = now_ms();
  /* A different one first each time, so that each gets its share of the queue. */
  first = (first + 1) % STREAMS_MAX;
  for (size_t i = 0; i < STREAMS_MAX; i++) {
    struct stream *stream = &agent.streams[(first + i) % STREAMS_MAX];
    if (stream->kind == STREAM_EXEC) exec_pump(stream, now);
    else if (stream->kind == STREAM_READ) file_read_pump(stream);
  }
  if (agent.workload_report_due && agent.session != 0 && out_free() >= OUT_REPLY_BYTES) {
    agent.workload_report_due = false;
    out_u32(FRAME_WORKLOAD_EXIT, 0, agent.workload_code);
  }
}

static void add(struct pollfd *fds, nfds_t *count, int fd, short events) {
  if (fd < 0 || events == 0) return;
  fds[*count] = (struct pollfd){.fd = fd, .events = events};
  *count += 1;
}

static nfds_t collect(struct pollfd *fds, int *timeout, uint64_t now) {
  nfds_t count = 0;
  add(fds, &count, signal_fd, POLLIN);
  bool room = out_free() > OUT_RESERVE_BYTES + HEADER_BYTES;
  for (size_t i = 0; i < STREAMS_MAX; i++) {
    const struct stream *stream = &agent.streams[i];
    if (stream->kind == STREAM_READ && stream->credit > 0 &&
        out_free() >= OUT_RESERVE_BYTES + HEADER_BYTES + PAYLOAD_BYTES_MAX) {
      *timeout = 0;
    }
    if (stream->kind != STREAM_EXEC) continue;
    bool reads = (stream->abandoned || (room && stream->credit > 0)) &&
                 now >= stream->hung_up_until_ms;
    bool writes = stream->input_length > 0 || (stream->input_ends && stream->in >= 0);
    add(fds, &count, stream->out, reads ? POLLIN : 0);
    add(fds, &count, stream->err, reads ? POLLIN : 0);
    add(fds, &count, stream->in, writes ? POLLOUT : 0);
    int due = exec_timeout(stream, now);
    if (due >= 0 && (*timeout < 0 || due < *timeout)) *timeout = due;
  }
  return count;
}

static void wait_for_work(bool *port_hung_up) {
  struct pollfd fds[POLL_MAX];
  uint64_t now = now_ms();
  int timeout = -1;
  nfds_t count = collect(fds, &timeout, now);
  nfds_t port_index = count;
  bool paused = port_paused(now);
  if (paused || agent.stopping) {
    if (timeout < 0 || timeout > (int)PORT_RETRY_MS) timeout = PORT_RETRY_MS;
  }
  if (!paused) port_poll(&fds[count++], out_free() >= OUT_REPLY_BYTES + OUT_RESERVE_BYTES / 2);
  int ready = poll(fds, count, timeout);
  *port_hung_up = ready > 0 && !paused && (fds[port_index].revents & (POLLHUP | POLLERR)) != 0;
}

static _Noreturn void run(void) {
  for (;;) {
    bool hung_up;
    wait_for_work(&hung_up);
    take_signals();
    bool alive = port_paused(now_ms()) || port_receive(&parser);
    /* poll(2) reports a hang-up for ever; without a pause the loop would spin. */
    if (hung_up) port_pause();
    take_requests();
    pump_streams();
    if (!port_paused(now_ms()) && !port_send()) alive = false;
    bool flushed = out_pending() == 0 || now_ms() >= agent.stop_ms;
    if (agent.stopping && flushed) init_shutdown(agent.reboot);
    if (!alive) init_shutdown(false);
  }
}

static int open_argument(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "--fd") == 0) {
    char *end;
    long fd = strtol(argv[2], &end, 10);
    if (*end == 0 && fd >= 0 && fd < 1024) return (int)fd;
  } else if (argc == 3 && strcmp(argv[1], "--port") == 0) {
    int fd = port_open(argv[2]);
    if (fd >= 0) return fd;
    perror(argv[2]);
    exit(1);
  } else if (argc == 2 && strcmp(argv[1], "--version") == 0) {
    puts("blixard-agent " AGENT_VERSION);
    exit(0);
  }
  fputs("usage: blixard-agent --port PATH | --fd N | --tick MS | --version   (as pid 1: nothing)\n",
        stderr);
  exit(2);
}

int main(int argc, char **argv) {
  agent.init = getpid() == 1;
  if (!agent.init && argc == 3 && strcmp(argv[1], "--tick") == 0) return tick_run(argv[2]);
  memcpy(agent.hostname, "localhost", sizeof "localhost");
  parser_init(&parser);
  if (agent.init) init_boot();
  block_signals();
  int fd = agent.init ? port_open(NULL) : open_argument(argc, argv);
  if (fd < 0) {
    perror("blixard-agent: port");
    return 1;
  }
  port_use(fd);
  run();
}
