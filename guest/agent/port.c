#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

static int port = -1;
static bool port_is_device;
static uint64_t paused_until_ms;

/* True when the port's name file holds our name; its device node then goes to `path`. */
static bool names_us(const char *entry, char *path, size_t size) {
  char file[320];
  char name[64] = "";
  snprintf(file, sizeof file, "/sys/class/virtio-ports/%s/name", entry);
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t length = read(fd, name, sizeof name - 1);
  close(fd);
  if (length <= 0) return false;
  name[strcspn(name, "\n")] = 0;
  if (strcmp(name, AGENT_PORT_NAME) != 0) return false;
  snprintf(path, size, "/dev/%s", entry);
  return true;
}

static bool find_virtio_port(char *path, size_t size) {
  DIR *folder = opendir("/sys/class/virtio-ports");
  if (folder == NULL) return false;
  bool found = false;
  for (struct dirent *entry; !found && (entry = readdir(folder)) != NULL;) {
    if (entry->d_name[0] != '.') found = names_us(entry->d_name, path, size);
  }
  closedir(folder);
  return found;
}

int port_open(const char *path) {
  char found[300];
  if (path == NULL) {
    /* The device may be probed after its module was loaded. */
    while (!find_virtio_port(found, sizeof found)) {
      nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    /* What udev would do; only a convenience for people, so that a failure does not matter. */
    if (mkdir("/dev/virtio-ports", 0755) == 0 &&
        symlink(found, "/dev/virtio-ports/" AGENT_PORT_NAME) != 0) {
      perror("blixard-agent: symlink");
    }
    path = found;
  }
  return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

void port_use(int fd) {
  struct stat info;
  port = fd;
  port_is_device = fstat(fd, &info) == 0 && S_ISCHR(info.st_mode);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* A device's other end may come back; a socket's or a pipe's does not. */
static bool gone(void) {
  if (!port_is_device) return true;
  port_pause();
  return false;
}

bool port_receive(struct parser *parser) {
  for (;;) {
    uint8_t *at;
    size_t space = parser_space(parser, &at);
    if (space == 0) return true;
    ssize_t count = read(port, at, space);
    if (count > 0) {
      parser_added(parser, (size_t)count);
      if ((size_t)count < space) return true;
    } else if (count == 0) {
      return !gone();
    } else if (errno != EINTR) {
      return errno == EAGAIN || !gone();
    }
  }
}

bool port_send(void) {
  while (out_pending() > 0) {
    ssize_t count = write(port, out_bytes(), out_pending());
    if (count > 0) {
      out_sent((size_t)count);
    } else if (count == 0 || errno == EAGAIN) {
      return true;
    } else if (errno != EINTR) {
      return !gone();
    }
  }
  return true;
}

void port_poll(struct pollfd *pollfd, bool want_input) {
  pollfd->fd = port;
  pollfd->events = (short)((want_input ? POLLIN : 0) | (out_pending() > 0 ? POLLOUT : 0));
  pollfd->revents = 0;
}

void port_pause(void) { paused_until_ms = now_ms() + PORT_RETRY_MS; }

bool port_paused(uint64_t now) { return now < paused_until_ms; }
