import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { BlixardError } from "@blixard/std";
import { QmpClient } from "./qmp.ts";

let folder = "";
let server: Server;
const peers: ((socket: Socket) => void)[] = [];
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "blx-qmp-"));
  server = createServer((socket) => peers.shift()?.(socket));
  await new Promise<void>((resolve) => server.listen(join(folder, "q"), resolve));
});
after(async () => {
  server.close();
  await rm(folder, { recursive: true, force: true });
});

interface Pair {
  readonly client: QmpClient;
  readonly qemu: Socket;
  readonly events: string[];
}

async function pair(): Promise<Pair> {
  const accepted = new Promise<Socket>((resolve) => peers.push(resolve));
  const socket = connect(join(folder, "q"));
  socket.on("error", () => socket.destroy());
  const events: string[] = [];
  const client = new QmpClient(socket, (name, data) => events.push(name + JSON.stringify(data)));
  const qemu = await accepted;
  qemu.on("error", () => qemu.destroy());
  return { client, qemu, events };
}

const failed = (message: RegExp) => (error: unknown) =>
  error instanceof BlixardError && error.code === "DriverFailed" && message.test(error.message);

/** Answers each command with `answer(command)`, whose id is added. */
function answering(qemu: Socket, answer: (command: string) => object): void {
  qemu.on("data", (chunk: Buffer) => {
    for (const line of chunk.toString().trim().split("\n")) {
      // Safe: our own client wrote it.
      const { execute, id } = JSON.parse(line) as { execute: string; id: number };
      qemu.write(`${JSON.stringify({ ...answer(execute), id })}\r\n`);
    }
  });
}

test("negotiates, answers in order, reports events in between", async () => {
  const { client, qemu, events } = await pair();
  answering(qemu, (command) =>
    command === "bad" ? { error: { class: "GenericError", desc: "no such thing" } } : { return: 7 },
  );
  qemu.write('{"QMP": {"version": {}}}\r\n');
  await client.negotiate();
  qemu.write('{"event": "SHUTDOWN", "data": {"reason": "guest-shutdown"}, "timestamp": {}}\r\n');
  assert.equal(await client.execute("cont"), 7);
  await assert.rejects(client.execute("bad"), failed(/no such thing/));
  assert.deepEqual(events, ['SHUTDOWN{"reason":"guest-shutdown"}']);
  qemu.destroy();
});

test("a QEMU that goes away fails what waits and what comes later", async () => {
  const { client, qemu } = await pair();
  const waiting = client.execute("cont");
  qemu.destroy();
  await assert.rejects(waiting, failed(/closed/));
  await assert.rejects(client.execute("cont"), failed(/closed/));
});

test("what is no JSON ends the conversation", async () => {
  const { client, qemu } = await pair();
  qemu.write("hello\n");
  await assert.rejects(client.negotiate(), failed(/protocol/));
  qemu.destroy();
});
