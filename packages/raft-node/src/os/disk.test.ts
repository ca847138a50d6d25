import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

import { as, BlixardError, Prng } from "@blixard/std";
import type { DiskCompletion, DiskOp, IoToken, PeerId } from "@blixard/std";

import { RaftNode } from "../driver/raft-node.ts";
import { ListMachine } from "../testing/cluster.ts";
import type { RaftNodeEvent } from "../types.ts";
import { createOsDisk } from "./disk.ts";
import type { OsDisk } from "./disk.ts";

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "blixard-disk-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

type Outcome = DiskCompletion["result"];

/** A disk whose operations can be awaited, and the order of its completions. */
async function open(dir: string): Promise<{
  disk: OsDisk;
  run: (...ops: DiskOp[]) => Promise<Outcome[]>;
  order: IoToken[];
}> {
  const waiting = new Map<IoToken, (result: Outcome) => void>();
  const order: IoToken[] = [];
  const disk = await createOsDisk(dir, ({ token, result }) => {
    order.push(token);
    waiting.get(token)?.(result);
  });
  const run = async (...ops: DiskOp[]): Promise<Outcome[]> =>
    await Promise.all(
      ops.map(
        async (op) =>
          await new Promise<Outcome>((resolve) => {
            waiting.set(disk.submit(op), resolve);
          }),
      ),
    );
  return { disk, run, order };
}

function codeOf(outcome: Outcome | undefined): string {
  return outcome?.ok === false ? outcome.error.code : "ok";
}

test("operations do what the port says", async (t) => {
  const { disk, run } = await open(folder(t));
  const data = new Uint8Array([1, 2, 3]);
  assert.deepEqual(await run({ kind: "list", dir: "a/b" }), [
    { ok: true, value: { kind: "names", names: [] } },
  ]);
  const results = await run(
    { kind: "create", path: "a/b/f", sizeBytes: 10 },
    { kind: "write", path: "a/b/f", offset: 12, data },
    { kind: "sync", path: "a/b/f" },
    { kind: "size", path: "a/b/f" },
    { kind: "read", path: "a/b/f", offset: 10, length: 100 },
    { kind: "truncate", path: "a/b/f", sizeBytes: 13 },
    { kind: "read", path: "a/b/f", offset: 12, length: 100 },
    { kind: "syncDir", dir: "a/b" },
    { kind: "rename", from: "a/b/f", to: "a/b/g" },
    { kind: "read", path: "a/b/g", offset: 12, length: 1 },
    { kind: "create", path: "a/b/g", sizeBytes: 0 },
    { kind: "read", path: "a/b/f", offset: 0, length: 1 },
  );
  assert.deepEqual(results.map(codeOf), [
    ...Array.from({ length: 10 }, () => "ok"),
    "Exists",
    "NotFound",
  ]);
  assert.deepEqual(results[3], { ok: true, value: { kind: "size", sizeBytes: 15 } });
  assert.deepEqual(results[4], {
    ok: true,
    value: { kind: "bytes", bytes: new Uint8Array([0, 0, 1, 2, 3]) },
  });
  assert.deepEqual(results[6], { ok: true, value: { kind: "bytes", bytes: new Uint8Array([1]) } });
  assert.deepEqual(await run({ kind: "list", dir: "a/b" }), [
    { ok: true, value: { kind: "names", names: ["g"] } },
  ]);
  assert.deepEqual((await run({ kind: "remove", path: "a/b/g" })).map(codeOf), ["ok"]);
  assert.deepEqual((await run({ kind: "remove", path: "a/b/g" })).map(codeOf), ["NotFound"]);
  assert.throws(() => disk.submit({ kind: "size", path: "../x" }), /below the root/);
  assert.throws(() => disk.submit({ kind: "size", path: "/etc/hosts" }), /below the root/);
  await disk.close();
});

test("operations on one path keep their order, over more files than are held open", async (t) => {
  const { disk, run, order } = await open(folder(t));
  const random = new Prng(1);
  const ops: DiskOp[] = [];
  for (let file = 0; file < 40; file++) {
    ops.push({ kind: "create", path: `f${file}`, sizeBytes: 0 });
  }
  const tokens = new Map<string, number[]>();
  for (let i = 0; i < 400; i++) {
    const path = `f${random.below(40)}`;
    const data = new TextEncoder().encode(String(i).padStart(4));
    ops.push({ kind: "write", path, offset: 0, data });
    tokens.set(path, [...(tokens.get(path) ?? []), i + 41]);
  }
  for (const result of await run(...ops)) assert(result.ok);
  for (const [path, expected] of tokens) {
    const seen = order.map(Number).filter((token) => expected.includes(token));
    assert.deepEqual(seen, expected);
    const [read] = await run({ kind: "read", path, offset: 0, length: 4 });
    const bytes = read?.ok === true && read.value.kind === "bytes" ? read.value.bytes : undefined;
    assert.equal(Number(new TextDecoder().decode(bytes)), (expected.at(-1) ?? 0) - 41);
  }
  await disk.close();
});

test("one process a folder: a second opener is refused, a dead holder is not in the way", async (t) => {
  const dir = folder(t);
  const { disk } = await open(dir);
  await assert.rejects(
    createOsDisk(dir, () => undefined),
    (caught: unknown) => {
      assert(caught instanceof BlixardError);
      assert.equal(caught.code, "Conflict");
      assert.match(caught.message, new RegExp(`process ${process.pid}`));
      return true;
    },
  );
  await disk.close();
  assert.deepEqual(readdirSync(dir), []);
  for (const stale of [`${2 ** 22 + 7} x/1\n`, `${process.pid} another-boot/77\n`, "", "junk"]) {
    writeFileSync(join(dir, "LOCK"), stale);
    const again = await createOsDisk(dir, () => undefined);
    assert.match(readFileSync(join(dir, "LOCK"), "utf8"), new RegExp(`^${process.pid} `));
    await again.close();
    assert.deepEqual(readdirSync(dir), []);
  }
});

test("kill -9 of a writing process: everything it acknowledged is there", async (t) => {
  const dir = folder(t);
  const script = fileURLToPath(new URL("../testing/writer-child.ts", import.meta.url));
  const notes = join(folder(t), "acknowledged");
  writeFileSync(notes, "");
  const noted = (): number => {
    const text = readFileSync(notes, "utf8");
    return Number(
      text
        .slice(0, Math.max(0, text.lastIndexOf("\n")))
        .split("\n")
        .at(-1),
    );
  };
  for (let round = 0; round < 4; round++) {
    const wanted = noted() + 150 * (round + 1);
    const args = ["--conditions=source", script, dir, notes];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
    const ended = new Promise<void>((resolve) => void child.on("close", () => resolve()));
    const deadlineMs = performance.now() + 60_000;
    while (noted() < wanted && child.exitCode === null && performance.now() < deadlineMs) {
      await new Promise((resolve) => void setTimeout(resolve, 2));
    }
    child.kill("SIGKILL");
    await ended;
    const acknowledged = noted();
    assert(acknowledged >= wanted, `the child ended early, at ${acknowledged}`);
    const items = await itemsAfterRestart(dir);
    assert(items.length >= acknowledged, `${items.length} of ${acknowledged} are there`);
    // Proposals in flight may have been committed, too; eight are at most.
    assert(items.length <= acknowledged + 8);
  }
});

async function itemsAfterRestart(dir: string): Promise<string[]> {
  const machine = new ListMachine();
  const events: RaftNodeEvent[] = [];
  let node: RaftNode<number> | undefined;
  const disk = await createOsDisk(dir, (completion) => node?.input({ kind: "disk", completion }));
  const clock = { monotonicMs: () => 0, bootMs: () => 0, wallMs: () => 0 };
  const read = new Promise<void>((resolve, reject) => {
    node = new RaftNode<number>(
      {
        id: as<PeerId>(1),
        dir: "raft",
        tickMs: 10,
        electionTicks: 10,
        heartbeatTicks: 2,
        segmentBytes: 64 * 1024,
        snapshotEveryBytes: 1 << 30,
        snapshotEveryEntries: 1 << 30,
        maxProposalBytes: 4096,
        maxPendingProposals: 100,
      },
      {
        disk,
        network: { send: () => false },
        clock,
        random: new Prng(1),
        machine,
        onEvent: (event) => {
          events.push(event);
          if (event.kind === "fatal") reject(new Error(event.reason));
          if (event.kind !== "recovered") return;
          node?.readIndex(1e9, (result) => {
            if (result.ok) resolve();
            else reject(new Error(JSON.stringify(result.error)));
          });
        },
      },
    );
    node.start();
  });
  await read;
  await new Promise<void>((resolve) => node?.stop(resolve));
  await disk.close();
  return machine.items;
}
