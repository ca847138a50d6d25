import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { BlixardError, as, type LogIndex } from "@blixard/std";
import { startHarness, type Harness } from "../testing/harness.ts";

let h: Harness;
before(async () => {
  h = await startHarness();
});
after(() => h.close());

test("the client's every method reaches the backend and comes back", async () => {
  const { client, backend } = h;
  assert.deepEqual(await client.health(), { ok: true });
  assert.equal((await client.status()).clusterId, "c1");
  assert.equal((await client.listNodes()).items.length, 2);
  assert.equal((await client.getNode("alp")).name, "alpha");
  const vm = await client.createVm({ name: "web", image: "base" });
  assert.equal(vm.spec.memoryBytes, 268_435_456);
  assert.equal((await client.getVm("we")).id, vm.id);
  assert.equal((await client.listVms({ consistency: "stale" })).items[0]?.id, vm.id);
  assert.equal(backend.calls.at(-1)?.consistency, "stale");
  assert.equal((await client.stopVm("web")).phase, "stopped");
  assert.equal((await client.startVm("web")).phase, "running");
  assert.equal((await client.explainVm("web")).nodes.length, 2);
  let text = "";
  for await (const chunk of client.logs("web", { tailBytes: 7 })) {
    text += new TextDecoder().decode(chunk);
  }
  assert.equal(text, "login:\n");
  assert.equal((await client.createTicket({ uses: 3 })).ticket, "blx1-3");
  const seen: string[] = [];
  const list = await client.listVms();
  const stop = new AbortController();
  const watching = (async () => {
    for await (const event of client.watch({ fromRevision: list.revision, signal: stop.signal })) {
      seen.push(event.kind === "bookmark" ? "bookmark" : event.type);
      if (seen.length === 2) break;
    }
  })();
  await client.stopVm("web");
  backend.emit({ kind: "bookmark", revision: as<LogIndex>(backend.revision) });
  await watching;
  assert.deepEqual(seen, ["modified", "bookmark"]);
  assert.equal((await client.startVm("web")).phase, "running");
  const session = await client.exec("web", { argv: ["echo", "hi"], env: { A: "b" } });
  const events = [];
  for await (const event of session.events) events.push(event);
  assert.deepEqual(events.at(-1), { kind: "exit", code: 0 });
  const out = events[0];
  assert.ok(out?.kind === "stdout");
  assert.equal(new TextDecoder().decode(out.data), "echo hi\n");
  assert.equal((await client.deleteVm("web")).deleting, true);
  await assert.rejects(
    client.getVm("web"),
    (error) => error instanceof BlixardError && error.code === "NotFound" && error.exitCode === 3,
  );
  await client.removeNode("beta");
  assert.equal(backend.nodes.length, 1);
});
