/** What every VmDriver must do: the same cases for the fake one and for real ones. */

import assert from "node:assert/strict";
import { constants, getPriority } from "node:os";
import { after, before, describe, test } from "node:test";
import { hostClock } from "@blixard/host";
import { present } from "@blixard/std";
import { unwellGuests } from "./compliance-guest.ts";
import {
  all,
  collect,
  type ComplianceSetup,
  goneOf,
  refusedWith,
  shell,
  until,
  World,
} from "./compliance-world.ts";
import { type StampedLine, readStampedConsole } from "./console/reader.ts";
import { LIMITS } from "./limits.ts";
import type { InstanceStatus, VmDriver } from "./types.ts";

export type { ComplianceSetup } from "./compliance-world.ts";

/** Prints a line with its epoch twenty times a second until its output's reader is gone. */
const TICKER = [
  "sh",
  "-c",
  'n=0; while echo "tick $BLIXARD_EPOCH $n"; do n=$((n+1)); sleep 0.05; done',
];

/** A world for one case; cases run side by side and adopt only what is theirs. */
type Get = () => Promise<World>;

export function driverCompliance(
  name: string,
  concurrency: number,
  setup: () => Promise<ComplianceSetup>,
): void {
  void describe(`${name} driver`, { concurrency }, () => {
    const worlds: World[] = [];
    let ready: Promise<ComplianceSetup> | undefined;
    before(async () => {
      ready = setup();
      await ready;
    });
    after(async () => {
      for (const world of worlds) await world.close();
    });
    const get: Get = async () => {
      const world = await World.make(await present(ready, "the setup"));
      worlds.push(world);
      return world;
    };
    lifecycle(get);
    guestAccess(get);
    statistics(get);
    unwellGuests(get, async () => (await present(ready, "the setup")).panic);
    badCommands(get);
    consoleLog(get);
    adoption(get);
    leases(get);
    violence(get);
  });
}

async function stampedLines(world: World, vmId: InstanceStatus["vmId"]): Promise<StampedLine[]> {
  return await all(readStampedConsole(world.folder(vmId)));
}

function lifecycle(get: Get): void {
  void test("create is idempotent, and refuses another specification under the same id", async () => {
    const world = await get();
    const driver = world.driver();
    const spec = world.spec();
    assert.equal(await driver.inspect(spec.vmId), undefined);
    await driver.create(spec);
    await driver.create({ ...spec });
    const status = await driver.inspect(spec.vmId);
    assert.deepEqual(status, { vmId: spec.vmId, epoch: 0, phase: "created" });
    await assert.rejects(driver.create({ ...spec, vcpus: 2 }), refusedWith("Conflict"));
    await assert.rejects(driver.create({ ...spec, vcpus: 0 }), refusedWith("InvalidArgument"));
    await driver.delete(spec.vmId);
    assert.equal(await driver.inspect(spec.vmId), undefined);
    await driver.delete(spec.vmId);
  });

  void test("what was never created cannot be started or entered", async () => {
    const world = await get();
    const driver = world.driver();
    const { vmId } = world.spec();
    await assert.rejects(driver.start(vmId, world.lease(1)), refusedWith("NotFound"));
    await assert.rejects(driver.exec(vmId, { argv: ["true"], env: {} }), refusedWith("NotFound"));
    await driver.stop(vmId, { graceMs: 0 });
    await driver.kill(vmId);
  });

  void test("start, running, refused while running, graceful stop, start with a later epoch", async () => {
    const world = await get();
    const driver = world.driver();
    const spec = world.spec();
    const events: InstanceStatus[] = [];
    const unsubscribe = driver.subscribe((status) => events.push(status));
    const running = await world.run(driver, spec, 3);
    assert.equal(running.epoch, 3);
    const backend = present(running.backendPid, "backend pid");
    const least = Math.min(getPriority() + LIMITS.guestNice, constants.priority.PRIORITY_LOW);
    assert.ok(getPriority(backend) >= least, "guests yield to daemons");
    await assert.rejects(driver.start(spec.vmId, world.lease(4)), refusedWith("Conflict"));
    await assert.rejects(driver.delete(spec.vmId), refusedWith("Conflict"));
    await driver.stop(spec.vmId, { graceMs: 60_000 });
    await goneOf(backend);
    const stopped = present(await driver.inspect(spec.vmId), "status");
    assert.deepEqual(stopped.ended, { kind: "shutdown" });
    await until("the last event", world.setup.bootMs, () =>
      Promise.resolve(events.at(-1)?.phase === "stopped" || undefined),
    );
    const phases = events.map((event) => event.phase);
    assert.deepEqual([...new Set(phases)], ["starting", "running", "stopping", "stopped"]);
    unsubscribe();

    await assert.rejects(driver.start(spec.vmId, world.lease(2)), refusedWith("Conflict"));
    const again = await world.run(driver, spec, 4);
    assert.equal(again.epoch, 4);
    assert.equal(again.ended, undefined);
    await driver.kill(spec.vmId);
    const killed = present(await driver.inspect(spec.vmId), "status");
    assert.deepEqual(killed.ended, { kind: "killed" });
    await assert.rejects(
      driver.exec(spec.vmId, { argv: ["true"], env: {} }),
      refusedWith("NotRunning"),
    );
    await driver.delete(spec.vmId);
  });

  void test("of two daemons that start one VM at once, one is refused", async () => {
    const world = await get();
    const [first, second] = [world.driver(), world.driver()];
    const spec = world.spec();
    await first.create(spec);
    await second.create(spec);
    const results = await Promise.allSettled([
      first.start(spec.vmId, world.lease(1)),
      second.start(spec.vmId, world.lease(1)),
    ]);
    const refused = results.filter((result) => result.status === "rejected");
    assert.equal(refused.length, 1, JSON.stringify(results));
    refusedWith("Conflict")(refused[0]?.reason);
    const winner = results[0].status === "fulfilled" ? first : second;
    await world.phase(winner, spec.vmId, "running");
    await winner.kill(spec.vmId);
  });
}

function guestAccess(get: Get): void {
  void test("exec: output, exit codes, input, signals, large output under back-pressure", async () => {
    const world = await get();
    const driver = world.driver();
    const spec = world.spec();
    await world.run(driver, spec);
    const run = async (argv: string[], env = {}): ReturnType<typeof collect> =>
      await collect(await driver.exec(spec.vmId, { argv, env }));

    const script = 'echo "$GREETING"; echo err >&2; exit 7';
    const plain = await run(["sh", "-c", script], { GREETING: "good day" });
    assert.deepEqual(plain, { stdout: "good day\n", stderr: "err\n", code: 7 });
    await assert.rejects(run(["/no/such/program"]), refusedWith("NotFound"));
    await exchange(driver, spec.vmId);

    const sleeper = await driver.exec(spec.vmId, { argv: ["sleep", "60"], env: {} });
    sleeper.signal(15);
    assert.equal((await collect(sleeper)).code, 128 + 15);

    const bytes = 4 * 1024 * 1024;
    const large = await driver.exec(spec.vmId, {
      argv: ["head", "-c", String(bytes), "/dev/zero"],
      env: {},
    });
    let received = 0;
    let code: number | undefined;
    for await (const event of large.events) {
      // While this one is not read, another session must get through: windows are per session.
      if (received === 0) assert.equal(await shell(driver, spec.vmId, "echo through"), "through\n");
      if (event.kind === "exit") code = event.code;
      else received += event.data.length;
    }
    assert.deepEqual({ received, code }, { received: bytes, code: 0 });
    await driver.kill(spec.vmId);
  });

  void test("files go in and out whole; what is missing is NotFound", async () => {
    const world = await get();
    const driver = world.driver();
    const spec = world.spec();
    await world.run(driver, spec);
    const data = Uint8Array.from({ length: 300_000 }, (_, at) => (at * 7) & 255);
    await driver.writeFile(spec.vmId, "/compliance.bin", 0o640, data);
    assert.deepEqual(await driver.readFile(spec.vmId, "/compliance.bin"), Buffer.from(data));
    await assert.rejects(driver.readFile(spec.vmId, "/absent"), refusedWith("NotFound"));
    await driver.kill(spec.vmId);
  });

  void test("the command's exit code is reported, also when it ends while the daemon has the line", async () => {
    const world = await get();
    const driver = world.driver();
    const spec = world.spec(["sh", "-c", "while ! test -e go; do sleep 0.05; done; exit 5"]);
    await world.run(driver, spec);
    const where = (await shell(driver, spec.vmId, "pwd")).trim();
    assert.notEqual(where, "");
    await driver.writeFile(spec.vmId, "/go", 0o600, new Uint8Array(1));
    await until("the command's exit", world.setup.bootMs, async () => {
      const status = await driver.inspect(spec.vmId);
      return status?.commandExit;
    });
    assert.equal((await driver.inspect(spec.vmId))?.commandExit, 5);
    await driver.kill(spec.vmId);
    assert.equal((await driver.inspect(spec.vmId))?.commandExit, 5);
  });
}

function statistics(get: Get): void {
  void test("statistics: what the host counts of a VM's process, also after an adoption", async () => {
    const world = await get();
    const driver = world.driver();
    const spec = world.spec(["sh", "-c", "echo counted"]);
    await assert.rejects(driver.stats(spec.vmId), refusedWith("NotFound"));
    await driver.create(spec);
    await assert.rejects(driver.stats(spec.vmId), refusedWith("NotRunning"));
    const running = await world.run(driver, spec);
    await until("output", world.setup.bootMs, async () =>
      (await driver.stats(spec.vmId)).consoleBytes > 0 ? true : undefined,
    );
    const first = await driver.stats(spec.vmId);
    assert.deepEqual([first.vmId, first.epoch, first.driver], [spec.vmId, 1, driver.name]);
    const usage = present(first.process, "the host's count");
    assert.equal(usage.pid, running.backendPid);
    assert.ok(usage.residentBytes > 0 && usage.residentBytes >= usage.privateBytes);
    await driver.close();
    const next = world.driver();
    await next.readopt();
    const second = await next.stats(spec.vmId);
    assert.ok(present(second.process, "the host's count").cpuSeconds >= usage.cpuSeconds);
    assert.ok((second.execution?.instructions ?? 0) >= (first.execution?.instructions ?? 0));
    await next.kill(spec.vmId);
    await assert.rejects(next.stats(spec.vmId), refusedWith("NotRunning"));
  });
}

function badCommands(get: Get): void {
  void test("a command that the guest does not have ends the VM with that reason", async () => {
    const world = await get();
    const driver = world.driver();
    const spec = world.spec(["/no/such/program"]);
    await driver.create(spec);
    await driver.start(spec.vmId, world.lease(1));
    const { ended } = await world.phase(driver, spec.vmId, "stopped");
    assert.ok(ended?.kind === "crashed" && /no.such.program/.test(ended.reason), `${ended?.kind}`);
  });
}

async function exchange(driver: VmDriver, vmId: InstanceStatus["vmId"]): Promise<void> {
  const session = await driver.exec(vmId, { argv: ["cat"], env: {} });
  const chunk = new Uint8Array(50_000).fill(65);
  const chunks = 20;
  const writing = (async () => {
    for (let i = 0; i < chunks; i++) await session.write(chunk);
    session.closeStdin();
  })();
  const { stdout, code } = await collect(session);
  await writing;
  assert.equal(stdout.length, chunks * chunk.length);
  assert.equal(code, 0);
}

function consoleLog(get: Get): void {
  void test("the console is followed live, read from any offset, and kept over restarts", async () => {
    const world = await get();
    const driver = world.driver();
    const spec = world.spec(TICKER);
    await world.run(driver, spec);
    const aborter = new AbortController();
    const options = { offset: 0, follow: true, signal: aborter.signal };
    let text = "";
    for await (const data of driver.console(spec.vmId, options)) {
      text += Buffer.from(data).toString("utf8");
      if (text.includes("tick 1 5")) aborter.abort();
    }
    assert.match(text, /tick 1 0\r?\ntick 1 1\r?\n/);
    await driver.kill(spec.vmId);

    const read = async (offset: number): Promise<string> => {
      const signal = new AbortController().signal;
      const parts = await all(driver.console(spec.vmId, { offset, follow: false, signal }));
      return Buffer.concat(parts).toString("latin1");
    };
    const whole = await read(0);
    assert.ok(whole.startsWith(text.slice(0, 100)));
    for (const offset of [1, 17, whole.length - 5]) {
      assert.equal(await read(offset), whole.slice(offset));
    }
    assert.equal(await read(whole.length), "");

    await world.run(driver, spec, 2);
    await until("a tick of the second epoch", world.setup.bootMs, async () =>
      (await read(whole.length)).includes("tick 2 1") ? true : undefined,
    );
    await driver.kill(spec.vmId);
    assert.ok((await read(0)).startsWith(whole));
    const lines = await stampedLines(world, spec.vmId);
    for (const [at, { epoch, monotonicMs, line }] of lines.entries()) {
      assert.ok(monotonicMs >= (lines[at - 1]?.monotonicMs ?? 0), "stamps never go back");
      const told = /^tick (\d+) /.exec(line)?.[1];
      if (told !== undefined) assert.equal(Number(told), epoch, "stamped with its own epoch");
    }
    await driver.delete(spec.vmId);
  });
}

function adoption(get: Get): void {
  void test("a VM goes on without its driver and is adopted by the next", async () => {
    const world = await get();
    const first = world.driver();
    const spec = world.spec();
    const before = await world.run(first, spec);
    assert.equal((await shell(first, spec.vmId, "echo one")).trim(), "one");
    await first.close();
    const second = world.driver();
    const adopted = (await second.readopt()).find((status) => status.vmId === spec.vmId);
    assert.deepEqual(adopted, before);
    assert.equal((await shell(second, spec.vmId, "echo two")).trim(), "two");
    await assert.rejects(second.start(spec.vmId, world.lease(2)), refusedWith("Conflict"));
    await second.stop(spec.vmId, { graceMs: 60_000 });
    assert.deepEqual((await second.inspect(spec.vmId))?.ended, { kind: "shutdown" });
  });

  void test("kill -9 of the daemon leaves the VM running for the next one", async () => {
    const world = await get();
    const spec = world.spec();
    const daemon = await world.daemon(spec);
    daemon.kill("SIGKILL");
    await goneOf(present(daemon.pid, "pid"));
    const driver = world.driver();
    const adopted = (await driver.readopt()).find((status) => status.vmId === spec.vmId);
    assert.equal(adopted?.phase, "running");
    assert.equal((await shell(driver, spec.vmId, "echo alive")).trim(), "alive");
    await driver.kill(spec.vmId);
  });
}

function leases(get: Get): void {
  void test("a deadline that passes ends the VM and all its output; renewals move it", async () => {
    const world = await get();
    const driver = world.driver();
    const spec = world.spec(TICKER);
    const { status: running } = await world.runBriefly(driver, spec);
    const backend = present(running.backendPid, "backend pid");
    await driver.close();
    const other = world.driver();
    await other.readopt();
    const late = await until("the end by deadline", world.setup.bootMs * 2, async () => {
      const status = await other.inspect(spec.vmId);
      return status?.phase === "stopped" ? status : undefined;
    });
    assert.deepEqual(late.ended, { kind: "leaseExpired" });
    await goneOf(backend);
  });

  void test("renewals keep a VM beyond its first deadline", async () => {
    const world = await get();
    const driver = world.driver();
    const spec = world.spec();
    const { lease: first } = await world.runBriefly(driver, spec, {
      started: () => {
        const later = world.lease(2).deadlineMonotonicMs;
        driver.renew(later);
        // Nothing moves a deadline back.
        driver.renew(later - 200_000);
      },
    });
    await until("the first deadline", world.setup.bootMs * 2, () =>
      Promise.resolve(hostClock.monotonicMs() > first.deadlineMonotonicMs + 200 || undefined),
    );
    assert.equal((await shell(driver, spec.vmId, "echo alive")).trim(), "alive");
    await driver.kill(spec.vmId);
  });

  void test("what a guest says after its deadline reaches nobody, even past a stopped supervisor", async () => {
    const world = await get();
    const driver = world.driver();
    const spec = world.spec(TICKER);
    const { status, lease } = await world.runBriefly(driver, spec, {
      ready: async ({ epoch }) =>
        (await stampedLines(world, spec.vmId)).some(({ line }) => line === `tick ${epoch} 2`),
    });
    const supervisor = present(status.supervisorPid, "supervisor pid");
    process.kill(supervisor, "SIGSTOP");
    try {
      await until("the deadline", world.setup.bootMs * 2, () =>
        Promise.resolve(hostClock.monotonicMs() > lease.deadlineMonotonicMs + 200 || undefined),
      );
    } finally {
      process.kill(supervisor, "SIGCONT");
    }
    const ended = await world.phase(driver, spec.vmId, "stopped");
    assert.deepEqual(ended.ended, { kind: "leaseExpired" });
    const said = await stampedLines(world, spec.vmId);
    assert.ok(said.some(({ epoch }) => epoch === lease.epoch));
    for (const { monotonicMs } of said) assert.ok(monotonicMs < lease.deadlineMonotonicMs);
  });
}

function violence(get: Get): void {
  void test("kill -9 of the supervisor ends the machine also when no daemon is there", async () => {
    const world = await get();
    const driver = world.driver();
    const spec = world.spec();
    const status = await world.run(driver, spec);
    await driver.close();
    process.kill(present(status.supervisorPid, "supervisor pid"), "SIGKILL");
    await goneOf(present(status.backendPid, "backend pid"));
    const next = world.driver();
    await next.readopt();
    // The machine dies a moment before its supervisor is gone from the process table.
    const { ended } = await world.phase(next, spec.vmId, "stopped");
    assert.deepEqual(ended, { kind: "crashed", reason: "its supervisor died" });
  });

  void test("kill -9 of the supervisor is told as a crash, and the VM can start again", async () => {
    const world = await get();
    const driver = world.driver();
    const spec = world.spec();
    const status = await world.run(driver, spec);
    const stopped: InstanceStatus[] = [];
    driver.subscribe((next) => {
      if (next.phase === "stopped") stopped.push(next);
    });
    process.kill(present(status.supervisorPid, "supervisor pid"), "SIGKILL");
    await goneOf(present(status.backendPid, "backend pid"));
    const told = await until("the end told", world.setup.bootMs, () => Promise.resolve(stopped[0]));
    assert.deepEqual(told.ended, { kind: "crashed", reason: "its supervisor died" });
    await world.run(driver, spec, 2);
    await driver.kill(spec.vmId);
  });

  void test("kill -9 of the machine is a crash", async () => {
    const world = await get();
    const driver = world.driver();
    const spec = world.spec();
    const status = await world.run(driver, spec);
    const session = await driver.exec(spec.vmId, { argv: ["cat"], env: {} });
    process.kill(present(status.backendPid, "backend pid"), "SIGKILL");
    await assert.rejects(collect(session), refusedWith("GuestUnreachable"));
    const ended = (await world.phase(driver, spec.vmId, "stopped")).ended;
    assert.ok(ended?.kind === "crashed" && ended.reason.includes("SIGKILL"), JSON.stringify(ended));
    await driver.delete(spec.vmId);
  });

  void test("a supervisor that hangs is killed with its machine", async () => {
    const world = await get();
    const driver = world.driver();
    const spec = world.spec();
    const status = await world.run(driver, spec);
    process.kill(present(status.supervisorPid, "supervisor pid"), "SIGSTOP");
    await driver.kill(spec.vmId);
    await goneOf(present(status.backendPid, "backend pid"));
    assert.deepEqual((await driver.inspect(spec.vmId))?.ended, { kind: "killed" });
  });
}
