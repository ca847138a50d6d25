/* State and modules of the agent: one thread, one poll loop, no allocation after start. */
#ifndef BLIXARD_AGENT_H
#define BLIXARD_AGENT_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "frame.h"
#include "limits.h"
#include "wire.h"

enum stream_kind { STREAM_FREE, STREAM_EXEC, STREAM_WRITE, STREAM_READ };

/* One exec or file transfer. A free slot has kind STREAM_FREE and owns nothing. */
struct stream {
  enum stream_kind kind;
  uint32_t id;
  /* Bytes of output that the host has room for; at most WINDOW_BYTES_MAX. */
  uint32_t credit;
  /* Bytes of input that the host may still send; INPUT_WINDOW_BYTES minus what is buffered here
   * and what was consumed but not credited back yet. */
  uint32_t input_credit;
  uint32_t input_consumed;

  /* exec: pid is the leader of its own session. in, out, err are -1 when closed; with a pty
   * in == out is the master. */
  pid_t pid;
  bool pty;
  int in;
  int out;
  int err;
  bool input_ends;
  bool exited;
  uint32_t code;
  uint64_t exited_ms;
  /* A terminal that no process holds is not read before this: poll(2) would report it for ever. */
  uint64_t hung_up_until_ms;
  /* The host closed the stream: output is thrown away; 0 or when to send SIGKILL. */
  bool abandoned;
  uint64_t kill_ms;
  uint32_t input_start;
  uint32_t input_length;

  /* file transfers: fd is -1 when closed. */
  int fd;
  uint64_t size;
  uint64_t received;

  char path[PATH_BYTES_MAX + 1];
  char temporary[PATH_BYTES_MAX + 64];
  uint8_t input[INPUT_WINDOW_BYTES];
};

enum workload_state { WORKLOAD_NONE, WORKLOAD_RUNNING, WORKLOAD_EXITED };

struct agent {
  /* Runs as pid 1 of a guest; otherwise a test's process that must leave its host alone. */
  bool init;
  /* 0: no host has said hello yet. */
  uint32_t session;
  uint64_t epoch;
  char hostname[HOSTNAME_BYTES_MAX + 1];
  enum workload_state workload;
  pid_t workload_pid;
  uint32_t workload_code;
  bool workload_report_due;
  bool stopping;
  bool reboot;
  uint64_t stop_ms;
  struct stream streams[STREAMS_MAX];
};

extern struct agent agent;

/* out.c */
uint64_t now_ms(void);

/* out.c: the queue of frames on their way to the port. */
size_t out_free(void);
size_t out_pending(void);
const uint8_t *out_bytes(void);
void out_sent(size_t count);
void out_frame(uint8_t type, uint32_t stream, const uint8_t *payload, size_t length);
void out_u32(uint8_t type, uint32_t stream, uint32_t value);
void out_error(uint32_t stream, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* port.c */
/* Opens a path, or with NULL waits for the virtio port of our name; -1 with errno. */
int port_open(const char *path);
void port_use(int fd);
/* Bytes into the parser, frames out; each false when the port is gone for good. */
bool port_receive(struct parser *parser);
bool port_send(void);
void port_poll(struct pollfd *pollfd, bool want_input);
/* Pauses polling while poll(2) could only spin: nobody holds the other end. */
void port_pause(void);
bool port_paused(uint64_t now);

/* spawn.c */
struct spawn {
  char **argv;
  char **env;
  const char *cwd;
  /* 0, 1 and 2 of the new process. */
  int fds[3];
  /* fds[0] is a terminal that becomes the controlling one. */
  bool terminal;
};
/* The pid, or -1 with errno and what failed in *what. */
pid_t spawn_process(const struct spawn *spawn, const char **what);
/* Our variables and then the request's, which win; valid until the next call. */
char **spawn_env(char *const *request, const char *traceparent, bool terminal);

/* exec.c */
void exec_open(uint32_t id, struct reader *reader);
void exec_input(struct stream *stream, const uint8_t *bytes, uint32_t length);
void exec_input_close(struct stream *stream);
void exec_signal(struct stream *stream, int number);
void exec_resize(struct stream *stream, uint16_t rows, uint16_t cols);
void exec_close(struct stream *stream);
void exec_exited(struct stream *stream, uint32_t code);
/* Moves what can move without waiting, and ends the stream when it is done. */
void exec_pump(struct stream *stream, uint64_t now);
/* Milliseconds until exec_pump has something to do without any descriptor being ready; or -1. */
int exec_timeout(const struct stream *stream, uint64_t now);

/* files.c */
void file_write_open(uint32_t id, struct reader *reader);
void file_write_input(struct stream *stream, const uint8_t *bytes, uint32_t length);
void file_write_commit(struct stream *stream);
void file_read_open(uint32_t id, struct reader *reader);
void file_read_pump(struct stream *stream);

/* streams.c */
struct stream *stream_find(uint32_t id);
/* NULL after an error was sent: the id is in use, or all slots are. */
struct stream *stream_new(enum stream_kind kind, uint32_t id);
/* Releases everything the stream owns (SIGKILL, close, unlink) and says nothing. */
void stream_drop(struct stream *stream);
void streams_drop_all(void);
void stream_fail(struct stream *stream, int error, const char *text);
void stream_exit(struct stream *stream, uint32_t code);
/* Sends back credit for consumed input, when it is worth a frame. */
void stream_credit_input(struct stream *stream, uint32_t consumed);

/* workload.c */
void workload_start(uint32_t id, struct reader *reader);
void workload_exited(uint32_t code);
void epoch_set(uint64_t epoch);

/* requests.c */
void handle_frame(const struct frame *frame);

/* tick.c */
/* Prints `tick EPOCH COUNT` each `period` milliseconds until nobody reads it; the exit code. */
int tick_run(const char *period);

/* init.c */
void init_boot(void);
/* Ends all processes, syncs, and powers off or reboots; does not return. */
_Noreturn void init_shutdown(bool reboot);

#endif
