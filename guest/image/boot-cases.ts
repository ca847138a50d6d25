/** What every image must do in a real machine, as tests. */

import { Prng } from "@blixard/std";
import assert from "node:assert/strict";
import { test } from "node:test";
import { AgentClient } from "../../packages/drivers/src/agent/index.ts";
import {
  collect,
  rejectsWith,
  request,
  until,
} from "../../packages/drivers/src/agent/testing/client-cases.ts";
import type { Guest } from "./qemu.ts";

export const BOOT_MS = 120_000;

export async function withGuest(
  boot: () => Promise<Guest>,
  body: (guest: Guest) => Promise<void>,
): Promise<void> {
  const guest = await boot();
  try {
    await body(guest);
  } finally {
    await guest.stop();
  }
}

/** Registers the tests. */
export function bootCases(image: string, boot: () => Promise<Guest>): void {
  void test(`${image}: a guest boots, works, survives a hang-up, and shuts down`, async () => {
    await withGuest(boot, async (guest) => {
      let exit: number | undefined;
      const first = new AgentClient({
        stream: await guest.connect(),
        random: new Prng(1),
        vm: "web-1",
        onWorkloadExit: (code) => {
          exit = code;
        },
      });
      const hello = await first.hello(BOOT_MS);
      assert.equal(hello.capabilities.pty, true);
      assert.equal(hello.workload, "none");

      const command = ["sh", "-c", "echo tick $BLIXARD_VM $BLIXARD_EPOCH; exit 3"];
      await first.startWorkload({ epoch: 7, hostname: "web-1", command, env: {} });
      await until("the workload's end", () => exit === 3);
      await until("its output on the console", () => guest.console().includes("tick web-1 7"));

      const uname = await collect(await first.exec(request(["uname", "-srn"])));
      assert.match(uname.stdout, /^Linux web-1 \d/);
      const script = "echo out; echo err >&2; cat /run/blixard/epoch; exit 5";
      const both = await collect(await first.exec(request(["sh", "-c", script])));
      assert.deepEqual(both, { stdout: "out\n7\n", stderr: "err\n", code: 5 });

      const ticks = request(["sh", "-c", "blixard-agent --tick 5 | head -n 3"]);
      assert.match((await collect(await first.exec(ticks))).stdout, /^(tick 7 \d+\n){3}$/);

      const pty = { rows: 30, cols: 90 };
      const terminal = await first.exec(request(["sh"], { pty }));
      await terminal.write(Buffer.from("stty size; echo $TERM; exit 4\n"));
      const screen = await collect(terminal);
      assert.match(screen.stdout, /30 90\r\nxterm\r\n/);
      assert.equal(screen.code, 4);

      const data = Buffer.alloc(1_000_000, "0123456789");
      await first.writeFile("/root/data", 0o600, data);
      assert.ok(Buffer.from(await first.readFile("/root/data")).equals(data));
      await rejectsWith(first.readFile("/root"), "InvalidArgument");

      const sleeper = await first.exec(request(["sleep", "1000"]));
      sleeper.signal(15);
      assert.equal((await collect(sleeper)).code, 143);
      await first.exec(request(["sleep", "4711"]));
      first.close();

      const second = new AgentClient({ stream: await guest.connect(), random: new Prng(2) });
      const again = await second.hello(BOOT_MS);
      assert.equal(again.bootId, hello.bootId);
      assert.equal(again.epoch, 7);
      assert.equal(again.workloadExit, 3);
      const left = await collect(await second.exec(request(["sh", "-c", "ps | grep [4]711"])));
      assert.equal(left.stdout, "", "the first session's process is gone");
      await second.setEpoch(8);
      const epoch = await collect(await second.exec(request(["cat", "/run/blixard/epoch"])));
      assert.equal(epoch.stdout, "8\n");
      assert.ok((await second.health(30_000)).memoryAvailableBytes > 100_000_000);
      await second.shutdown("poweroff");
      assert.equal(await guest.exited, 0);
    });
  });

  void test(`${image}: poweroff inside the guest ends it`, async () => {
    await withGuest(boot, async (guest) => {
      const client = new AgentClient({ stream: await guest.connect(), random: new Prng(1) });
      await client.hello(BOOT_MS);
      await client.exec(request(["poweroff"]));
      assert.equal(await guest.exited, 0);
    });
  });
}
