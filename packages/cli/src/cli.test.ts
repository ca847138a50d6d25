import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { parse } from "yaml";
import { defaultName } from "./commands/node-init.ts";
import { printable, table } from "./output.ts";
import { buildProgram, version } from "./program.ts";
import { FakeIo, startCli, TOKEN, until, type Harness, type Ran } from "./testing/harness.ts";

let h: Harness;
let io: () => FakeIo;
let run: (...argv: string[]) => Promise<Ran>;
const scratch = mkdtempSync(join(tmpdir(), "blx-cli-"));
before(async () => {
  ({ h, io, run } = await startCli());
});
after(async () => {
  rmSync(scratch, { recursive: true, force: true });
  await h.close();
});
beforeEach(async () => {
  h.backend.vms.clear();
  h.backend.startsAs = "running";
  await h.client.createVm({ name: "web", image: "base", labels: { tier: "front" } });
  await h.client.createVm({ name: "web-2", image: "base" }, "stopped");
  await h.client.createVm({ name: "db", image: "base" });
});

test("--version and every command's --help end with 0 and show examples", async () => {
  assert.deepEqual(await run("--version"), { code: 0, out: `${version()}\n`, err: "" });
  const shell = {
    setExitCode: () => undefined,
    writeOut: () => undefined,
    writeErr: () => undefined,
  };
  const program = buildProgram(io(), shell);
  const leaves = program.commands.flatMap((group) =>
    group.commands.length === 0
      ? [[group.name()]]
      : group.commands.map((leaf) => [group.name(), leaf.name()]),
  );
  assert.equal(leaves.length, 27);
  for (const path of [[], ...leaves]) {
    const { code, out, err } = await run(...path, "--help");
    assert.equal(code, 0, path.join(" "));
    assert.match(out, /Usage: blixard[^]*Examples:\n {2}\$ /, path.join(" "));
    assert.equal(err, "");
  }
});

test("usage errors end with 2, on stderr, with a hint", async () => {
  for (const argv of [
    ["bogus"],
    ["vm", "lss"],
    ["vm", "inspect"],
    ["vm", "ls", "--colour"],
    ["vm", "ls", "-o", "xml"],
    ["vm", "create", "x", "--memory", "5x"],
    ["vm", "wait", "web", "--for", "bliss"],
    ["vm", "exec", "web"],
    ["vm", "exec", "web", "--"],
    ["vm", "inspect", "web", "extra"],
    ["completion", "tcsh"],
    ["node", "start", "--log-level", "loud"],
  ]) {
    const { code, out, err } = await run(...argv);
    assert.equal(code, 2, argv.join(" "));
    assert.equal(out, "");
    assert.match(err, /^error: /, argv.join(" "));
  }
  assert.match((await run("vm", "lss")).err, /Did you mean ls\?/);
});

test("vm ls in all formats", async () => {
  const asTable = await run("vm", "ls");
  assert.match(
    asTable.out,
    /^NAME +ID +PHASE +NODE +IMAGE +VCPUS +MEMORY\ndb .* alpha .* 256 MiB\n/,
  );
  assert.equal((await run("vm", "ls", "-o", "name")).out, "db\nweb\nweb-2\n");
  const json: unknown = JSON.parse((await run("vm", "ls", "-o", "json")).out);
  const yaml: unknown = parse((await run("vm", "ls", "--output=yaml")).out);
  assert.deepEqual(json, yaml);
  assert.ok(Array.isArray(json) && json.length === 3);
  assert.equal((await run("vm", "ls", "--label", "tier=front", "-o", "name")).out, "web\n");
  await run("vm", "ls", "--stale", "-o", "name");
  assert.equal(h.backend.calls.at(-1)?.consistency, "stale");
});

test("vm create says what it declares, and waits when asked", async () => {
  const argv = "vm create job --image tiny --vcpus 2 --memory 1G --disk 2G --label a=b -o name";
  const made = await run(...argv.split(" "), "--wait", "--", "sh", "-c", "date; poweroff");
  assert.deepEqual(made, { code: 0, out: "job\n", err: "" });
  const vm = [...h.backend.vms.values()].find((one) => one.spec.name === "job");
  assert.deepEqual(vm?.spec, {
    name: "job",
    image: "tiny",
    vcpus: 2,
    memoryBytes: 2 ** 30,
    diskBytes: 2 ** 31,
    labels: { a: "b" },
    command: ["sh", "-c", "date; poweroff"],
  });
  const stopped = await run("vm", "create", "later", "--no-start", "-o", "json");
  assert.match(stopped.out, /"desired": "stopped"/);
  h.backend.startsAs = "failed";
  const failed = await run("vm", "create", "bad", "--wait");
  assert.equal(failed.code, 5);
  assert.match(failed.err, /^error: bad failed: the image has no kernel\nhint: .*vm logs bad/);
});

test("failures: message and hint, exit code by kind, JSON when JSON was asked for", async () => {
  const cases: readonly (readonly [string, number, RegExp])[] = [
    ["vm inspect nope", 3, /^error: No VM is called nope\.\nhint: blixard vm ls\n$/],
    ["vm inspect we", 4, /^error: we could be any of web, web-2\.\nhint: give more/],
    ["vm create web", 4, /already/],
    ["vm exec web-2 true", 5, /web-2 is pending/],
    ["vm create big --memory 99G", 8, /big\.\n {2}alpha: too little memory\n {2}beta:/],
    ["vm wait web --for stopped --timeout 20ms", 7, /longer than 20 ms.*\nhint: .*vm explain web/],
    ["vm create UPPER", 2, /spec\.name: expected 1 to 63/],
  ];
  for (const [line, code, message] of cases) {
    const ran = await run(...line.split(" "));
    assert.equal(ran.code, code, line);
    assert.match(ran.err, message, line);
    assert.equal(ran.out, "", line);
  }
  const json = await run("vm", "inspect", "nope", "-o", "json");
  assert.equal(json.code, 3);
  assert.match(json.err, /^\{"error":\{"code":"NotFound".*"hint":"blixard vm ls"/);
});

test("vm inspect, explain, logs, start, stop, rm and wait", async () => {
  assert.match((await run("vm", "inspect", "db")).out, /^NAME +db\n[^]*EPOCH +1\nRESTARTS +0\n/);
  assert.match((await run("vm", "inspect", "web", "-o", "yaml")).out, /labels:\n +tier: front/);
  const explained = await run("vm", "explain", "db");
  assert.match(explained.out, /^NODE +CHOSEN +FITS +SCORE +WHY\nalpha +yes +yes +0\.500 +spread/);
  assert.equal((await run("vm", "explain", "db", "-o", "name")).out, "alpha\n");
  assert.equal((await run("vm", "logs", "db")).out, "booting\nlogin:\n");
  assert.equal((await run("vm", "logs", "db", "--tail", "7")).out, "login:\n");
  assert.equal((await run("vm", "stop", "db", "web", "--wait")).out, "db\nweb\n");
  assert.deepEqual(await run("vm", "wait", "db", "--for", "stopped"), {
    code: 0,
    out: "",
    err: "",
  });
  assert.equal((await run("vm", "start", "db")).out, "db\n");
  assert.equal((await run("vm", "rm", "db", "web-2", "--wait")).out, "db\nweb-2\n");
  assert.equal((await run("vm", "wait", "db", "--for", "deleted")).code, 0);
  assert.equal((await run("vm", "wait", "db")).code, 3);
});

test("following logs ends at Ctrl-C with 130", async () => {
  const one = io();
  const ran = one.run("vm", "logs", "-f", "web");
  await until("the log follows", () => one.stdout.text.includes("following web"));
  one.send("SIGINT");
  assert.equal((await ran).code, 130);
});

test("cluster and node commands", async () => {
  const status = await run("cluster", "status");
  assert.match(
    status.out,
    /^CLUSTER +c1\n[^]*LEADER +alpha\n[^]*\nMEMBER +ID +ADDRESS +ROLE\nalpha/,
  );
  assert.equal((await run("cluster", "status", "-o", "name")).out, "c1\n");
  assert.match((await run("node", "status")).out, /^NODE +alpha\nID /);
  const nodes = await run("cluster", "nodes");
  assert.match(nodes.out, /alpha .* up +leader .* 1\/8 +256 MiB of 8 GiB +qemu\n/);
  const ticket = await run("cluster", "ticket", "--uses", "2", "--ttl", "10m");
  assert.match(ticket.out, /^TICKET +blx1-2\nEXPIRES +1970-01-01T00:26:40\.000Z\n$/);
  assert.equal((await run("cluster", "ticket", "-o", "name")).out, "blx1-1\n");
  assert.equal((await run("cluster", "rm", "bet")).out, "beta\n");
  assert.equal((await run("cluster", "rm", "beta")).code, 3);
});

test("cordon, drain and undrain; a drain that waits says what holds it up", async () => {
  const state = async (): Promise<string> =>
    /^alpha +\S+ +(\S.*?) {2}/m.exec((await run("cluster", "nodes")).out)?.[1] ?? "";
  assert.equal((await run("node", "cordon", "alp")).out, "alpha\n");
  assert.equal(await state(), "up, cordoned");
  assert.equal((await run("node", "drain", "alpha")).out, "alpha\n");
  assert.equal(await state(), "up, drained");
  const late = await run("node", "drain", "alpha", "--wait", "--timeout", "1ms");
  assert.equal(late.code, 7);
  assert.match(late.err, /left: (db|web), (db|web)\.\nhint: .*vm explain (db|web)/);
  assert.equal(late.out, "");
  for (const name of ["db", "web"]) await h.client.deleteVm(name);
  await h.client.createVm({ name: "store", image: "base", diskBytes: 2 ** 30 });
  const held = await run("node", "drain", "alpha", "--wait");
  assert.equal(held.code, 4);
  assert.match(held.err, /a disk stay on alpha: store\.\nhint: .*--delete-disks/);
  await h.client.deleteVm("store");
  assert.equal((await run("node", "drain", "alpha", "--delete-disks", "--wait")).code, 0);
  assert.equal(h.backend.nodes.find(({ name }) => name === "alpha")?.maintenance, "drainDisks");
  assert.equal((await run("node", "undrain", "alpha")).out, "alpha\n");
  assert.equal(await state(), "up");
  assert.equal((await run("node", "drain", "nope")).code, 3);
});

test("completion covers every command, and VM names where they fit", async () => {
  for (const shell of ["bash", "zsh", "fish"]) {
    const { code, out } = await run("completion", shell);
    assert.equal(code, 0);
    for (const word of ["create", "explain", "ticket", "--memory", "blixard vm ls -o name"]) {
      assert.ok(out.includes(word), `${shell}: ${word}`);
    }
  }
});

test("flags win over the environment, and that over the data directory", async () => {
  const data = join(scratch, "data");
  const { mkdirSync } = await import("node:fs");
  mkdirSync(data);
  const nothing = new FakeIo({ XDG_DATA_HOME: scratch });
  const none = await nothing.run("vm", "ls");
  assert.equal(none.code, 7);
  assert.match(none.err, /No node is configured in .*blixard\.\nhint: run `blixard node init`/);

  writeFileSync(join(data, "api.json"), JSON.stringify({ endpoint: `http://${h.address}` }));
  const tokenless = await new FakeIo({ BLIXARD_DATA: data }).run("vm", "ls");
  assert.equal(tokenless.code, 6);
  writeFileSync(join(data, "api.token"), `${TOKEN}\n`);
  const names = "db\nweb\nweb-2\n";
  assert.equal((await new FakeIo({ BLIXARD_DATA: data }).run("vm", "ls", "-o", "name")).out, names);
  const flag = await new FakeIo({}).run("vm", "ls", "-o", "name", "--data", data);
  assert.equal(flag.out, names);

  const wrong = { BLIXARD_DATA: data, BLIXARD_TOKEN: "wrong" };
  assert.equal((await new FakeIo(wrong).run("vm", "ls")).code, 6);
  const file = join(data, "api.token");
  assert.equal((await new FakeIo(wrong).run("vm", "ls", "--token-file", file)).code, 0);
  const away = { BLIXARD_DATA: data, BLIXARD_ENDPOINT: "http://127.0.0.1:1" };
  const unreachable = await new FakeIo(away).run("vm", "ls");
  assert.equal(unreachable.code, 7);
  assert.match(unreachable.err, /hint: start one with `blixard node start`/);
  const endpoint = await new FakeIo(away).run("vm", "ls", "--endpoint", `http://${h.address}`);
  assert.equal(endpoint.code, 0);
  writeFileSync(join(data, "api.json"), "{");
  assert.equal((await new FakeIo({ BLIXARD_DATA: data }).run("vm", "ls")).code, 10);
});

test("a reader that has gone ends the command quietly", async () => {
  const one = io();
  one.stdout.broken = true;
  const ran = await one.run("vm", "ls");
  assert.deepEqual(ran, { code: 141, out: "", err: "" });
  const both = io();
  both.stdout.broken = true;
  both.stderr.broken = true;
  assert.equal((await both.run("vm", "inspect", "nope")).code, 3);
});

test("what comes from elsewhere cannot steer the terminal", () => {
  assert.equal(printable("a\u001b[2Jb\u009bc\n"), "a\\x1b[2Jb\\x9bc\\x0a");
  const text = table([{ a: "\u0007" }], [{ title: "A", value: (item) => item.a }]);
  assert.equal(text, "A\n\\x07\n");
});

test("a node's default name is the machine's, as a DNS label", () => {
  assert.equal(defaultName("Ada's MacBook.local"), "ada-s-macbook");
  assert.equal(defaultName("..."), "node");
  assert.equal(defaultName(`${"x".repeat(62)}-y`), "x".repeat(62));
});

test("stats: all VMs of this node that run, or one of them with all its counters", async () => {
  const list = await run("machine", "stats");
  assert.equal(list.code, 0, list.err);
  const [head = "", ...rows] = list.out.trimEnd().split("\n");
  assert.match(head, /^NAME +DRIVER +MIPS +AVERAGE +BUSY +CPU +RESIDENT/);
  assert.deepEqual(
    rows.map((row) => row.split(/ {2,}/)),
    ["web", "db"].map((name) =>
      [
        [name, "embedded", "250.0", "125.0", "50%", "1.50s", "128 MiB"],
        ["32 MiB", "8 KiB", "4 KiB", "8 KiB"],
      ].flat(),
    ),
  );
  const one = await run("vm", "stats", "web");
  assert.match(one.out, /\nTIME +4\.00s: busy 50%, idle 38%, held 13%, throttled 0%\n/);
  assert.match(one.out, /\nmemory\.ramBytes +256 MiB\n/);
  assert.match(one.out, /\nexits\.idle +3\n/);
  const same = await run("machine", "stats", "web");
  assert.deepEqual(same, one);
  const json: unknown = JSON.parse((await run("machine", "stats", "--all", "-o", "json")).out);
  assert.ok(Array.isArray(json) && json.length === 2);
  assert.equal((await run("machine", "stats", "-o", "name")).out, "web\ndb\n");
  assert.equal((await run("vm", "stats", "web-2")).code, 5);
  assert.equal((await run("machine", "stats", "web", "--all")).code, 2);
});

test("a guest that does not answer is seen in lists, and explained", async () => {
  const vm = await h.client.getVm("web");
  h.backend.vms.set(vm.id, { ...vm, health: "unresponsive" });
  assert.match((await run("vm", "ls")).out, /\nweb +\S+ +running, unresponsive /);
  const { out } = await run("vm", "inspect", "web");
  assert.match(out, /\nHEALTH +its agent does not answer: see blixard vm logs web/);
  assert.match((await run("vm", "inspect", "db")).out, /\nHEALTH +-\n/);
});
