/** Whole daemons in this process: real disks, real TLS, the fake driver. */

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Client, createClient } from "@blixard/api";
import { formatTicket, parseTicket } from "@blixard/net";
import { BlixardError, type ErrorCode, newTrace, parseTraceparent, Prng } from "@blixard/std";
import {
  type InitResult,
  initNode,
  joinCluster,
  type RunningDaemon,
  startDaemon,
} from "./index.ts";
import { freePorts } from "./testing/ports.ts";

const scratch = mkdtempSync(join(tmpdir(), "blx-daemon-"));
const MIB = 1024 * 1024;

interface Running {
  readonly made: InitResult;
  readonly client: Client;
  readonly api: string;
  daemon: RunningDaemon;
}
const nodes: Running[] = [];

async function until<T>(what: string, check: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + 60_000;
  let last: unknown;
  while (performance.now() < deadline) {
    try {
      const value = await check();
      if (value !== undefined) return value;
    } catch (caught) {
      last = caught;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`no ${what} in time`, { cause: last });
}

async function optionsFor(name: string) {
  const [listen, api] = await freePorts(2);
  return {
    dataDir: join(scratch, name),
    name,
    listen: `127.0.0.1:${listen}`,
    api: `127.0.0.1:${api}`,
    drivers: ["fake"],
  };
}

async function launch(made: InitResult, api: string): Promise<Running> {
  const daemon = await startDaemon({
    dataDir: made.dataDir,
    logLevel: process.env["BLIXARD_TEST_LOG"] ?? "silent",
  });
  const client = createClient({ endpoint: `http://${api}`, token: made.token });
  const running = { made, client, api, daemon };
  nodes.push(running);
  return running;
}

const fails = (code: ErrorCode) => (thrown: unknown) => {
  assert.ok(thrown instanceof BlixardError, String(thrown));
  assert.equal(thrown.code, code, thrown.message);
  return true;
};

function node(at: number): Running {
  const found = nodes[at];
  assert.ok(found, `node ${at}`);
  return found;
}

before(async () => {
  const first = await optionsFor("n1");
  await launch(await initNode(first), first.api);
  const { client } = node(0);
  await until("first node up", async () => {
    const { items } = await client.listNodes();
    return items[0]?.state === "up" ? true : undefined;
  });
  for (const name of ["n2", "n3"]) {
    const options = await optionsFor(name);
    const { ticket } = await client.createTicket({ uses: 1 });
    await launch(await joinCluster({ ...options, ticket }), options.api);
  }
  await until("three voters", async () => {
    const { items } = await client.listNodes();
    const ready = items.filter((item) => item.state === "up" && item.role !== "learner");
    return ready.length === 3 ? true : undefined;
  });
});

after(async () => {
  const { client: any } = node(0);
  for (const vm of (await any.listVms()).items) await any.deleteVm(vm.id);
  await until("no VM left", async () => {
    const { items } = await node(0).client.listVms();
    return items.length === 0 ? true : undefined;
  });
  for (const { client, daemon } of nodes) {
    client.close();
    await daemon.close();
  }
  rmSync(scratch, { recursive: true, force: true });
});

async function running(name: string) {
  return await until(`${name} running`, async () => {
    const vm = await node(0).client.getVm(name);
    return vm.phase === "running" ? vm : undefined;
  });
}

async function execIn(
  client: Client,
  name: string,
  argv: string[],
): Promise<{ out: string; code: number }> {
  const session = await client.exec(name, { argv, env: {} });
  session.closeStdin();
  let out = "";
  let code = -1;
  for await (const event of session.events) {
    if (event.kind === "exit") code = event.code;
    else out += `${event.kind}:${new TextDecoder().decode(event.data)}`;
  }
  return { out, code };
}

test("three VMs spread over three nodes; exec and logs reach each from every node", async () => {
  for (const name of ["a", "b", "c"]) {
    const command = ["sh", "-c", `echo hello from ${name}`];
    await node(0).client.createVm({ name, image: "base", memoryBytes: 64 * MIB, command });
  }
  const homes = new Set<string>();
  for (const name of ["a", "b", "c"]) homes.add((await running(name)).nodeId ?? "");
  assert.equal(homes.size, 3);
  for (const { client } of nodes) {
    for (const name of ["a", "b", "c"]) {
      const { out, code } = await execIn(client, name, ["sh", "-c", `echo ${name}; exit 7`]);
      assert.deepEqual({ out, code }, { out: `stdout:${name}\n`, code: 7 });
    }
  }
  const text = await until("console output", async () => {
    let logged = "";
    for await (const chunk of node(1).client.logs("a")) logged += new TextDecoder().decode(chunk);
    return logged.includes("hello from a") ? logged : undefined;
  });
  assert.match(text, /hello from a/);
});

test("a caller's trace reaches the process in the guest, across nodes", async () => {
  const trace = newTrace(new Prng(7));
  const vm = await running("a");
  const other = nodes.find(({ made }) => made.nodeId !== vm.nodeId);
  assert.ok(other);
  const request = { argv: ["sh", "-c", "echo $TRACEPARENT"], env: {} };
  const session = await other.client.exec("a", request, { trace });
  session.closeStdin();
  let seen = "";
  for await (const event of session.events) {
    if (event.kind === "stdout") seen += new TextDecoder().decode(event.data);
  }
  assert.equal(parseTraceparent(seen)?.traceId, trace.traceId);
});

test("statistics of a VM come from its node, whoever is asked", async () => {
  const vm = await running("a");
  for (const { client } of nodes) {
    const stats = await client.vmStats("a");
    assert.deepEqual([stats.vmId, stats.epoch, stats.driver], [vm.id, vm.epoch, "fake"]);
    assert.ok(stats.process !== undefined && stats.process.residentBytes > 0);
    assert.ok(stats.consoleBytes > 0);
  }
});

test("stop, start with a higher epoch, delete; a watch sees every step without a gap", async () => {
  const { client } = node(1);
  const { revision } = await client.listVms();
  const created = await client.createVm({ name: "life", image: "base", memoryBytes: 64 * MIB });
  const first = await running("life");
  await client.stopVm("life");
  await until("stopped", async () =>
    (await client.getVm("life")).phase === "stopped" ? true : undefined,
  );
  await client.startVm("life");
  const second = await running("life");
  assert.ok(second.epoch > first.epoch);
  await client.deleteVm("life");
  await until("gone", async () => {
    const { items } = await client.listVms();
    return items.some((vm) => vm.id === created.id) ? undefined : true;
  });
  const phases: string[] = [];
  for await (const event of client.watch({ fromRevision: revision })) {
    if (event.kind !== "vm" || event.object.id !== created.id) continue;
    phases.push(
      event.type === "modified" && "phase" in event.object ? event.object.phase : event.type,
    );
    if (event.type === "removed") break;
  }
  const steps = phases.filter((phase, at) => phase !== phases[at - 1]).join(" ");
  assert.match(steps, /^added scheduled starting running .*stopped .*starting running .*removed$/);
});

test("all nodes agree on the state's hash", async () => {
  const hashes = await until("equal index", async () => {
    const all = await Promise.all(nodes.map(({ client }) => client.status()));
    return new Set(all.map((status) => status.appliedIndex)).size === 1 ? all : undefined;
  });
  assert.equal(new Set(hashes.map((status) => status.stateHash)).size, 1);
  assert.equal(hashes[0]?.members.length, 3);
});

test("a VM larger than every node is refused with a reason for each", async () => {
  const spec = { name: "whale", image: "base", memoryBytes: 8 * 1024 * 1024 * MIB };
  await assert.rejects(node(2).client.createVm(spec), (thrown) => {
    assert.ok(thrown instanceof BlixardError && thrown.failure.code === "NoCapacity");
    assert.equal(thrown.failure.data.nodes.length, 3);
    return true;
  });
});

test("a VM that no node's driver could make is refused, once the nodes have told what theirs can", async () => {
  await until("the drivers' bounds", async () => {
    const { items } = await node(0).client.listNodes();
    return items.every(({ vmBounds }) => vmBounds !== undefined) || undefined;
  });
  const spec = { name: "mouse", image: "base", memoryBytes: 16 * MIB };
  await assert.rejects(node(1).client.createVm(spec), (thrown) => {
    assert.ok(thrown instanceof BlixardError && thrown.failure.code === "NoCapacity");
    assert.match(thrown.message, /its driver fake gives a VM at least 64 MiB memory, not 16 MiB/);
    return true;
  });
});

test("a drained node's VMs run on elsewhere, and it is given none until it is back", async () => {
  const before = await running("a");
  const at = nodes.findIndex(({ made }) => made.nodeId === before.nodeId);
  const other = node((at + 1) % nodes.length).client;
  const { name, maintenance } = await other.setMaintenance(before.nodeId ?? "", "drain");
  assert.equal(maintenance, "drain");
  const left = async () => {
    const { items } = await other.listVms();
    return items.filter((vm) => vm.nodeId === before.nodeId);
  };
  await until("an empty node", async () => ((await left()).length === 0 ? true : undefined));
  const after = await running("a");
  assert.ok(after.epoch > before.epoch);
  await other.createVm({ name: "late", image: "base", memoryBytes: 64 * MIB });
  assert.notEqual((await running("late")).nodeId, before.nodeId);
  const { nodes: rows } = await other.explainVm("late");
  assert.equal(rows.find((row) => row.name === name)?.why, "node is being drained");
  assert.equal((await other.setMaintenance(name, "none")).maintenance, undefined);
  await other.createVm({ name: "back", image: "base", memoryBytes: 64 * MIB });
  assert.equal((await running("back")).nodeId, before.nodeId, "it has the fewest");
});

test("the join door refuses a wrong secret, a spent ticket and another cluster's ticket", async () => {
  const { ticket } = await node(0).client.createTicket({ uses: 1 });
  const { servers, clusterId, secret } = parseTicket(ticket);
  const join_ = async (name: string, text: string) => {
    await joinCluster({ ...(await optionsFor(name)), ticket: text });
  };
  const wrong = formatTicket({ servers, clusterId, secret: new Uint8Array(32).fill(1) });
  await assert.rejects(join_("x1", wrong), fails("Unauthorized"));
  const other = formatTicket({ servers, clusterId: "0".repeat(32), secret });
  await assert.rejects(join_("x2", other), fails("Unauthorized"));
  await join_("x3", ticket);
  await assert.rejects(join_("x4", ticket), fails("Unauthorized"));
  assert.equal(existsSync(join(scratch, "x1", "cluster.json")), false, "nothing half-made is left");
});

test("a second node in one folder, and a taken port, are refused", async () => {
  const { made, api } = node(0);
  const options = await optionsFor("again");
  await assert.rejects(initNode({ ...options, dataDir: made.dataDir }), fails("AlreadyExists"));
  const busy = await initNode({ ...options, api });
  await assert.rejects(
    startDaemon({ dataDir: busy.dataDir, logLevel: process.env["BLIXARD_TEST_LOG"] ?? "silent" }),
    fails("PortInUse"),
  );
});

test("a node that was restarted has its state, and refuses a configuration that was damaged", async () => {
  const last = node(2);
  const before = await last.client.listVms();
  await last.daemon.close();
  const toml = join(last.made.dataDir, "node.toml");
  const whole = readFileSync(toml, "utf8");
  writeFileSync(toml, whole.replace("format", "fromat"));
  const start = () =>
    startDaemon({
      dataDir: last.made.dataDir,
      logLevel: process.env["BLIXARD_TEST_LOG"] ?? "silent",
    });
  await assert.rejects(start(), fails("Corrupt"));
  writeFileSync(toml, whole);
  last.daemon = await start();
  const afterwards = await until("list", () => last.client.listVms());
  assert.deepEqual(
    afterwards.items.map((vm) => vm.id),
    before.items.map((vm) => vm.id),
  );
});

test("a wrong token is refused", async () => {
  const stranger = createClient({ endpoint: `http://${node(0).api}`, token: "wrong" });
  await assert.rejects(stranger.listVms(), fails("Unauthorized"));
  stranger.close();
});
