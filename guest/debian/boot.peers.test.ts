/**
 * Debian's own riscv64 kernel on the embedded machine, through the command that shows it.
 * Needs Debian or Ubuntu with: apt install xz-utils   (and downloads 110 MB once)
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { sha256 } from "../image/description.ts";
import { imagesDir } from "../image/build.ts";
import { GuestConsole } from "./boot.ts";
import { buildDebian } from "./build.ts";
import { KERNEL, KERNEL_IMAGE_SHA256, MARK, MEMORY_BYTES, MODULES } from "./recipe.ts";

const TOOL = fileURLToPath(new URL("../../tools/boot-debian.ts", import.meta.url));
const TIMEOUT_MS = 200_000;
let folder = "";

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "blixard-debian-"));
});

after(async () => {
  await rm(folder, { recursive: true, force: true });
});

interface Output {
  readonly ok: boolean;
  readonly ran: number;
  readonly skipped: number;
  readonly instructions: number;
  readonly msToInit: number;
  readonly msToShell: number;
  readonly mips: number;
  readonly kernel: { readonly package: string; readonly pinned: boolean };
  readonly checks: readonly string[];
  readonly error: { readonly code: string };
  readonly console: string;
}

function boot(...args: string[]): { code: number | null; output: Output } {
  const argv = ["--conditions=source", TOOL, "--json", ...args];
  const done = spawnSync(process.execPath, argv, { encoding: "utf8", timeout: 2 * TIMEOUT_MS });
  assert.notEqual(done.stdout, "", done.stderr);
  // Safe: what the tool prints, whose fields are asserted.
  return { code: done.status, output: JSON.parse(done.stdout) as Output };
}

test("Debian's kernel boots to a shell that answers and uses its disk", () => {
  const { code, output } = boot("--timeout", String(TIMEOUT_MS / 1000));
  assert.equal(code, 0, JSON.stringify(output));
  assert.equal(output.ok, true);
  assert.deepEqual([output.ran, output.skipped, output.checks.length], [9, 0, 9]);
  assert.ok(0 < output.msToInit && output.msToInit < output.msToShell);
  // Fewer would be another kernel, or none.
  assert.ok(output.instructions > 500_000_000 && output.mips > 0);
  if (output.kernel.pinned) assert.equal(output.kernel.package, KERNEL.name);
});

test("what is booted is the package's file, and every module comes after what it needs", async () => {
  const kernel = await buildDebian({ cacheDir: imagesDir() });
  const image = await readFile(kernel.image);
  // Documentation/riscv/boot-image-header.rst: magic2 at byte 56.
  assert.equal(image.subarray(56, 60).toString("latin1"), "RSC\x05");
  if (kernel.pinned) assert.equal(sha256(image), KERNEL_IMAGE_SHA256);
  for (const name of MODULES) assert.ok(kernel.modules.includes(name), name);
  const [jbd2, ext4] = [kernel.modules.indexOf("jbd2"), kernel.modules.indexOf("ext4")];
  assert.ok(0 <= jbd2 && jbd2 < ext4);
});

test("a guest that is late fails, with what its console has", () => {
  const { code, output } = boot("--timeout", "0.5");
  assert.deepEqual([code, output.ok, output.error.code], [7, false, "TimedOut"]);
  assert.equal(typeof output.console, "string");
  const wrong = boot("--timeout", "never");
  assert.deepEqual([wrong.code, wrong.output.error.code], [2, "InvalidArgument"]);
});

test("a panic is the guest's end, and is told as such", async () => {
  const kernel = await buildDebian({ cacheDir: imagesDir() });
  const disk = join(folder, "disk");
  await writeFile(disk, new Uint8Array(1024 * 1024));
  await using guest = await GuestConsole.start({
    kernel: kernel.image,
    initrd: kernel.initrd,
    cmdline: "console=ttyS0 panic=-1 cryptomgr.notests rdinit=/absent root=/dev/absent",
    memoryBytes: MEMORY_BYTES,
    disk,
    timeoutMs: TIMEOUT_MS,
  });
  const waiting = guest.waitFor("init", new RegExp(MARK.init));
  await assert.rejects(waiting, /ended before init: the guest's kernel panicked: VFS: Unable to/);
  assert.match(guest.tail(), /Kernel panic - not syncing: VFS/);
});

test("a machine that breaks is a failure that is told, not the silent end of the process", async () => {
  const { image, initrd } = await buildDebian({ cacheDir: imagesDir() });
  const disk = join(folder, "other-disk");
  await writeFile(disk, new Uint8Array(1024 * 1024));
  const options = { kernel: image, initrd, disk, cmdline: "console=ttyS0", timeoutMs: TIMEOUT_MS };
  const script = `
    import { GuestConsole } from ${JSON.stringify(new URL("boot.ts", import.meta.url).href)};
    const onOutput = () => { throw new Error("torn"); };
    const options = ${JSON.stringify({ ...options, memoryBytes: MEMORY_BYTES })};
    await using guest = await GuestConsole.start({ ...options, onOutput });
    await guest.waitFor("nothing", /nothing at all/).catch(({ message }) => console.log(message));
  `;
  // A process of its own: the test runner watches over exceptions that nobody caught.
  const argv = ["--conditions=source", "--input-type=module", "--eval", script];
  const done = spawnSync(process.execPath, argv, { encoding: "utf8", timeout: TIMEOUT_MS });
  assert.equal(done.status, 0, done.stderr);
  assert.match(done.stdout, /ended before nothing: the machine broke: Error: torn/);
});
