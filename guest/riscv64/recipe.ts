/**
 * The riscv64 image: what it is made from, to the byte. Any change here, in the agent or in
 * guest_defconfig makes another image, which is then stored anew (README.md).
 */

import type { Toolchain } from "../image/compile.ts";
import { COMMON_FLAGS } from "../image/compile.ts";
import type { DebianPackage } from "../image/debian.ts";
import type { ForeignSuite } from "../image/foreign.ts";

/** Raised when the builder itself changes what it makes of the same inputs. */
export const BUILDER_REVISION = 1;
export const IMAGE_NAME = "base";
/** The image's folder: a package of its own, so that npm installs it. */
export const STORE_FOLDER = new URL("../../packages/guest-riscv64/image/", import.meta.url);

export const SUITE: ForeignSuite = { architecture: "riscv64", suite: "trixie" };

export type PinnedPackage = Omit<DebianPackage, "depends">;

/** From this machine's own suite, Debian 12; it holds the patched source as one archive. */
export const KERNEL: PinnedPackage = {
  name: "linux-source-6.1",
  version: "6.1.192-2",
  source: "linux (6.1.192-2)",
  sha256: "ae95fe63d4c553f8d0e6c86cb1ab566f3894a43743eb19ab585cd97d82f26514",
};
export const KERNEL_ARCHIVE = "usr/src/linux-source-6.1.tar.xz";

/**
 * From SUITE: Debian 12 has no riscv64. Linked with glibc, whose version it names as Built-Using.
 */
export const BUSYBOX: PinnedPackage = {
  name: "busybox-static",
  version: "1:1.37.0-6+b9",
  source: "busybox (1:1.37.0-6)",
  sha256: "4add476d2b185c5b487c285b38d790f0881a7e4a8e2ddde835f917e770eb8633",
};
export const BUSYBOX_LIBC = "glibc (2.41-12+deb13u4)";

/** From SUITE: the agent's C library; with it the agent has 75 KB, with glibc 500 KB. */
export const MUSL: PinnedPackage = {
  name: "musl-dev",
  version: "1.2.5-3.1~deb13u1",
  source: "musl (1.2.5-3.1~deb13u1)",
  sha256: "1666931c146dd7fec5902c7ecfbf0c8566528362c922a1cfa4ed91c6d3bc97ce",
};

/** Other versions of these compile too, but not to the same bytes. */
export const TOOLCHAIN = [
  { package: "gcc-12-riscv64-linux-gnu", version: "12.2.0-13cross1" },
  { package: "binutils-riscv64-linux-gnu", version: "2.40-2" },
] as const;
export const COMPILER = "riscv64-linux-gnu-gcc";
export const COMPILER_PACKAGES = "gcc-riscv64-linux-gnu";
/** What `make` needs besides the compiler. */
export const KERNEL_TOOLS = [
  { program: "make", package: "make" },
  { program: "gcc", package: "gcc libc6-dev" },
  { program: "bison", package: "bison" },
  { program: "flex", package: "flex" },
  { program: "bc", package: "bc" },
  { program: "xz", package: "xz-utils" },
  { program: COMPILER, package: COMPILER_PACKAGES },
] as const;

/** All that Kbuild would otherwise take from the machine or the clock. */
export const KERNEL_ENV: Readonly<Record<string, string>> = {
  ARCH: "riscv",
  CROSS_COMPILE: "riscv64-linux-gnu-",
  KBUILD_BUILD_TIMESTAMP: "2025-01-01 00:00:00 UTC",
  KBUILD_BUILD_USER: "blixard",
  KBUILD_BUILD_HOST: "guest",
  KBUILD_BUILD_VERSION: "1",
  SOURCE_DATE_EPOCH: "1735689600",
  LC_ALL: "C",
  TZ: "UTC",
  // Whatever the caller's shell has set.
  KCFLAGS: "",
  KCPPFLAGS: "",
  KAFLAGS: "",
  MAKEFLAGS: "",
};

const AGENT_FLAGS = [
  COMMON_FLAGS,
  ["-Os", "-ffunction-sections", "-fdata-sections", "-static", "-nostdlib", "-s"],
  ["-Wl,--gc-sections,--build-id=none"],
].flat();

/**
 * The agent's compiler with musl below `root`, where its package is unpacked. `compilerHeaders`:
 * gcc's own stddef.h and the like, as `gcc -print-file-name=include` says.
 */
export function agentToolchain(root: string, compilerHeaders: string): Toolchain {
  const lib = `${root}/usr/lib/riscv64-linux-musl`;
  const headers = [`${root}/usr/include/riscv64-linux-musl`, compilerHeaders];
  return {
    compiler: COMPILER,
    packages: COMPILER_PACKAGES,
    flags: [...AGENT_FLAGS, "-nostdinc", ...headers.flatMap((path) => ["-isystem", path])],
    before: [`${lib}/crt1.o`, `${lib}/crti.o`],
    after: [`-L${lib}`, "-Wl,--start-group", "-lc", "-lgcc", "-Wl,--end-group", `${lib}/crtn.o`],
  };
}

/** ttyS0: the 16550 that drivers keep a log of. */
export const CMDLINE = "console=ttyS0 quiet rdinit=/init";
/** boot.peers.test.ts boots with it. */
export const MEMORY_BYTES_MIN = 64 * 1024 * 1024;
/** Of the image's files together: what npm has to fetch. */
export const STORED_BYTES_MAX = 6 * 1024 * 1024;

export const LICENCES = {
  kernel: "GPL-2.0-only WITH Linux-syscall-note",
  busybox: "GPL-2.0-only AND LGPL-2.1-or-later",
  musl: "MIT",
  agent: "Apache-2.0 AND MIT",
} as const;

/** A file of a Debian source package, as its .dsc names it. */
export interface SourceFile {
  readonly name: string;
  readonly sha256: string;
}

/** Complete corresponding source of what is taken as binaries; the kernel's is KERNEL itself. */
export const SOURCES: readonly {
  readonly source: string;
  readonly version: string;
  readonly files: readonly SourceFile[];
}[] = [
  {
    source: "busybox",
    version: "1:1.37.0-6",
    files: [
      {
        name: "busybox_1.37.0-6.dsc",
        sha256: "3ba2c096eef0c391f744f093edbe0df7b21ab118652487cc076818e92cb57e8e",
      },
      {
        name: "busybox_1.37.0.orig.tar.bz2",
        sha256: "3311dff32e746499f4df0d5df04d7eb396382d7e108bb9250e7b519b837043a4",
      },
      {
        name: "busybox_1.37.0-6.debian.tar.xz",
        sha256: "10b2cd64b41c26ae134e1cd6135b68575bbe79356c20985f35e32f32a1746c34",
      },
    ],
  },
  {
    source: "glibc",
    version: "2.41-12+deb13u4",
    files: [
      {
        name: "glibc_2.41-12+deb13u4.dsc",
        sha256: "0915324aa646bb99abfaa9aa6ecb734b30babd28454a3e51f3152912370fbd3e",
      },
      {
        name: "glibc_2.41.orig.tar.xz",
        sha256: "f24aa441021121a79266f0d75242706cab8843a47901fefe74527491807f1998",
      },
      {
        name: "glibc_2.41-12+deb13u4.debian.tar.xz",
        sha256: "dda4153511bfd543502d18e5bc9323110996fe9c531f14ae3fad6eb17f027c7d",
      },
    ],
  },
  {
    source: "musl",
    version: "1.2.5-3.1~deb13u1",
    files: [
      {
        name: "musl_1.2.5-3.1~deb13u1.dsc",
        sha256: "972970614ed9159b04343b7f85bdf16f565b4a903f05d97e57dc730c7b0b8066",
      },
      {
        name: "musl_1.2.5.orig.tar.gz",
        sha256: "a9a118bbe84d8764da0ea0d28b3ab3fae8477fc7e4085d90102b8596fc7c75e4",
      },
      {
        name: "musl_1.2.5-3.1~deb13u1.debian.tar.xz",
        sha256: "46fdfb271edc2f035d8d4063ff2e299734409693e781e69e4b77e0a9a495072e",
      },
    ],
  },
];
