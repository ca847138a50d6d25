import assert from "node:assert/strict";
import { request, type IncomingMessage } from "node:http";
import { after, before, test } from "node:test";
import { as, BlixardError, fail, type LogIndex } from "@blixard/std";
import type { WatchEvent } from "../backend.ts";
import { EventParser, type ServerSentEvent } from "../wire/sse.ts";
import { raw, startHarness, TOKEN, until, type Harness } from "../testing/harness.ts";

let h: Harness;
before(async () => {
  h = await startHarness({ heartbeatMs: 20 });
  for (const name of ["a", "b", "c"]) await h.client.createVm({ name, image: "base" });
});
after(() => h.close());

function openStream(path: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  const [host = "", port = ""] = h.address.split(":");
  return new Promise((resolve, reject) => {
    const auth = { authorization: `Bearer ${TOKEN}` };
    request({ host, port, path, agent: false, headers: { ...auth, ...headers } }, resolve)
      .on("error", reject)
      .end();
  });
}

/** Reads `count` events as they were sent, then leaves. */
async function take(stream: IncomingMessage, count: number): Promise<ServerSentEvent[]> {
  const parser = new EventParser(1_000_000);
  const out: ServerSentEvent[] = [];
  for await (const chunk of stream) {
    out.push(...parser.push(String(chunk)));
    if (out.length >= count) break;
  }
  return out;
}

test("events carry revision, name and object", async () => {
  const stream = await openStream("/v1/watch?fromRevision=10");
  assert.equal(stream.headers["content-type"], "text/event-stream");
  const events = await take(stream, 3);
  assert.deepEqual(
    events.map(({ id, event }) => [id, event]),
    [
      ["11", "added"],
      ["12", "added"],
      ["13", "added"],
    ],
  );
  const first: unknown = JSON.parse(events[0]?.data ?? "");
  assert.deepEqual(first, h.backend.history[0]);
});

test("fromRevision begins just after; Last-Event-ID repeats the revision it names", async () => {
  const after12 = await take(await openStream("/v1/watch?fromRevision=12"), 1);
  assert.equal(after12[0]?.id, "13");
  const from12 = await take(await openStream("/v1/watch", { "last-event-id": "12" }), 2);
  assert.deepEqual(
    from12.map(({ id }) => id),
    ["12", "13"],
  );
  const bad = await raw(h.address, "GET", "/v1/watch", { headers: { "last-event-id": "x" } });
  assert.equal(bad.status, 400);
});

test("a start that is no longer kept answers 410 before the stream begins", async () => {
  h.backend.compactedBefore = 12;
  const answer = await raw(h.address, "GET", "/v1/watch?fromRevision=11");
  assert.equal(answer.status, 410);
  assert.match(answer.text, /"code":"Compacted","data":\{"requested":11,"oldest":12\}/);
  const watching = h.client.watch({ fromRevision: as<LogIndex>(3) });
  await assert.rejects(
    async () => {
      for await (const _ of watching) assert.fail("nothing can come");
    },
    (error) => error instanceof BlixardError && error.code === "Compacted" && error.exitCode === 4,
  );
  h.backend.compactedBefore = 0;
});

test("an idle stream has heartbeats, and a client that leaves ends the backend's watch", async () => {
  const stream = await openStream("/v1/watch");
  const [chunk]: [Buffer] = await new Promise((resolve) =>
    stream.once("data", (data: Buffer) => resolve([data])),
  );
  assert.equal(chunk.toString(), ": heartbeat\n\n");
  assert.equal(h.backend.watchers, 1);
  stream.destroy();
  await until("the watch ends", () => h.backend.watchers === 0);
});

test("a watch that fails midway tells why in the stream", async () => {
  const original = h.backend.watch.bind(h.backend);
  h.backend.watch = async () =>
    (async function* broken(): AsyncGenerator<WatchEvent> {
      yield { kind: "bookmark", revision: as<LogIndex>(13) };
      fail("Compacted", { requested: 1, oldest: 9 }, "Too slow.");
    })();
  const events = await take(await openStream("/v1/watch"), 2);
  assert.equal(events[1]?.event, "error");
  assert.match(events[1]?.data ?? "", /"code":"Compacted"/);
  const watching = async (): Promise<void> => {
    for await (const event of h.client.watch()) assert.equal(event.kind, "bookmark");
  };
  await assert.rejects(watching, /Too slow/);
  h.backend.watch = original;
});

test("a slow reader holds the backend back instead of filling memory", async () => {
  const original = h.backend.logs.bind(h.backend);
  let produced = 0;
  const total = 64;
  h.backend.logs = async () =>
    (async function* flood() {
      for (; produced < total; produced++) yield new Uint8Array(1_048_576);
    })();
  const stream = await openStream("/v1/vms/a/logs");
  // Nothing is read: what fits in the sockets' buffers is a few MiB at most.
  let last = -1;
  await until("production stalls", () => {
    const stalled = produced > 0 && produced === last;
    last = produced;
    return stalled;
  });
  for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(produced < total, `${produced} MiB were produced for a reader that read nothing`);
  let size = 0;
  for await (const chunk of stream) size += Buffer.from(chunk).length;
  assert.equal(size, total * 1_048_576);
  h.backend.logs = original;
});

test("logs that fail midway are cut, and the client does not take that for the end", async () => {
  const original = h.backend.logs.bind(h.backend);
  h.backend.logs = async () =>
    (async function* broken() {
      yield new TextEncoder().encode("half");
      fail("GuestUnreachable", { vm: "a", reason: "gone" }, "Gone.");
    })();
  await assert.rejects(
    async () => {
      for await (const chunk of h.client.logs("a")) assert.equal(chunk.length, 4);
    },
    (error) => error instanceof BlixardError && error.code === "Unavailable",
  );
  h.backend.logs = original;
});

test("following logs end when the caller aborts", async () => {
  const stop = new AbortController();
  let text = "";
  for await (const chunk of h.client.logs("b", { follow: true, signal: stop.signal })) {
    text += new TextDecoder().decode(chunk);
    if (text.includes("following")) stop.abort();
  }
  assert.equal(text, "booting\nlogin:\nfollowing b\n");
});
