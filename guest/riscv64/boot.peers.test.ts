/**
 * The stored image in QEMU's likeness of the embedded machine.
 * Needs: apt install --no-install-recommends qemu-system-misc
 */

import { Prng } from "@blixard/std";
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { AgentClient } from "../../packages/drivers/src/agent/index.ts";
import { collect, request } from "../../packages/drivers/src/agent/testing/client-cases.ts";
import { BOOT_MS, bootCases, withGuest } from "../image/boot-cases.ts";
import { bootGuest, RISCV_VIRT, type Board, type BootFiles } from "../image/qemu.ts";
import { applets, STORE } from "./build.ts";
import { CMDLINE, MEMORY_BYTES_MIN } from "./recipe.ts";

let folder = "";
let files: BootFiles;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "blixard-riscv64-"));
  const kernel = join(folder, "Image");
  // QEMU unpacks kernels of other architectures, not this one's.
  await writeFile(kernel, gunzipSync(await readFile(join(STORE, "vmlinuz"))));
  files = { kernel, initrd: join(STORE, "initrd.img"), cmdline: CMDLINE };
});

after(async () => {
  await rm(folder, { recursive: true, force: true });
});

bootCases("riscv64", async () => await bootGuest(files, RISCV_VIRT));

async function inGuest(board: Board, script: string): Promise<string> {
  let stdout = "";
  await withGuest(
    async () => await bootGuest(files, board),
    async (guest) => {
      const client = new AgentClient({ stream: await guest.connect(), random: new Prng(1) });
      await client.hello(BOOT_MS);
      const done = await collect(await client.exec(request(["sh", "-ec", script])));
      assert.equal(done.code, 0, done.stderr);
      stdout = done.stdout;
      await client.shutdown("poweroff");
      assert.equal(await guest.exited, 0);
    },
  );
  return stdout;
}

test("the least memory that image.json names is enough", async () => {
  const board = { ...RISCV_VIRT, args: [...RISCV_VIRT.args, "-m", `${MEMORY_BYTES_MIN}B`] };
  const total = await inGuest(board, "awk '/MemTotal/ {print $2}' /proc/meminfo");
  assert.ok(Number(total) * 1024 < MEMORY_BYTES_MIN);
});

test("the links to busybox are those that it wants", async () => {
  // linuxrc is for the initial ram disks of the last century.
  const wanted = (await inGuest(RISCV_VIRT, "busybox --list-full")).trim().split("\n");
  assert.deepEqual(wanted.filter((path) => path !== "linuxrc").toSorted(), await applets());
});

test("disk, random numbers, clock and several harts work", async () => {
  const disk = join(folder, "disk");
  await writeFile(disk, Buffer.alloc(8 * 1024 * 1024));
  const more = ["-drive", `file=${disk},format=raw,id=d,if=none`, "-smp", "2"];
  const args = [...RISCV_VIRT.args, ...more, "-device", "virtio-blk-device,drive=d"];
  const script = [
    "mke2fs /dev/vda >/dev/null && mount -t ext4 /dev/vda /mnt",
    "echo kept > /mnt/file && umount /mnt && mount -t ext4 /dev/vda /mnt",
    "cat /mnt/file; umount /mnt; sync",
    "printf written | dd of=/dev/vda bs=512 seek=1000 conv=fsync 2>/dev/null",
    "head -c 16 /dev/hwrng | wc -c",
    "date +%Y; grep -c ^processor /proc/cpuinfo",
    "cat /sys/class/rtc/rtc0/name",
  ];
  const stdout = await inGuest({ ...RISCV_VIRT, args }, script.join("\n"));
  const [file, random, year, harts, clock] = stdout.trim().split("\n");
  assert.deepEqual([file, random, harts], ["kept", "16", "2"]);
  assert.ok(Number(year) >= 2025, stdout);
  assert.match(clock ?? "", /goldfish/);
  const written = (await readFile(disk)).subarray(512_000, 512_007);
  assert.equal(written.toString(), "written");
});

test("a panic says so on the console and ends the machine", async () => {
  const board = RISCV_VIRT;
  const guest = await bootGuest({ ...files, cmdline: `${CMDLINE} rdinit=/absent` }, board);
  const code = await guest.exited;
  assert.equal(code, 0, "reset, which -no-reboot turns into the end");
  assert.match(guest.console(), /Kernel panic - not syncing/);
  await assert.rejects(guest.stop(), /Kernel panic/);
});
