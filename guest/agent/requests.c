#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "agent.h"

enum { CAPABILITIES = 1 | 2 | 4 | 8 | 16 };

static void read_line(const char *path, char *line, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t length = fd < 0 ? 0 : read(fd, line, size - 1);
  if (fd >= 0) close(fd);
  line[length > 0 ? length : 0] = 0;
  line[strcspn(line, "\n")] = 0;
}

static void send_welcome(void) {
  char boot_id[64];
  uint8_t payload[256];
  struct writer writer = {payload, 0, sizeof payload};
  read_line("/proc/sys/kernel/random/boot_id", boot_id, sizeof boot_id);
  write_uint(&writer, 1, PROTOCOL_VERSION_MIN);
  write_uint(&writer, 1, PROTOCOL_VERSION_MAX);
  write_uint(&writer, 4, CAPABILITIES);
  write_uint(&writer, 2, STREAMS_MAX);
  write_uint(&writer, 8, now_ms());
  write_uint(&writer, 8, agent.epoch);
  write_uint(&writer, 1, agent.workload);
  write_uint(&writer, 4, agent.workload == WORKLOAD_EXITED ? agent.workload_code : 0);
  write_text(&writer, AGENT_VERSION);
  write_text(&writer, boot_id);
  out_frame(FRAME_WELCOME, 0, payload, writer.used);
}

static void handle_hello(const struct frame *frame) {
  if (frame->session == 0 || frame->length != 2) return;
  if (frame->session != agent.session) streams_drop_all();
  agent.session = frame->session;
  agent.workload_report_due = false;
  send_welcome();
}

static uint64_t memory_available_bytes(void) {
  char line[128];
  unsigned long long kilobytes = 0;
  FILE *file = fopen("/proc/meminfo", "re");
  if (file == NULL) return 0;
  while (fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "MemAvailable: %llu kB", &kilobytes) == 1) break;
  }
  fclose(file);
  return kilobytes * 1024;
}

static void send_health(uint32_t id) {
  struct sysinfo info;
  uint8_t payload[64];
  struct writer writer = {payload, 0, sizeof payload};
  if (sysinfo(&info) != 0) {
    out_error(id, errno, "sysinfo: %s", strerror(errno));
    return;
  }
  write_uint(&writer, 8, now_ms());
  write_uint(&writer, 8, (uint64_t)info.totalram * info.mem_unit);
  write_uint(&writer, 8, memory_available_bytes());
  /* Loads come in 1/65536. */
  for (int i = 0; i < 3; i++) write_uint(&writer, 4, ((uint64_t)info.loads[i] * 1000) >> 16);
  write_uint(&writer, 4, info.procs);
  out_frame(FRAME_HEALTH_REPORT, id, payload, writer.used);
}

static void handle_shutdown(uint32_t id, struct reader *reader) {
  uint64_t how = read_uint(reader, 1);
  if (!reader_done(reader) || how > 1) {
    out_error(id, EPROTO, "malformed shutdown request");
    return;
  }
  out_frame(FRAME_DONE, id, NULL, 0);
  agent.stopping = true;
  agent.reboot = how == 1;
  agent.stop_ms = now_ms() + FLUSH_MS;
}

static void handle_credit(struct stream *stream, struct reader *reader) {
  uint64_t bytes = read_uint(reader, 4);
  if (!reader_done(reader) || stream->credit + bytes > WINDOW_BYTES_MAX) {
    stream_fail(stream, EPROTO, "malformed credit");
    return;
  }
  stream->credit += (uint32_t)bytes;
}

static void handle_exec_frame(struct stream *stream, const struct frame *frame) {
  struct reader reader;
  reader_init(&reader, frame->payload, frame->length);
  switch (frame->type) {
    case FRAME_STDIN:
      exec_input(stream, frame->payload, frame->length);
      return;
    case FRAME_STDIN_CLOSE:
      exec_input_close(stream);
      return;
    case FRAME_SIGNAL: {
      int number = (int)read_uint(&reader, 1);
      if (!reader_done(&reader) || number < 1 || number > 64) break;
      exec_signal(stream, number);
      return;
    }
    case FRAME_RESIZE: {
      uint16_t rows = (uint16_t)read_uint(&reader, 2);
      uint16_t cols = (uint16_t)read_uint(&reader, 2);
      if (!reader_done(&reader)) break;
      exec_resize(stream, rows, cols);
      return;
    }
    case FRAME_CLOSE:
      exec_close(stream);
      return;
    default:
      break;
  }
  stream_fail(stream, EPROTO, "malformed frame for a process");
}

static void handle_file_frame(struct stream *stream, const struct frame *frame) {
  bool writes = stream->kind == STREAM_WRITE;
  if (frame->type == FRAME_CLOSE) {
    stream_exit(stream, 128);
  } else if (writes && frame->type == FRAME_STDIN) {
    file_write_input(stream, frame->payload, frame->length);
  } else if (writes && frame->type == FRAME_STDIN_CLOSE) {
    file_write_commit(stream);
  } else {
    stream_fail(stream, EPROTO, "malformed frame for a file");
  }
}

/* Frames of an open stream; those of one that has ended are late, and ignored. */
static void handle_stream_frame(const struct frame *frame) {
  struct stream *stream = stream_find(frame->stream);
  if (stream == NULL) return;
  if (frame->type == FRAME_CREDIT) {
    struct reader reader;
    reader_init(&reader, frame->payload, frame->length);
    handle_credit(stream, &reader);
  } else if (stream->kind == STREAM_EXEC) {
    handle_exec_frame(stream, frame);
  } else {
    handle_file_frame(stream, frame);
  }
}

void handle_frame(const struct frame *frame) {
  uint32_t id = frame->stream;
  struct reader reader;
  reader_init(&reader, frame->payload, frame->length);
  if (frame->type == FRAME_HELLO) {
    handle_hello(frame);
    return;
  }
  if (agent.session == 0 || frame->session != agent.session) return;
  switch (frame->type) {
    case FRAME_START:
      workload_start(id, &reader);
      break;
    case FRAME_EXEC:
      exec_open(id, &reader);
      break;
    case FRAME_FILE_WRITE:
      file_write_open(id, &reader);
      break;
    case FRAME_FILE_READ:
      file_read_open(id, &reader);
      break;
    case FRAME_HEALTH:
      send_health(id);
      break;
    case FRAME_SHUTDOWN:
      handle_shutdown(id, &reader);
      break;
    case FRAME_EPOCH: {
      uint64_t epoch = read_uint(&reader, 8);
      if (!reader_done(&reader)) {
        out_error(id, EPROTO, "malformed epoch");
        break;
      }
      epoch_set(epoch);
      out_frame(FRAME_DONE, id, NULL, 0);
      break;
    }
    case FRAME_STDIN:
    case FRAME_STDIN_CLOSE:
    case FRAME_RESIZE:
    case FRAME_SIGNAL:
    case FRAME_CLOSE:
    case FRAME_CREDIT:
      handle_stream_frame(frame);
      break;
    default:
      out_error(id, EPROTO, "unknown frame type %u", frame->type);
  }
}
