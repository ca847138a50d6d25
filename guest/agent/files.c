#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"

/* The folder of an absolute path, in `folder` of PATH_BYTES_MAX + 1 bytes. */
static void folder_of(const char *path, char *folder) {
  const char *slash = strrchr(path, '/');
  size_t length = slash == path ? 1 : (size_t)(slash - path);
  memcpy(folder, path, length);
  folder[length] = 0;
}

static void fail_errno(struct stream *stream) {
  int error = errno;
  stream_fail(stream, error, strerror(error));
}

static void opened(const struct stream *stream, uint32_t window) {
  uint8_t payload[8];
  struct writer writer = {payload, 0, sizeof payload};
  write_uint(&writer, 4, 0);
  write_uint(&writer, 4, window);
  out_frame(FRAME_OPENED, stream->id, payload, writer.used);
}

/* Takes the path, which is the last field; NULL after an error was sent. */
static struct stream *open_stream(enum stream_kind kind, uint32_t id, struct reader *reader) {
  static struct arena arena;
  arena.used = 0;
  const char *path = read_text(reader, &arena, PATH_BYTES_MAX);
  if (!reader_done(reader)) {
    out_error(id, EPROTO, "malformed file request");
    return NULL;
  }
  if (path[0] != '/') {
    out_error(id, EINVAL, "the path is not absolute");
    return NULL;
  }
  struct stream *stream = stream_new(kind, id);
  if (stream != NULL) memcpy(stream->path, path, strlen(path) + 1);
  return stream;
}

void file_write_open(uint32_t id, struct reader *reader) {
  static unsigned number;
  char folder[PATH_BYTES_MAX + 1];
  struct stat info;
  mode_t mode = (mode_t)read_uint(reader, 4) & 07777;
  uint64_t size = read_uint(reader, 8);
  struct stream *stream = open_stream(STREAM_WRITE, id, reader);
  if (stream == NULL) return;
  stream->size = size;
  if (stat(stream->path, &info) == 0 && S_ISDIR(info.st_mode)) {
    stream_fail(stream, EISDIR, strerror(EISDIR));
    return;
  }
  folder_of(stream->path, folder);
  snprintf(stream->temporary, sizeof stream->temporary, "%s/.blixard-%d-%u.tmp", folder,
           (int)getpid(), number++);
  stream->fd = open(stream->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (stream->fd < 0) {
    /* Not ours to unlink. */
    stream->temporary[0] = 0;
    fail_errno(stream);
    return;
  }
  if (fchmod(stream->fd, mode) != 0) {
    fail_errno(stream);
    return;
  }
  opened(stream, INPUT_WINDOW_BYTES);
}

void file_write_input(struct stream *stream, const uint8_t *bytes, uint32_t length) {
  if (length > stream->input_credit || length > stream->size - stream->received) {
    stream_fail(stream, EINVAL, "more bytes than announced or credited");
    return;
  }
  stream->input_credit -= length;
  for (uint32_t at = 0; at < length;) {
    ssize_t count = write(stream->fd, bytes + at, length - at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      fail_errno(stream);
      return;
    }
    at += (uint32_t)count;
  }
  stream->received += length;
  stream_credit_input(stream, length);
}

void file_write_commit(struct stream *stream) {
  char folder[PATH_BYTES_MAX + 1];
  if (stream->received != stream->size) {
    stream_fail(stream, EINVAL, "fewer bytes than announced");
    return;
  }
  int synced = fsync(stream->fd);
  int closed = close(stream->fd);
  stream->fd = -1;
  if (synced != 0 || closed != 0 || rename(stream->temporary, stream->path) != 0) {
    fail_errno(stream);
    return;
  }
  stream->temporary[0] = 0;
  folder_of(stream->path, folder);
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  /* Some file systems have no fsync for folders (EINVAL); theirs need none. */
  bool durable = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
  int error = errno;
  if (fd >= 0) close(fd);
  if (durable) stream_exit(stream, 0);
  else stream_fail(stream, error, strerror(error));
}

void file_read_open(uint32_t id, struct reader *reader) {
  struct stat info;
  uint32_t window = (uint32_t)read_uint(reader, 4);
  struct stream *stream = open_stream(STREAM_READ, id, reader);
  if (stream == NULL) return;
  if (window > WINDOW_BYTES_MAX) {
    stream_fail(stream, EINVAL, "the window is too large");
    return;
  }
  /* Not blocking: a pipe without a writer would stop the whole agent. */
  stream->fd = open(stream->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (stream->fd < 0 || fstat(stream->fd, &info) != 0) {
    fail_errno(stream);
    return;
  }
  if (!S_ISREG(info.st_mode)) {
    int error = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
    stream_fail(stream, error, error == EISDIR ? strerror(EISDIR) : "not a regular file");
    return;
  }
  stream->credit = window;
  opened(stream, 0);
}

void file_read_pump(struct stream *stream) {
  static uint8_t chunk[PAYLOAD_BYTES_MAX];
  if (stream->credit == 0) return;
  if (out_free() < OUT_RESERVE_BYTES + HEADER_BYTES + PAYLOAD_BYTES_MAX) return;
  size_t room = stream->credit < PAYLOAD_BYTES_MAX ? stream->credit : PAYLOAD_BYTES_MAX;
  ssize_t count = read(stream->fd, chunk, room);
  if (count < 0 && errno == EINTR) return;
  if (count < 0) {
    fail_errno(stream);
  } else if (count == 0) {
    stream_exit(stream, 0);
  } else {
    stream->credit -= (uint32_t)count;
    out_frame(FRAME_STDOUT, stream->id, chunk, (size_t)count);
  }
}
