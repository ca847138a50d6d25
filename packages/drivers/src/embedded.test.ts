/** What only a real guest under the embedded machine shows: how it ends, and that it gets what was asked for. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { hostClock } from "@blixard/host";
import { present } from "@blixard/std";
import { fatal, goneOf, refusedWith, shell, until, World } from "./compliance-world.ts";
import type { Backend } from "./driver/backend.ts";
import { SupervisedDriver } from "./driver/driver.ts";
import { EmbeddedBackend } from "./driver/embedded.ts";
import { GuestImageStore } from "./image/guest-store.ts";
import { spinner } from "./machine/testing/kernels.ts";
import type { EmbeddedMachineConfig } from "./machine/types.ts";
import { LIMITS } from "./limits.ts";
import type { InstanceEnd, InstanceSpec, VmDriver } from "./types.ts";

const MEBIBYTE = 1024 * 1024;

let world: World;
let driver: VmDriver;
let images = "";
before(async () => {
  images = await mkdtemp(join(tmpdir(), "blx-embedded-"));
  world = await World.make({ driver: "embedded", images, image: "base", bootMs: 60_000 });
  driver = world.driver();
});
after(async () => {
  await world.close();
  await rm(images, { recursive: true, force: true });
});

/** Runs a command in a fresh guest that ends it, and gives that end. */
async function endAfter(script: string): Promise<InstanceEnd | undefined> {
  const spec = world.spec();
  await world.run(driver, spec);
  await fatal(driver, spec.vmId, script);
  return (await world.phase(driver, spec.vmId, "stopped")).ended;
}

/** The driver with something changed about its machines. */
function changed(change: (config: EmbeddedMachineConfig) => object): SupervisedDriver {
  const real = new EmbeddedBackend();
  const backend: Backend = {
    name: "embedded",
    bounds: real.bounds,
    probe: () => real.probe(),
    prepare: (spec, folder) => real.prepare(spec, folder),
    machine: async (spec, folder) => {
      const config = await real.machine(spec, folder);
      assert.ok(config.kind === "embedded");
      return { ...config, ...change(config) };
    },
  };
  return new SupervisedDriver(backend, { dataDir: world.dataDir });
}

async function consoleText(vmId: InstanceSpec["vmId"]): Promise<string> {
  const signal = new AbortController().signal;
  let text = "";
  for await (const data of driver.console(vmId, { offset: 0, follow: false, signal })) {
    text += Buffer.from(data).toString("latin1");
  }
  return text;
}

test("the probe runs a guest in WebAssembly", async () => {
  const probe = await driver.probe();
  assert.ok(probe.available, JSON.stringify(probe));
  assert.equal(probe.accel, "wasm");
});

test("a guest that powers itself off has shut down; one that resets has not", async () => {
  assert.deepEqual(await endAfter("poweroff -f"), { kind: "shutdown" });
  const ended = await endAfter("reboot -f");
  assert.ok(ended?.kind === "crashed" && /reset itself/.test(ended.reason), JSON.stringify(ended));
});

test("a kernel that panics is a crash with its last words, which the console shows", async () => {
  const spec = world.spec();
  const broken = changed(({ cmdline }) => ({ cmdline: `${cmdline} rdinit=/absent` }));
  await broken.create(spec);
  await broken.start(spec.vmId, world.lease(1));
  const { ended } = await world.phase(broken, spec.vmId, "stopped");
  assert.ok(ended?.kind === "crashed", JSON.stringify(ended));
  assert.match(ended.reason, /kernel panicked: .*(init|root)/);
  assert.match(await consoleText(spec.vmId), /Kernel panic - not syncing/);
  await broken.close();
});

test("what cannot be booted is DriverFailed at start, with the reason", async () => {
  const kernel = join(world.dataDir, "no-kernel");
  await writeFile(kernel, "this is no kernel");
  for (const [change, reason] of [
    [{ kernel }, /no riscv64 Image/],
    [{ kernel: `${kernel}-absent` }, /no kernel/],
    [{ disk: `${kernel}-disk` }, /no disk/],
    [{ cmdline: "x".repeat(2000) }, /2000 bytes/],
  ] as const) {
    const spec = world.spec();
    const broken = changed(() => change);
    await broken.create(spec);
    await assert.rejects(broken.start(spec.vmId, world.lease(1)), (error) => {
      assert.match(String(error), reason);
      return refusedWith("DriverFailed")(error);
    });
    await broken.close();
  }
});

test("a machine uses no more than its share of a core, and says that it was held back", async () => {
  const kernel = join(world.dataDir, "spinner");
  await writeFile(kernel, spinner());
  const limited = changed(() => ({ kernel, cpuMillicores: 200 }));
  const spec = world.spec();
  await limited.create(spec);
  await limited.start(spec.vmId, world.lease(1));
  const measure = async () => {
    const { execution, process: usage } = await limited.stats(spec.vmId);
    const { instructions, time } = present(execution, "instructions are counted");
    const { cpuSeconds } = present(usage, "the host's count");
    return { cpuSeconds, instructions, ...time };
  };
  // V8 has compiled what it will by then.
  const first = await until("a warm machine", 60_000, async () => {
    const now = await measure();
    return now.instructions > 20_000_000 ? now : undefined;
  });
  const last = await until("a second, some of it used", 60_000, async () => {
    const now = await measure();
    const later = now.totalMs > first.totalMs + 1000;
    return later && now.instructions > first.instructions ? now : undefined;
  });
  const wallSeconds = (last.totalMs - first.totalMs) / 1000;
  const used = last.cpuSeconds - first.cpuSeconds;
  // The host counts in hundredths of a second, and a slice is finished once begun.
  assert.ok(used <= 0.2 * wallSeconds + 0.1, `${used} s of ${wallSeconds} s`);
  assert.ok(last.throttledMs > 0);
  await limited.kill(spec.vmId);
  await limited.close();
});

test("what the machine does not have is refused by field, and other images by name", async () => {
  for (const wrong of [
    { vcpus: 2 },
    { memoryBytes: 1793 * MEBIBYTE },
    { diskBytes: 1000 },
  ] as const) {
    const spec = { ...world.spec(), ...wrong };
    await assert.rejects(driver.create(spec), refusedWith("InvalidArgument"));
    assert.equal(await driver.inspect(spec.vmId), undefined);
  }
  const spec = { ...world.spec(), image: "absent" };
  await driver.create(spec);
  await assert.rejects(driver.start(spec.vmId, world.lease(1)), refusedWith("NotFound"));
});

/** The stored image under another name, with a disk of its own. */
async function imageWithDisk(name: string, disk: Uint8Array): Promise<string> {
  const base = await new GuestImageStore().resolve("base");
  const dir = join(images, name);
  await mkdir(dir);
  // Safe: the package's own description, whose shape its store has checked.
  const description = JSON.parse(await readFile(join(base.dir, "image.json"), "utf8")) as {
    files: Record<string, string>;
  };
  for (const file of ["vmlinuz", "initrd.img"])
    await copyFile(join(base.dir, file), join(dir, file));
  await writeFile(join(dir, "disk.img"), disk);
  description.files["disk.img"] = createHash("sha256").update(disk).digest("hex");
  await writeFile(join(dir, "image.json"), JSON.stringify({ ...description, version: 2 }));
  return join(dir, "disk.img");
}

test("memory and disks are those of the specification, and the disks keep over a kill", async () => {
  const diskBytes = 64 * MEBIBYTE;
  const original = Buffer.alloc(4 * MEBIBYTE, "image");
  const base = await imageWithDisk("with-disk", original);
  const memoryBytes = 128 * MEBIBYTE;
  const spec: InstanceSpec = { ...world.spec(), image: "with-disk", memoryBytes, diskBytes };
  await world.run(driver, spec);
  const memory = await shell(driver, spec.vmId, "grep MemTotal /proc/meminfo");
  const kibibytes = Number(/(\d+)/.exec(memory)?.[1]);
  assert.ok(kibibytes > 100_000 && kibibytes <= spec.memoryBytes / 1024, memory);
  const sectors = await shell(driver, spec.vmId, "cat /sys/block/vda/size /sys/block/vdb/size");
  assert.deepEqual(sectors.trim().split("\n").map(Number), [8192, diskBytes / 512]);
  const script =
    "mke2fs /dev/vdb > /dev/null && mount -t ext4 /dev/vdb /mnt && echo kept > /mnt/file && " +
    "dd if=/dev/urandom of=/mnt/noise bs=1M count=4 2>/dev/null && md5sum < /mnt/noise && sync && " +
    "printf written | dd of=/dev/vda bs=1 seek=1000 conv=notrunc,fsync 2>/dev/null";
  const sum = await shell(driver, spec.vmId, script);
  await driver.kill(spec.vmId);
  assert.deepEqual(await readFile(base), original);
  await world.run(driver, spec, 2);
  const again =
    "mount -t ext4 /dev/vdb /mnt && md5sum < /mnt/noise && cat /mnt/file && " +
    "dd if=/dev/vda bs=1 skip=995 count=17 2>/dev/null";
  assert.equal(await shell(driver, spec.vmId, again), `${sum}kept\nimagewrittenageim`);
  const fill =
    "mkdir /fill && mount -t tmpfs -o size=100% fill /fill && while read name kib unit; do " +
    "if [ $name = MemAvailable: ]; then room=$((kib / 1024 - 10)); fi; done < /proc/meminfo && " +
    "dd if=/dev/zero of=/fill/all bs=1M count=$room 2>/dev/null";
  await shell(driver, spec.vmId, fill);
  const { process: usage, counters } = await driver.stats(spec.vmId);
  const touched = counters["memory"]?.["touchedBytes"] ?? 0;
  assert.ok(touched > 0.85 * spec.memoryBytes && touched <= spec.memoryBytes, String(touched));
  const resident = present(usage, "the host's count").residentBytes;
  assert.ok(resident >= touched && resident <= spec.memoryBytes + LIMITS.embeddedOverheadBytes);
  assert.equal(counters["memory"]?.["ramBytes"], spec.memoryBytes);
  assert.ok((counters["disk1"]?.["readBytes"] ?? 0) >= 4 * MEBIBYTE);
  await driver.kill(spec.vmId);
});

test("the guest has the host's time, and terminals of the size asked for", async () => {
  const spec = world.spec();
  await world.run(driver, spec);
  const seconds = Number(await shell(driver, spec.vmId, "date +%s"));
  assert.ok(Math.abs(seconds - Date.now() / 1000) < 60, String(seconds));
  const script = "stty size; read line; stty size; echo got $line";
  const pty = { rows: 24, cols: 80 };
  const session = await driver.exec(spec.vmId, { argv: ["sh", "-c", script], env: {}, pty });
  let text = "";
  let answered = false;
  for await (const event of session.events) {
    if (event.kind !== "exit") text += Buffer.from(event.data).toString("utf8");
    if (event.kind === "exit" || answered || !text.includes("24 80\r\n")) continue;
    answered = true;
    session.resize(30, 100);
    await session.write(Buffer.from("hello\n"));
  }
  assert.equal(text.replaceAll("\r", ""), "24 80\nhello\n30 100\ngot hello\n");
  await driver.kill(spec.vmId);
});

test("the machine ends itself at its deadline while its supervisor is stopped", async () => {
  const spec = world.spec();
  const { status: running, lease } = await world.runBriefly(driver, spec);
  const supervisor = present(running.supervisorPid, "supervisor pid");
  process.kill(supervisor, "SIGSTOP");
  try {
    await goneOf(present(running.backendPid, "backend pid"));
    assert.ok(hostClock.monotonicMs() >= lease.deadlineMonotonicMs);
  } finally {
    process.kill(supervisor, "SIGCONT");
  }
  const { ended } = await world.phase(driver, spec.vmId, "stopped");
  assert.deepEqual(ended, { kind: "leaseExpired" });
});

test("the stored image is the one that is booted", async () => {
  const config = await new EmbeddedBackend().machine(world.spec(), world.dataDir);
  const image = await new GuestImageStore().resolve("base");
  assert.ok(config.kind === "embedded");
  assert.equal(config.kernel, image.kernel);
  assert.ok(config.cmdline.startsWith(image.cmdline));
});
