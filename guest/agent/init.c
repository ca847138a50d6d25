#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

static const struct {
  const char *type;
  const char *path;
  unsigned long flags;
  const char *options;
} MOUNTS[] = {
    {"proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, ""},
    {"sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, ""},
    {"devtmpfs", "/dev", MS_NOSUID, "mode=0755"},
    {"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666"},
    {"tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777"},
    {"tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755"},
    {"tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777"},
};

static void mount_all(void) {
  for (size_t i = 0; i < sizeof MOUNTS / sizeof MOUNTS[0]; i++) {
    if (mkdir(MOUNTS[i].path, 0755) != 0 && errno != EEXIST) perror(MOUNTS[i].path);
    if (mount(MOUNTS[i].type, MOUNTS[i].path, MOUNTS[i].type, MOUNTS[i].flags,
              MOUNTS[i].options) != 0 &&
        errno != EBUSY) {
      perror(MOUNTS[i].path);
    }
  }
}

/* 0, 1 and 2 become the console of the devtmpfs, whatever the kernel opened before it. */
static void use_console(void) {
  int fd = open("/dev/console", O_RDWR | O_NOCTTY);
  if (fd < 0) return;
  for (int i = 0; i < 3; i++) {
    if (fd != i && dup2(fd, i) < 0) perror("/dev/console");
  }
  if (fd > 2) close(fd);
}

static void load_module(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    perror(path);
    return;
  }
  if (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST) perror(path);
  close(fd);
}

/* One path a line, in an order in which each finds what it depends on. */
static void load_modules(void) {
  char line[512];
  FILE *file = fopen("/etc/blixard/modules", "re");
  if (file == NULL) return;
  while (fgets(line, sizeof line, file) != NULL) {
    line[strcspn(line, "\n")] = 0;
    if (line[0] == '/') load_module(line);
  }
  fclose(file);
}

static void raise_loopback(void) {
  struct ifreq request = {.ifr_flags = IFF_UP | IFF_RUNNING};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  memcpy(request.ifr_name, "lo", 3);
  if (ioctl(fd, SIOCSIFFLAGS, &request) != 0) perror("lo");
  close(fd);
}

void init_boot(void) {
  mount_all();
  use_console();
  load_modules();
  raise_loopback();
}

/* True once no child is left. */
static bool reap_until(uint64_t deadline_ms) {
  for (;;) {
    pid_t pid = waitpid(-1, NULL, WNOHANG);
    if (pid < 0 && errno == ECHILD) return true;
    if (now_ms() >= deadline_ms) return false;
    if (pid == 0) nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
  }
}

_Noreturn void init_shutdown(bool reboot_after) {
  if (!agent.init) {
    streams_drop_all();
    if (agent.workload == WORKLOAD_RUNNING) kill(-agent.workload_pid, SIGKILL);
    _exit(0);
  }
  /* A stopped process would never see the SIGTERM. */
  kill(-1, SIGTERM);
  kill(-1, SIGCONT);
  if (!reap_until(now_ms() + SHUTDOWN_GRACE_MS)) {
    kill(-1, SIGKILL);
    reap_until(now_ms() + SHUTDOWN_GRACE_MS);
  }
  sync();
  reboot(reboot_after ? RB_AUTOBOOT : RB_POWER_OFF);
  /* The kernel cannot; the end of pid 1 at least stops it. */
  perror("blixard-agent: reboot");
  _exit(1);
}
