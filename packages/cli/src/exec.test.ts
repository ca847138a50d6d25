import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { fail, type ExecEvent } from "@blixard/std";
import type { VmRecord } from "@blixard/control";
import { startCli, until, type FakeIo, type Harness, type Ran } from "./testing/harness.ts";
import { defaultScript } from "../../api/src/testing/fake-backend.ts";

let h: Harness;
let io: () => FakeIo;
let run: (...argv: string[]) => Promise<Ran>;
before(async () => {
  ({ h, io, run } = await startCli());
});
after(() => h.close());
beforeEach(async () => {
  h.backend.vms.clear();
  h.backend.execs.length = 0;
  h.backend.startsAs = "running";
  h.backend.script = defaultScript;
  await h.client.createVm({ name: "web", image: "base" });
});

test("exec ends with the command's code, its streams kept apart", async () => {
  assert.deepEqual(await run("vm", "exec", "web", "--", "exit", "7"), {
    code: 7,
    out: "",
    err: "leaving\n",
  });
  assert.equal((await run("vm", "exec", "we", "echo", "-n", "--help")).out, "echo -n --help\n");
});

test("exec -i passes stdin on; without -i the command has none", async () => {
  const one = io();
  one.stdin.end("hello\n");
  assert.deepEqual(await one.run("vm", "exec", "-i", "web", "--", "cat"), {
    code: 0,
    out: "hello\n",
    err: "",
  });
  const without = io();
  without.stdin.write("unread");
  assert.equal((await without.run("vm", "exec", "web", "cat")).out, "");
});

test("exec -t asks for a terminal of this one's size, and follows it", async () => {
  const one = io();
  one.env["TERM"] = "xterm";
  const ran = one.run("vm", "exec", "-t", "-e", "A=b", "-w", "/srv", "web", "sleep");
  await until("it runs", () => h.backend.execs.length === 1);
  const [exec] = h.backend.execs;
  assert.deepEqual(exec?.request.pty, { rows: 40, cols: 120 });
  assert.deepEqual(exec.request.env, { TERM: "xterm", A: "b" });
  assert.equal(exec.request.cwd, "/srv");
  one.stdout.rows = 50;
  one.send("SIGWINCH");
  await until("the resize arrives", () => exec.sizes.length === 1);
  assert.deepEqual(exec.sizes, [[50, 120]]);
  one.send("SIGTERM");
  assert.equal((await ran).code, 143);
});

test("Ctrl-C goes to the command; a second one gives up on it", async () => {
  const one = io();
  const first = one.run("vm", "exec", "web", "sleep");
  await until("it runs", () => h.backend.execs.length === 1);
  one.send("SIGINT");
  assert.equal((await first).code, 130);
  assert.deepEqual(h.backend.execs[0]?.signals, [2]);

  h.backend.script = async function* deaf(exec): AsyncGenerator<ExecEvent> {
    await exec.until(() => exec.closed);
    yield { kind: "exit", code: 0 };
  };
  const two = io();
  const second = two.run("vm", "exec", "web", "deaf");
  await until("it runs", () => h.backend.execs.length === 2);
  two.send("SIGINT");
  await until("the signal arrives", () => h.backend.execs[1]?.signals.length === 1);
  two.send("SIGINT");
  assert.equal((await second).code, 130);
  assert.equal(two.listeners(), 0, "no listener is left");
});

test("a VM lost midway is an error of its own, not an exit code of the command", async () => {
  h.backend.script = async function* dies(): AsyncGenerator<ExecEvent> {
    yield { kind: "stdout", data: new TextEncoder().encode("so far\n") };
    fail("GuestUnreachable", { vm: "web", reason: "its node died" }, "web is gone.");
  };
  const ran = await run("vm", "exec", "web", "x");
  assert.deepEqual(ran, { code: 9, out: "so far\n", err: "error: web is gone.\n" });
});

const names = (): string[] => [...h.backend.vms.values()].map((vm) => vm.spec.name);

test("run makes a VM, runs the command, and removes it", async () => {
  const one = io();
  one.stdin.end("in\n");
  const ran = await one.run("run", "--name", "once", "--memory", "512M", "-i", "base", "--", "cat");
  assert.deepEqual(ran, { code: 0, out: "in\n", err: "" });
  assert.deepEqual(names(), ["web"]);
  const made = h.backend.history.findLast((event) => event.kind === "vm");
  assert.ok(made?.kind === "vm" && "spec" in made.object);
  assert.equal(made.object.spec.memoryBytes, 512 * 2 ** 20);
  assert.equal(made.object.spec.name, "once");
  assert.equal((await run("run", "base", "exit", "3")).code, 3);
  assert.deepEqual(names(), ["web"]);
});

test("run removes the VM whatever goes wrong", async () => {
  h.backend.startsAs = "failed";
  assert.equal((await run("run", "base", "true")).code, 5);
  h.backend.startsAs = "pending";
  assert.equal((await run("run", "--timeout", "30ms", "base", "true")).code, 7);
  // The watch that timed out is over on the server, too.
  await until("nobody watches", () => h.backend.watchers === 0);
  const waiting = io();
  const interrupted = waiting.run("run", "base", "true");
  await until("it waits", () => h.backend.watchers === 1);
  waiting.send("SIGINT");
  assert.equal((await interrupted).code, 130);
  h.backend.startsAs = "running";
  const sleeping = io();
  const killed = sleeping.run("run", "base", "sleep");
  await until("it sleeps", () => h.backend.execs.length === 1);
  sleeping.send("SIGTERM");
  assert.equal((await killed).code, 143);
  const unread = io();
  unread.stdout.broken = true;
  assert.equal((await unread.run("run", "base", "echo", "x")).code, 141);
  assert.deepEqual(names(), ["web"]);
  assert.equal(sleeping.listeners() + waiting.listeners(), 0);
});

test("run says so when the VM could not be removed, and keeps the command's code", async () => {
  const original = h.backend.deleteVm.bind(h.backend);
  h.backend.deleteVm = () => Promise.reject<VmRecord>(new Error("no leader"));
  const ran = await run("run", "--name", "stays", "base", "exit", "4");
  h.backend.deleteVm = original;
  assert.equal(ran.code, 4);
  assert.match(ran.err, /warning: stays was not removed: no leader\nhint: blixard vm rm stays\n$/);
});
