/** The programs whose speed is compared: built here, put into the stored image, run in one guest a side. */

import { assert, fail, utf8 } from "@blixard/std";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { writeCpio, type CpioEntry } from "../../guest/image/cpio.ts";
import { run } from "../../guest/image/run.ts";

export const STORE = new URL("../../packages/guest-riscv64/image/", import.meta.url).pathname;
const SOURCES = new URL("./kernels/", import.meta.url).pathname;
const COMPILER = "riscv64-linux-gnu-gcc";
/** As most programs are compiled; fused multiply-add, which GCC makes of a * b + c, included. */
const FLAGS = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-static", "-s"];
const CPIO_ALIGNMENT = 4;

/** `repetitions` take QEMU 7.2 about a second on a machine of 2024. */
export const KERNELS = [
  { name: "sieve", group: "hot_int", repetitions: 2500 },
  { name: "sha256", group: "hot_int", repetitions: 300 },
  { name: "dhrystone", group: "hot_int", repetitions: 240 },
  { name: "coremark", group: "hot_int", repetitions: 2000 },
  { name: "memcpy", group: "hot_int", repetitions: 1000 },
  { name: "crc", group: "hot_int", repetitions: 2000 },
  { name: "qsort", group: "hot_int", repetitions: 250 },
  { name: "json", group: "hot_int", repetitions: 1500 },
  { name: "nbody", group: "hot_fp", repetitions: 400 },
  { name: "matmul", group: "hot_fp", repetitions: 800 },
  { name: "fft", group: "hot_fp", repetitions: 2000 },
  { name: "mandelbrot", group: "hot_fp", repetitions: 80 },
] as const;

export type Kernel = (typeof KERNELS)[number];

/** Typed lines are commands; the agent's image has the shell. */
const INIT = `#!/bin/busybox sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec < /dev/ttyS0 > /dev/ttyS0 2>&1
stty -echo
cd /root
echo "bench: ready"
while read -r line; do
  eval "$line"
  echo "bench: done $?"
done
poweroff -f
`;
export const CMDLINE = "console=ttyS0 quiet panic=-1 rdinit=/bench/init";

export interface BenchFiles {
  readonly kernel: string;
  readonly initrd: string;
}

/** Errors: Unavailable without the cross compiler; Internal when it refuses a source. */
export async function compile(folder: string, names: readonly string[]): Promise<CpioEntry[]> {
  return await Promise.all(
    names.map(async (name) => compileFile(folder, name, join(SOURCES, `${name}.c`))),
  );
}

/** The program as a file of the guest, below /bench. Errors: those of `compile`. */
export async function compileFile(
  folder: string,
  name: string,
  source: string,
): Promise<CpioEntry> {
  const out = join(folder, name);
  const done = await run(COMPILER, [...FLAGS, `-I${SOURCES}`, "-o", out, source, "-lm"]);
  if (!done.ok) explain(done.error.kind, name, done.error.stderr);
  return { kind: "file", path: `bench/${name}`, mode: 0o755, data: await readFile(out) };
}

function explain(kind: "missing" | "failed", name: string, stderr: string): never {
  if (kind === "missing") {
    const reason = `${COMPILER} is not installed`;
    const hint = "apt install gcc-riscv64-linux-gnu";
    fail("Unavailable", { reason }, `Cannot build the benchmarks: ${reason}`, hint);
  }
  const reason = stderr.slice(0, 2000);
  return fail("Internal", { reason }, `${COMPILER} refused ${name}.c:\n${reason}`);
}

/** The stored kernel, unpacked, and the stored initramfs with the programs behind it. */
export async function buildFiles(
  folder: string,
  more: readonly CpioEntry[],
  init: string = INIT,
): Promise<BenchFiles> {
  const kernel = join(folder, "Image");
  const initrd = join(folder, "initrd");
  await writeFile(kernel, gunzipSync(await readFile(join(STORE, "vmlinuz"))));
  const stored = gunzipSync(await readFile(join(STORE, "initrd.img")));
  assert(stored.length % CPIO_ALIGNMENT === 0, "an archive can follow another one");
  const entry = { kind: "file", path: "bench/init", mode: 0o755, data: utf8(init) } as const;
  await writeFile(initrd, Buffer.concat([stored, writeCpio([entry, ...more])]));
  return { kernel, initrd };
}
