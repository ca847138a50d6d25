#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

struct stream *stream_find(uint32_t id) {
  for (size_t i = 0; i < STREAMS_MAX; i++) {
    struct stream *stream = &agent.streams[i];
    if (stream->kind != STREAM_FREE && stream->id == id) return stream;
  }
  return NULL;
}

struct stream *stream_new(enum stream_kind kind, uint32_t id) {
  if (id == 0 || stream_find(id) != NULL) {
    out_error(id, EINVAL, "stream %u is in use", id);
    return NULL;
  }
  for (size_t i = 0; i < STREAMS_MAX; i++) {
    struct stream *stream = &agent.streams[i];
    if (stream->kind != STREAM_FREE) continue;
    /* Everything but the large buffers at the end. */
    memset(stream, 0, offsetof(struct stream, path));
    stream->path[0] = 0;
    stream->temporary[0] = 0;
    stream->kind = kind;
    stream->id = id;
    stream->in = stream->out = stream->err = stream->fd = -1;
    stream->input_credit = INPUT_WINDOW_BYTES;
    return stream;
  }
  out_error(id, EAGAIN, "%u streams are open", STREAMS_MAX);
  return NULL;
}

static void close_once(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

void stream_drop(struct stream *stream) {
  if (stream->kind == STREAM_EXEC && stream->pid > 0 && !stream->exited) {
    kill(-stream->pid, SIGKILL);
  }
  if (stream->pty) stream->in = -1;
  close_once(&stream->in);
  close_once(&stream->out);
  close_once(&stream->err);
  close_once(&stream->fd);
  if (stream->temporary[0] != 0) unlink(stream->temporary);
  stream->temporary[0] = 0;
  stream->kind = STREAM_FREE;
}

void streams_drop_all(void) {
  for (size_t i = 0; i < STREAMS_MAX; i++) {
    if (agent.streams[i].kind != STREAM_FREE) stream_drop(&agent.streams[i]);
  }
}

void stream_fail(struct stream *stream, int error, const char *text) {
  out_error(stream->id, error, "%s", text);
  stream_drop(stream);
}

void stream_exit(struct stream *stream, uint32_t code) {
  out_u32(FRAME_EXIT, stream->id, code);
  stream_drop(stream);
}

void stream_credit_input(struct stream *stream, uint32_t consumed) {
  stream->input_consumed += consumed;
  /* Half a window at a time, or all of it when the host has little left to send with. */
  if (stream->input_consumed == 0) return;
  if (stream->input_consumed < INPUT_WINDOW_BYTES / 2 &&
      stream->input_credit >= INPUT_WINDOW_BYTES / 2) {
    return;
  }
  out_u32(FRAME_CREDIT, stream->id, stream->input_consumed);
  stream->input_credit += stream->input_consumed;
  stream->input_consumed = 0;
}
