/** What only a real machine can show: how guests end, and that they get what was asked for. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { fatal, refusedWith, shell, until, World } from "./compliance-world.ts";
import { probeQemu } from "./qemu/probe.ts";
import type { InstanceEnd, InstanceSpec, VmDriver } from "./types.ts";

let world: World;
let driver: VmDriver;
before(async () => {
  const { buildImage, imagesDir } = await import("../../../guest/image/build.ts");
  const images = imagesDir();
  const { name } = await buildImage({ cacheDir: images });
  world = await World.make({ driver: "qemu", images, image: name, bootMs: 120_000 });
  driver = world.driver();
});
after(async () => {
  await world.close();
});

/** Runs a command in a fresh guest that ends it, and gives that end. */
async function endAfter(script: string): Promise<InstanceEnd | undefined> {
  const spec = world.spec();
  await world.run(driver, spec);
  await fatal(driver, spec.vmId, script);
  return (await world.phase(driver, spec.vmId, "stopped")).ended;
}

test("the probe runs its guest on this host's QEMU", async () => {
  const found = await probeQemu("qemu-system-x86_64");
  assert.ok(found.available, JSON.stringify(found));
  assert.match(found.version, /^\d+\.\d+\.\d+$/);
});

test("a kernel panic is a crash", async () => {
  const ended = await endAfter("echo c > /proc/sysrq-trigger");
  assert.ok(ended?.kind === "crashed" && /panick/.test(ended.reason), JSON.stringify(ended));
});

test("a guest that powers itself off has shut down; one that resets has not", async () => {
  assert.deepEqual(await endAfter("echo o > /proc/sysrq-trigger"), { kind: "shutdown" });
  const ended = await endAfter("echo b > /proc/sysrq-trigger");
  assert.ok(ended?.kind === "crashed" && /reset/.test(ended.reason), JSON.stringify(ended));
});

test("processors, memory and disk are those of the specification, and the disk keeps", async () => {
  const diskBytes = 64 * 1024 * 1024;
  const spec: InstanceSpec = { ...world.spec(), vcpus: 2, diskBytes };
  await world.run(driver, spec);
  assert.equal((await shell(driver, spec.vmId, "grep -c ^processor /proc/cpuinfo")).trim(), "2");
  const probe = await driver.probe();
  if (probe.available && probe.accel === "tcg") {
    const path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    assert.equal(
      await shell(driver, spec.vmId, `cat ${path}`),
      "hpet\n",
      "the host's time as it is",
    );
  }
  const memory = await shell(driver, spec.vmId, "grep MemTotal /proc/meminfo");
  const kibibytes = Number(/(\d+)/.exec(memory)?.[1]);
  assert.ok(kibibytes > 150_000 && kibibytes <= spec.memoryBytes / 1024, memory);
  const sectors = await until("the disk", 60_000, async () => {
    const text = await shell(driver, spec.vmId, "cat /sys/block/vda/size || echo none");
    return text.startsWith("none") ? undefined : text.trim();
  });
  assert.equal(Number(sectors) * 512, diskBytes);
  await shell(driver, spec.vmId, "echo kept | dd of=/dev/vda conv=fsync 2>/dev/null");
  await driver.kill(spec.vmId);
  await world.run(driver, spec, 2);
  const read = await shell(driver, spec.vmId, "dd if=/dev/vda bs=5 count=1 2>/dev/null");
  assert.equal(read.trim(), "kept");
  await driver.kill(spec.vmId);
});

test("a pseudo-terminal has the size asked for, follows resizes, and echoes", async () => {
  const spec = world.spec();
  await world.run(driver, spec);
  const script = "stty size; read line; stty size; echo got $line";
  const session = await driver.exec(spec.vmId, {
    argv: ["sh", "-c", script],
    env: {},
    pty: { rows: 24, cols: 80 },
  });
  let text = "";
  let code: number | undefined;
  let answered = false;
  for await (const event of session.events) {
    if (event.kind === "exit") code = event.code;
    else text += Buffer.from(event.data).toString("utf8");
    if (event.kind === "exit" || answered || !text.includes("24 80\r\n")) continue;
    answered = true;
    session.resize(30, 100);
    await session.write(Buffer.from("hello\n"));
  }
  assert.equal(text.replaceAll("\r", ""), "24 80\nhello\n30 100\ngot hello\n");
  assert.equal(code, 0);
  await driver.kill(spec.vmId);
});

test("an image that is not there is NotFound at start", async () => {
  const spec = { ...world.spec(), image: "absent" };
  await driver.create(spec);
  await assert.rejects(driver.start(spec.vmId, world.lease(1)), refusedWith("NotFound"));
});
