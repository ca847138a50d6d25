import { BlixardError } from "@blixard/std";
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { test } from "node:test";
import { withLock } from "./lock.ts";

async function inFolder(body: (lock: string, folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "blixard-lock-"));
  try {
    await body(join(folder, "lock"), folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const options = { timeoutMs: 10_000, onWait: () => undefined };

test("one at a time, and nothing stays behind", async () => {
  await inFolder(async (lock, folder) => {
    let inside = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      inside += 1;
      most = Math.max(most, inside);
      for (let i = 0; i < 20; i++) await setImmediate();
      inside -= 1;
    };
    await Promise.all([1, 2, 3].map(() => withLock(lock, options, work)));
    assert.equal(most, 1);
    await assert.rejects(withLock(lock, options, () => Promise.reject(new Error("broken"))));
    assert.deepEqual(await readdir(folder), []);
  });
});

test("a lock whose holder died does not hold", async () => {
  await inFolder(async (lock) => {
    const { pid } = spawnSync(process.execPath, ["-e", "0"]);
    await writeFile(lock, `${pid}\n`);
    assert.equal(await withLock(lock, options, () => Promise.resolve("in")), "in");
  });
});

test("waiting is reported and ends", async () => {
  await inFolder(async (lock) => {
    await writeFile(lock, `${process.pid}\n`);
    const holders: number[] = [];
    const waiting = withLock(lock, { timeoutMs: 0, onWait: (pid) => holders.push(pid) }, () =>
      Promise.resolve(),
    );
    await assert.rejects(waiting, (error) => {
      assert.ok(error instanceof BlixardError);
      assert.equal(error.code, "TimedOut");
      return true;
    });
    assert.deepEqual(holders, [process.pid]);
  });
});
