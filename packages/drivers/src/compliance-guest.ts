/** Compliance: what a driver says of a guest that is not well. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "@blixard/std";
import { fatal, until, type World } from "./compliance-world.ts";
import type { InstanceStatus } from "./types.ts";

/** `panic`: see ComplianceSetup. */
export function unwellGuests(get: () => Promise<World>, panic: () => Promise<string>): void {
  void test("a kernel that panics is a crash, with its last words and where to read more", async () => {
    const world = await get();
    const driver = world.driver();
    const spec = { ...world.spec(), memoryBytes: 96 * 1024 * 1024 };
    await world.run(driver, spec);
    await fatal(driver, spec.vmId, await panic());
    const { ended } = await world.phase(driver, spec.vmId, "stopped");
    assert.ok(ended?.kind === "crashed", JSON.stringify(ended));
    assert.match(ended.reason, /^the guest's kernel panicked: .+ \(see blixard vm logs vm-/);
    await driver.delete(spec.vmId);
  });

  void test("a guest that does not answer any more is told as unresponsive, until it does", async () => {
    const world = await get();
    // An answer may take its time on a busy computer.
    const health = { everyMs: 50, replyMs: 2000, unansweredMs: 1000 };
    const driver = world.driver({ health });
    const spec = world.spec();
    const running = await world.run(driver, spec);
    const machine = present(running.backendPid, "backend pid");
    const told: InstanceStatus[] = [];
    driver.subscribe((status) => told.push(status));
    const seen = async (unresponsive: boolean): Promise<void> => {
      await until(`unresponsive: ${unresponsive}`, world.setup.bootMs, async () => {
        const status = await driver.inspect(spec.vmId);
        assert.equal(status?.phase, "running", JSON.stringify(status));
        return (status.unresponsive === true) === unresponsive || undefined;
      });
    };
    process.kill(machine, "SIGSTOP");
    try {
      await seen(true);
    } finally {
      process.kill(machine, "SIGCONT");
    }
    await seen(false);
    const changes = told.map(({ unresponsive }) => unresponsive === true);
    assert.ok(changes.includes(true) && changes.at(-1) === false, changes.join(" "));
    await driver.kill(spec.vmId);
    assert.equal((await driver.inspect(spec.vmId))?.unresponsive, undefined);
  });
}
