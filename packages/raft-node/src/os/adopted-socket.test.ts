/** What is read into one buffer comes out as it came in, and its server knows when it is gone. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { adoptSocket } from "./adopted-socket.ts";

test("an adopted socket reads, writes, waits while paused, and lets its server close", async () => {
  const server = createServer({ pauseOnConnect: true }, (accepted) => {
    const socket = adoptSocket(accepted);
    const kept: Buffer[] = [];
    let bytes = 0;
    socket.on("data", (chunk: Buffer) => {
      // Kept beyond the callback: the buffer behind it is read into again.
      kept.push(chunk);
      bytes += chunk.length;
      socket.pause();
      setImmediate(() => socket.resume());
      if (bytes === SENT.length) socket.end(Buffer.concat(kept));
    });
    socket.on("error", () => socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // Safe: it listens on a port.
  const { port } = server.address() as AddressInfo;
  const client = connect({ host: "127.0.0.1", port });
  const got: Buffer[] = [];
  client.on("data", (chunk: Buffer) => void got.push(chunk));
  client.write(SENT);
  await once(client, "end");
  assert.ok(Buffer.concat(got).equals(SENT));
  await new Promise((resolve) => void server.close(resolve));
});

const SENT = Buffer.alloc(400_000);
for (let i = 0; i < SENT.length; i++) SENT[i] = (i * 31 + (i >>> 8)) & 255;
