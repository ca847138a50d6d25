/**
 * What no protocol costs: three processes, the first of which gathers 256 values of 256 bytes, writes and
 * syncs them and sends them to the others over TCP, which write, sync and answer. A batch counts when
 * two of three have it. After the same warm-up as in embedded.ts.
 */

import { fdatasync, openSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { connect, createServer } from "node:net";
import { dirname, join } from "node:path";
import { until } from "../../e2e/cluster.ts";
import { readConfig } from "../../examples/kv/config.ts";

const BATCH = 256;
const BATCH_BYTES = BATCH * 256;
const WARM_UP_SECONDS = 1.5;
const FILE_BYTES = 64 * 1024 * 1024;
const [, file = "", id = ""] = process.argv.slice(2);
const seconds = Number(process.env["BLIXARD_BENCH_SECONDS"]);
const { members } = readConfig(file);
const fd = openSync(join(dirname(file), `loop-${id}`), "w+");
const zeroes = new Uint8Array(1024 * 1024);
for (let at = 0; at < FILE_BYTES; at += zeroes.length) writeSync(fd, zeroes, 0, zeroes.length, at);
let offset = 0;

function store(data: Uint8Array, done: () => void): void {
  offset = offset + BATCH_BYTES > FILE_BYTES - BATCH_BYTES ? 0 : offset + BATCH_BYTES;
  writeSync(fd, data, 0, data.length, offset);
  fdatasync(fd, (error) => {
    if (error !== null) throw error;
    done();
  });
}

function follow(port: number): void {
  createServer((socket) => {
    socket.setNoDelay(true);
    let parts: Buffer[] = [];
    let bytes = 0;
    socket.on("data", (chunk: Buffer) => {
      parts.push(chunk);
      bytes += chunk.length;
      if (bytes < BATCH_BYTES) return;
      const data = Buffer.concat(parts, BATCH_BYTES);
      parts = [];
      bytes -= BATCH_BYTES;
      store(data, () => socket.write(new Uint8Array(1)));
    });
    socket.on("error", () => socket.destroy());
  }).listen(port, "127.0.0.1");
}

async function lead(ports: readonly number[]): Promise<void> {
  const sockets = await Promise.all(
    ports.map((port) =>
      until("a follower", 30_000, () => {
        const socket = connect({ host: "127.0.0.1", port });
        return new Promise<typeof socket | undefined>((resolve) => {
          socket.once("connect", () => resolve(socket));
          socket.once("error", () => resolve(undefined));
        });
      }),
    ),
  );
  const batch = new Uint8Array(BATCH_BYTES).fill(7);
  let count = 0;
  let start = performance.now();
  let end = start + WARM_UP_SECONDS * 1000;
  let isWarm = false;
  const next = (): void => {
    if (!isWarm && performance.now() >= end) {
      isWarm = true;
      count = 0;
      start = performance.now();
      end = start + seconds * 1000;
    }
    if (performance.now() >= end) {
      const path = join(dirname(file), "result.json");
      const rate = (count / (performance.now() - start)) * 1000;
      writeFileSync(`${path}.tmp`, String(Math.round(rate)));
      renameSync(`${path}.tmp`, path);
      return;
    }
    let votes = 0;
    let answers = 0;
    const vote = (): void => {
      votes++;
      answers++;
      if (votes === 2) count += BATCH;
      // All three, so that nobody falls behind without bound.
      if (answers === 3) next();
    };
    for (const socket of sockets) {
      socket.write(batch);
      socket.once("data", vote);
    }
    store(batch, vote);
  };
  for (const socket of sockets) socket.setNoDelay(true);
  next();
}

const portOf = (member: { peers: string }): number => Number(member.peers.split(":")[1]);
const others = members.filter((member) => member.id !== 1);
const own = others.find((member) => member.id === Number(id));
if (own === undefined) await lead(others.map(portOf));
else follow(portOf(own));
