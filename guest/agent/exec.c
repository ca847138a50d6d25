#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent.h"

struct exec_request {
  bool pty;
  struct winsize size;
  uint32_t window;
  char *cwd;
  char *traceparent;
  char *argv[ARGS_MAX + 1];
  char *env[ARGS_MAX + 1];
  size_t argc;
};

static void close_pair(int pair[2]) {
  if (pair[0] >= 0) close(pair[0]);
  if (pair[1] >= 0) close(pair[1]);
}

static void set_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

/* One process on three pipes; -1 with errno. */
static pid_t start_on_pipes(struct stream *stream, struct spawn *spawn, const char **what) {
  int pairs[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
  *what = "pipe";
  for (int i = 0; i < 3; i++) {
    if (pipe2(pairs[i], O_CLOEXEC) == 0) continue;
    int error = errno;
    for (int k = 0; k < 3; k++) close_pair(pairs[k]);
    errno = error;
    return -1;
  }
  spawn->fds[0] = pairs[0][0];
  spawn->fds[1] = pairs[1][1];
  spawn->fds[2] = pairs[2][1];
  pid_t pid = spawn_process(spawn, what);
  int error = errno;
  close(pairs[0][0]);
  close(pairs[1][1]);
  close(pairs[2][1]);
  stream->in = pairs[0][1];
  stream->out = pairs[1][0];
  stream->err = pairs[2][0];
  set_nonblocking(stream->in);
  set_nonblocking(stream->out);
  set_nonblocking(stream->err);
  errno = error;
  return pid;
}

static pid_t start_on_terminal(struct stream *stream, struct spawn *spawn,
                               const struct winsize *size, const char **what) {
  int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  *what = "open a pseudo-terminal";
  if (master < 0) return -1;
  stream->pty = true;
  stream->in = stream->out = master;
  /* TIOCGPTPEER opens the slave through the master, whatever is mounted on /dev/pts. */
  if (unlockpt(master) != 0) return -1;
  int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0) return -1;
  ioctl(slave, TIOCSWINSZ, size);
  spawn->fds[0] = spawn->fds[1] = spawn->fds[2] = slave;
  spawn->terminal = true;
  pid_t pid = spawn_process(spawn, what);
  int error = errno;
  close(slave);
  set_nonblocking(master);
  errno = error;
  return pid;
}

static bool read_request(struct exec_request *request, struct reader *reader,
                         struct arena *arena) {
  arena->used = 0;
  request->pty = (read_uint(reader, 1) & 1) != 0;
  memset(&request->size, 0, sizeof request->size);
  request->size.ws_row = (unsigned short)read_uint(reader, 2);
  request->size.ws_col = (unsigned short)read_uint(reader, 2);
  request->window = (uint32_t)read_uint(reader, 4);
  request->cwd = read_text(reader, arena, PATH_BYTES_MAX);
  request->traceparent = read_text(reader, arena, 64);
  request->argc = read_argv(reader, arena, request->argv);
  read_env(reader, arena, request->env);
  return reader_done(reader);
}

void exec_open(uint32_t id, struct reader *reader) {
  static struct arena arena;
  static struct exec_request request;
  if (!read_request(&request, reader, &arena)) {
    out_error(id, EPROTO, "malformed exec request");
    return;
  }
  if (request.argc == 0 || request.window > WINDOW_BYTES_MAX) {
    out_error(id, EINVAL, request.argc == 0 ? "the command is empty" : "the window is too large");
    return;
  }
  struct stream *stream = stream_new(STREAM_EXEC, id);
  if (stream == NULL) return;
  struct spawn spawn = {
      .argv = request.argv,
      .env = spawn_env(request.env, request.traceparent, request.pty),
      .cwd = request.cwd[0] == 0 ? "/" : request.cwd,
  };
  const char *what = "";
  pid_t pid = request.pty ? start_on_terminal(stream, &spawn, &request.size, &what)
                          : start_on_pipes(stream, &spawn, &what);
  if (pid < 0) {
    int error = errno;
    stream_drop(stream);
    out_error(id, error, "%s: %s", what, strerror(error));
    return;
  }
  stream->pid = pid;
  stream->credit = request.window;
  uint8_t payload[8];
  struct writer writer = {payload, 0, sizeof payload};
  write_uint(&writer, 4, (uint64_t)pid);
  write_uint(&writer, 4, INPUT_WINDOW_BYTES);
  out_frame(FRAME_OPENED, id, payload, writer.used);
}

void exec_input(struct stream *stream, const uint8_t *bytes, uint32_t length) {
  if (length > stream->input_credit || stream->input_ends) {
    stream_fail(stream, EPROTO, "input beyond the stream's credit or end");
    return;
  }
  stream->input_credit -= length;
  if (stream->in < 0) {
    stream_credit_input(stream, length);
    return;
  }
  /* Fits: what is buffered plus the credit never exceeds the window. */
  if (stream->input_start > 0) {
    memmove(stream->input, stream->input + stream->input_start, stream->input_length);
    stream->input_start = 0;
  }
  memcpy(stream->input + stream->input_length, bytes, length);
  stream->input_length += length;
}

static void close_input(struct stream *stream) {
  if (stream->in >= 0 && !stream->pty) close(stream->in);
  if (!stream->pty) stream->in = -1;
  uint32_t lost = stream->input_length;
  stream->input_length = 0;
  if (!stream->abandoned) stream_credit_input(stream, lost);
}

void exec_input_close(struct stream *stream) { stream->input_ends = true; }

void exec_signal(struct stream *stream, int number) {
  pid_t group = stream->pid;
  /* As Ctrl-C would: to the job in the foreground, not to the shell behind it. */
  if (stream->pty && ioctl(stream->out, TIOCGPGRP, &group) != 0) group = stream->pid;
  if (stream->exited && group == stream->pid) return;
  if (group > 1) kill(-group, number);
}

void exec_resize(struct stream *stream, uint16_t rows, uint16_t cols) {
  struct winsize size = {.ws_row = rows, .ws_col = cols};
  if (stream->pty && stream->out >= 0) ioctl(stream->out, TIOCSWINSZ, &size);
}

void exec_close(struct stream *stream) {
  if (stream->abandoned) return;
  stream->abandoned = true;
  stream->kill_ms = now_ms() + CLOSE_GRACE_MS;
  if (!stream->exited) kill(-stream->pid, SIGHUP);
}

void exec_exited(struct stream *stream, uint32_t code) {
  stream->exited = true;
  stream->exited_ms = now_ms();
  stream->hung_up_until_ms = 0;
  stream->code = code;
}

/* A pipe is closed at end-of-file; a terminal is typed its end-of-file character, once. */
static void end_input(struct stream *stream) {
  static const uint8_t CTRL_D = 4;
  if (!stream->pty) {
    close_input(stream);
  } else if (write(stream->in, &CTRL_D, 1) == 1 || (errno != EAGAIN && errno != EINTR)) {
    stream->in = -1;
  }
}

static void pump_input(struct stream *stream) {
  while (stream->in >= 0 && stream->input_length > 0) {
    ssize_t count =
        write(stream->in, stream->input + stream->input_start, stream->input_length);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    if (count < 0) {
      /* Nobody reads it any more; as with any pipe, the bytes are lost. */
      close_input(stream);
      return;
    }
    stream->input_start += (uint32_t)count;
    stream->input_length -= (uint32_t)count;
    if (stream->input_length == 0) stream->input_start = 0;
    if (out_free() >= OUT_REPLY_BYTES) stream_credit_input(stream, (uint32_t)count);
    else stream->input_consumed += (uint32_t)count;
  }
  if (stream->in >= 0 && stream->input_ends && stream->input_length == 0) end_input(stream);
}

/* How many bytes of output may be read now: by credit, and by room in the queue. */
static size_t output_room(const struct stream *stream) {
  if (stream->abandoned) return PAYLOAD_BYTES_MAX;
  if (out_free() <= OUT_RESERVE_BYTES + HEADER_BYTES) return 0;
  size_t room = out_free() - OUT_RESERVE_BYTES - HEADER_BYTES;
  if (room > stream->credit) room = stream->credit;
  return room < PAYLOAD_BYTES_MAX ? room : PAYLOAD_BYTES_MAX;
}

/* Reads once; false when nothing more can be read now. Closes *fd at its end. */
static bool pump_output(struct stream *stream, int *fd, uint8_t type) {
  static uint8_t chunk[PAYLOAD_BYTES_MAX];
  size_t room = output_room(stream);
  if (*fd < 0 || room == 0 || now_ms() < stream->hung_up_until_ms) return false;
  ssize_t count = read(*fd, chunk, room);
  if (count < 0 && errno == EINTR) return true;
  if (count < 0 && errno == EAGAIN) return false;
  if (count <= 0 && stream->pty && !stream->exited) {
    /* EIO: nobody holds the other side just now. A program that closes its descriptors before it
     * ends must not be hung up on, which closing the master would do; it may also open /dev/tty. */
    stream->hung_up_until_ms = now_ms() + TERMINAL_RETRY_MS;
    return false;
  }
  if (count <= 0) {
    if (stream->pty) stream->in = -1;
    close(*fd);
    *fd = -1;
    return false;
  }
  if (stream->abandoned) return true;
  stream->credit -= (uint32_t)count;
  out_frame(type, stream->id, chunk, (size_t)count);
  return true;
}

/* Not poll(2): that also reports a hang-up, which cannot be read away without credit. */
static bool holds_data(int fd) {
  int count = 0;
  return fd >= 0 && ioctl(fd, FIONREAD, &count) == 0 && count > 0;
}

void exec_pump(struct stream *stream, uint64_t now) {
  pump_input(stream);
  /* A few rounds each, so that one stream cannot starve the others. */
  for (int round = 0; round < 4; round++) {
    bool moved = pump_output(stream, &stream->out, FRAME_STDOUT);
    if (pump_output(stream, &stream->err, FRAME_STDERR)) moved = true;
    if (!moved) break;
  }
  if (stream->kill_ms != 0 && now >= stream->kill_ms) {
    if (!stream->exited) kill(-stream->pid, SIGKILL);
    stream->kill_ms = 0;
  }
  if (!stream->exited || out_free() < OUT_REPLY_BYTES) return;
  bool at_end = stream->out < 0 && stream->err < 0;
  bool quiet = now >= stream->exited_ms + EXIT_LINGER_MS && !holds_data(stream->out) &&
               !holds_data(stream->err);
  if (at_end || quiet || stream->abandoned) stream_exit(stream, stream->code);
}

int exec_timeout(const struct stream *stream, uint64_t now) {
  uint64_t due = 0;
  if (stream->kill_ms != 0) due = stream->kill_ms;
  if (stream->exited && now < stream->exited_ms + EXIT_LINGER_MS) {
    due = stream->exited_ms + EXIT_LINGER_MS;
  }
  if (due == 0 && now < stream->hung_up_until_ms) due = stream->hung_up_until_ms;
  if (due == 0) return -1;
  return due <= now ? 0 : (int)(due - now);
}
