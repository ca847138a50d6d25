/** What boots when Debian's own riscv64 kernel is tried on the embedded machine. */

import { utf8 } from "@blixard/std";
import type { PinnedPackage } from "../riscv64/recipe.ts";

/** Raised when the builder itself changes what it makes of the same packages. */
export const BUILDER_REVISION = 1;

/** Depends on the newest kernel of the suite. */
export const METAPACKAGE = "linux-image-riscv64";
export const KERNEL: PinnedPackage = {
  name: "linux-image-6.12.107+deb13-riscv64",
  version: "6.12.107-1",
  source: "linux (6.12.107-1)",
  sha256: "abe9f65d74b434692149482b031db7a2aaf832921e09f69f775293c0e0c5799c",
};

/** Of the kernel in that package. */
export const KERNEL_IMAGE_SHA256 =
  "8898c27a38f0bfcc3d9a4b0687ee752c4a2b3028576f919ba8955d2cbd6d4722";

/**
 * The disk, its transport and its file system; 8250, PLIC and virtio itself are built in. ext4 asks for its
 * checksum by name (a "softdep=", not a "depends=").
 */
export const MODULES = ["virtio_mmio", "virtio_blk", "crc32c_generic", "ext4"] as const;

/** No self-tests of ciphers, as in the x86_64 image: a third of the instructions to the shell were theirs. */
export const CMDLINE = "console=ttyS0 panic=-1 rdinit=/init cryptomgr.notests";
export const MEMORY_BYTES = 256 * 1024 * 1024;
export const DISK_BYTES = 16 * 1024 * 1024;

/** What the guest says, for the host to see how far it is. */
export const MARK = { init: "debian: init runs", prompt: "debian# " } as const;

/**
 * The shell is on the serial port, so that it has a terminal. From there on the kernel prints emergencies only:
 * answers come in one piece.
 */
const INIT = `#!/bin/sh
echo "${MARK.init}"
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root TERM=vt100 PS1='${MARK.prompt}'
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do
  insmod "$module" || echo "cannot load $module"
done < /etc/blixard/modules
dmesg -n 1
cd /root
exec setsid -c sh -i < /dev/ttyS0 > /dev/ttyS0 2>&1
`;

export const INIT_SCRIPT: Uint8Array = utf8(INIT);
