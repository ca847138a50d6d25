/** What is in the default image. Any change here gives the image another content hash. */

import { utf8 } from "@blixard/std";
import type { CpioEntry } from "./cpio.ts";
import type { KernelModule } from "./modules.ts";

export const IMAGE_NAME = "base";
/** Raised when the builder itself changes what it makes of the same inputs. */
export const BUILDER_REVISION = 1;

export const KERNEL_METAPACKAGE = "linux-image-cloud-amd64";
export const BUSYBOX_PACKAGE = "busybox-static";

/** The agent's port comes first: the rest can wait until somebody asks for it. */
export const MODULES = [
  "virtio_pci",
  "virtio_console",
  "virtio_rng",
  "virtio_blk",
  // Tells QEMU of a panic.
  "pvpanic_mmio",
] as const;

/**
 * console: the serial port that drivers keep a log of. The second line saves a quarter of the boot under
 * emulation: no self-tests of ciphers, and no calibration of clocks that the emulator keeps right.
 */
export const CMDLINE = [
  "console=ttyS0 quiet rdinit=/init",
  "cryptomgr.notests tsc=reliable no_timer_check",
].join(" ");

/** Measured: it boots with 96 MiB and not with 64 MiB. */
export const MEMORY_BYTES_MIN = 96 * 1024 * 1024;

export const LICENCES = {
  kernel: "GPL-2.0-only WITH Linux-syscall-note",
  busybox: "GPL-2.0-only",
  agent: "Apache-2.0 AND LGPL-2.1-or-later",
} as const;

const FILES: Readonly<Record<string, string>> = {
  "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
  "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
  "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
  "etc/hostname": "localhost\n",
  "etc/shells": "/bin/sh\n",
  "etc/os-release": 'NAME="Blixard base"\nID=blixard-base\nPRETTY_NAME="Blixard base image"\n',
};

const FOLDERS: Readonly<Record<string, number>> = {
  dev: 0o755,
  "etc/blixard": 0o755,
  mnt: 0o755,
  proc: 0o555,
  root: 0o700,
  run: 0o755,
  srv: 0o755,
  sys: 0o555,
  tmp: 0o1777,
  "var/log": 0o755,
  "var/tmp": 0o1777,
};

/** The agent's other name, for what it does when it is not pid 1: `blixard-agent --tick 20`. */
const AGENT_PATH = "usr/bin/blixard-agent";

export interface ImageParts {
  readonly agent: Uint8Array;
  readonly busybox: Uint8Array;
  /** Paths of busybox' applets, as "bin/ls". */
  readonly applets: readonly string[];
  readonly kernelVersion: string;
  readonly modules: readonly KernelModule[];
}

/** Everything in the initramfs. */
export function layOut(parts: ImageParts): CpioEntry[] {
  const moduleFolder = `lib/modules/${parts.kernelVersion}`;
  const paths = parts.modules.map((module) => `/${moduleFolder}/${module.file}\n`);
  const entries: CpioEntry[] = [
    { kind: "file", path: "init", mode: 0o755, data: parts.agent },
    { kind: "link", path: AGENT_PATH, target: "/init" },
    { kind: "file", path: "bin/busybox", mode: 0o755, data: parts.busybox },
    { kind: "file", path: "etc/blixard/modules", mode: 0o644, data: utf8(paths.join("")) },
    // The kernel opens it for pid 1 before anything is mounted.
    { kind: "charDevice", path: "dev/console", mode: 0o600, major: 5, minor: 1 },
  ];
  for (const [path, mode] of Object.entries(FOLDERS)) entries.push({ kind: "dir", path, mode });
  for (const [path, text] of Object.entries(FILES)) {
    entries.push({ kind: "file", path, mode: 0o644, data: utf8(text) });
  }
  for (const { file, data } of parts.modules) {
    entries.push({ kind: "file", path: `${moduleFolder}/${file}`, mode: 0o644, data });
  }
  for (const path of parts.applets) {
    if (path !== "bin/busybox") entries.push({ kind: "link", path, target: "/bin/busybox" });
  }
  return entries;
}
