import assert from "node:assert/strict";
import { createServer, type RequestListener, type Server } from "node:http";
import { after, test } from "node:test";
import { as, BlixardError, type LogIndex, type NodeId } from "@blixard/std";
import { createClient, type Client, type WatchEvent } from "../index.ts";
import { fakeNode } from "../testing/fake-backend.ts";
import { startHarness, TOKEN, until } from "../testing/harness.ts";

const servers: Server[] = [];
after(() => {
  for (const server of servers) server.close();
});

/** A server that is not Blixard, or misbehaves as told. */
async function strange(listener: RequestListener): Promise<Client> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  servers.push(server);
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return createClient({ endpoint: `http://127.0.0.1:${address.port}`, token: TOKEN });
}

const isCode = (code: string) => (error: unknown) =>
  error instanceof BlixardError && error.code === code;

test("nobody listening is Unavailable and names the command to start with", async () => {
  for (const endpoint of ["http://127.0.0.1:1", "unix:/nonexistent/api.sock"]) {
    const client = createClient({ endpoint, token: TOKEN });
    for (const call of [
      client.status(),
      client.createTicket(),
      client.exec("a", { argv: ["b"], env: {} }),
    ]) {
      await assert.rejects(
        call,
        (error) =>
          error instanceof BlixardError &&
          error.code === "Unavailable" &&
          error.exitCode === 7 &&
          (error.failure.hint ?? "").includes("blixard node start"),
      );
    }
  }
});

test("endpoints of other kinds are refused by field", () => {
  for (const endpoint of ["", "unix:", "localhost:7447", "https://a", "http://a/b", "ftp://a"]) {
    assert.throws(() => createClient({ endpoint, token: "" }), isCode("InvalidArgument"), endpoint);
  }
});

test("a read that is cut is Unavailable; a write that is cut may have happened", async () => {
  const client = await strange((request) => request.socket.destroy());
  await assert.rejects(client.status(), isCode("Unavailable"));
  await assert.rejects(client.createVm({ name: "a", image: "b" }), isCode("OutcomeUnknown"));
  const silent = await strange(() => undefined);
  await assert.rejects(silent.status({ timeoutMs: 20 }), isCode("Unavailable"));
  await assert.rejects(silent.stopVm("a", { timeoutMs: 20 }), isCode("OutcomeUnknown"));
});

test("answers of something that is not a node are told as such", async () => {
  const html = await strange((_, response) => response.writeHead(502).end("<html>"));
  await assert.rejects(html.status(), /without a Blixard failure/);
  const text = await strange((_, response) => response.end("hello"));
  await assert.rejects(text.status(), isCode("Unavailable"));
  const odd = await strange((_, response) =>
    response.writeHead(404).end('{"error":{"code":"Invented","message":"","data":{}}}'),
  );
  await assert.rejects(odd.status(), isCode("Unavailable"));
});

test("a watch resumes over a lost connection and neither loses nor repeats events", async () => {
  const h = await startHarness();
  const seen: string[] = [];
  const stop = new AbortController();
  const fromRevision = as<LogIndex>(h.backend.revision);
  const node = fakeNode("gamma", 3);
  const emit = (revision: number, name: string): void => {
    const object = { ...node, id: as<NodeId>(name.padStart(32, "0")), name };
    const event: WatchEvent = {
      kind: "node",
      type: "added",
      revision: as<LogIndex>(revision),
      object,
    };
    h.backend.emit(event);
  };
  const watching = (async () => {
    for await (const event of h.client.watch({ fromRevision, signal: stop.signal })) {
      seen.push(
        event.kind === "bookmark"
          ? `bookmark ${event.revision}`
          : `${event.revision} ${"name" in event.object ? event.object.name : ""}`,
      );
    }
  })();
  emit(20, "a");
  await until("the first event", () => seen.length === 1);
  // The connection dies in the middle of revision 20, which has one more event.
  const original = h.backend.watch.bind(h.backend);
  const starts: (number | undefined)[] = [];
  h.backend.watch = (call, options) => {
    starts.push(options.fromRevision);
    return original(call, options);
  };
  h.backend.endWatches();
  emit(20, "b");
  emit(21, "c");
  await until("all events", () => seen.length === 3);
  h.backend.emit({ kind: "bookmark", revision: as<LogIndex>(30) });
  await until("the bookmark", () => seen.length === 4);
  assert.deepEqual(seen, ["20 a", "20 b", "21 c", "bookmark 30"]);
  assert.deepEqual(starts, [19], "one revision back, as 20 may have been incomplete");
  h.backend.endWatches();
  emit(31, "d");
  await until("the last event", () => seen.length === 5);
  assert.deepEqual(starts, [19, 30], "a bookmark is complete");
  stop.abort();
  await watching;
  await h.close();
});

test("waiting sees changes, gives up in time, and stops when told", async () => {
  const h = await startHarness();
  h.backend.startsAs = "starting";
  const vm = await h.client.createVm({ name: "web", image: "base" });
  const waiting = h.client.waitForVm("web", (now) => now?.phase === "running");
  await until("the watch is open", () => h.backend.watchers === 1);
  h.backend.put({ ...vm, phase: "running" }, "modified");
  assert.equal((await waiting)?.phase, "running");

  const gone = h.client.waitForVm("web", (now) => now === undefined);
  await until("the watch is open", () => h.backend.watchers === 1);
  await h.client.deleteVm(vm.id);
  assert.equal(await gone, undefined);
  assert.equal(await h.client.waitForVm("web", (now) => now === undefined), undefined);
  await assert.rejects(
    h.client.waitForVm("web", (now) => now !== undefined),
    isCode("NotFound"),
  );

  await h.client.createVm({ name: "slow", image: "base" });
  const never = h.client.waitForVm("slow", () => false, { timeoutMs: 20 });
  await assert.rejects(never, isCode("TimedOut"));
  const stop = new AbortController();
  const stopped = h.client.waitForVm("slow", () => false, { signal: stop.signal });
  stop.abort(new Error("enough"));
  await assert.rejects(stopped);
  await h.close();
});
