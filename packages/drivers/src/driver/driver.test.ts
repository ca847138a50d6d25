/** Faults around the supervised driver that need no guest; what a driver does: the compliance suite. */

import assert from "node:assert/strict";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { present } from "@blixard/std";
import { goneOf, refusedWith, shell, World } from "../compliance-world.ts";
import { loadState, STATE_FILE } from "../state.ts";
import type { Backend } from "./backend.ts";
import { SupervisedDriver } from "./driver.ts";
import { fakeBackend } from "./fake.ts";

let world: World;
before(async () => {
  world = await World.make({ driver: "fake", images: "", image: "none", bootMs: 60_000 });
});
after(async () => {
  await world.close();
});

test("a machine that cannot start is DriverFailed, leaves nothing, and can be tried again", async () => {
  const broken: Backend = {
    ...fakeBackend,
    machine: () =>
      Promise.resolve({
        kind: "qemu",
        binary: "/bin/false",
        accel: "tcg",
        sandbox: false,
        kernel: "k",
        initrd: "i",
        cmdline: "",
        vcpus: 1,
        memoryBytes: 1,
      }),
  };
  const spec = world.spec();
  const driver = new SupervisedDriver(broken, { dataDir: world.dataDir });
  await driver.create(spec);
  await assert.rejects(driver.start(spec.vmId, world.lease(1)), refusedWith("DriverFailed"));
  assert.equal((await driver.inspect(spec.vmId))?.phase, "created");
  await driver.close();
  const working = world.driver();
  await working.start(spec.vmId, world.lease(1));
  await world.phase(working, spec.vmId, "running");
  await working.kill(spec.vmId);
});

test("adoption: dead runs are ended, broken folders left alone, half-deleted ones removed", async () => {
  const driver = world.driver();
  const dead = world.spec();
  const status = await world.run(driver, dead);
  await driver.close();
  process.kill(present(status.supervisorPid, "supervisor pid"), "SIGKILL");
  await goneOf(present(status.supervisorPid, "supervisor pid"));

  const corrupt = world.spec();
  await mkdir(world.folder(corrupt.vmId));
  await writeFile(join(world.folder(corrupt.vmId), STATE_FILE), "{");
  const instances = join(world.dataDir, "instances");
  await mkdir(join(instances, ".deleted-0123456789abcdef-1"));

  const log: string[] = [];
  const next = new SupervisedDriver(fakeBackend, {
    dataDir: world.dataDir,
    log: (line) => log.push(line),
  });
  const found = (await next.readopt()).find(({ vmId }) => vmId === dead.vmId);
  assert.deepEqual(found?.ended, { kind: "crashed", reason: "its supervisor died" });
  await goneOf(present(status.backendPid, "backend pid"));
  assert.ok(log.some((line) => line.includes(corrupt.vmId) && line.includes(STATE_FILE)));
  await assert.rejects(next.inspect(corrupt.vmId), refusedWith("Corrupt"));
  assert.ok(!(await readdir(instances)).some((name) => name.startsWith(".deleted-")));
  await writeFile(join(world.folder(corrupt.vmId), STATE_FILE), await readFile(stateOf(dead.vmId)));
  await next.close();
});

function stateOf(vmId: Parameters<World["folder"]>[0]): string {
  return join(world.folder(vmId), STATE_FILE);
}

test("a data folder too deep for a socket puts it under the temporary folder", async () => {
  const dataDir = join(world.dataDir, "d".repeat(120));
  const driver = new SupervisedDriver(fakeBackend, { dataDir });
  const spec = world.spec();
  try {
    await world.run(driver, spec);
    const state = present(await loadState(join(dataDir, "instances", spec.vmId)), "state");
    assert.match(state.socket ?? "", /blx-[0-9a-f]{16}\.sock$/);
    assert.equal((await shell(driver, spec.vmId, "echo deep")).trim(), "deep");
  } finally {
    await driver.kill(spec.vmId);
    await driver.delete(spec.vmId);
    await driver.close();
  }
});

test("specifications that cannot run are refused by field", async () => {
  const driver = world.driver();
  const spec = world.spec();
  for (const wrong of [
    { ...spec, vcpus: 256 },
    { ...spec, vcpus: 1.5 },
    { ...spec, memoryBytes: 1024 },
    { ...spec, diskBytes: -1 },
  ]) {
    await assert.rejects(driver.create(wrong), refusedWith("InvalidArgument"));
  }
  assert.equal(await driver.inspect(spec.vmId), undefined);
});
