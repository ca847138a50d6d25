import assert from "node:assert/strict";
import {
  appendFile,
  mkdir,
  mkdtemp,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { as, concat, type Epoch, present, toHex, utf8 } from "@blixard/std";
import fc from "fast-check";
import { LIMITS } from "../limits.ts";
import {
  decodeHeader,
  decodeRecord,
  encodeHeader,
  encodeRecord,
  HEADER_BYTES,
  listSegments,
} from "./format.ts";
import { ConsoleCursor, readStampedConsole, type StampedLine } from "./reader.ts";
import { ConsoleWriter } from "./writer.ts";

const epoch = (value: number): Epoch => as<Epoch>(value);
let parent = "";
let number = 0;
before(async () => {
  parent = await mkdtemp(join(tmpdir(), "blx-console-"));
});
after(async () => {
  await rm(parent, { recursive: true, force: true });
});

async function fresh(): Promise<string> {
  const folder = join(parent, String(number++));
  await mkdir(folder);
  return folder;
}

async function textFrom(folder: string, from = 0): Promise<string> {
  let text = "";
  for await (const { offset, payload } of new ConsoleCursor(folder, from).read()) {
    text += Buffer.from(payload)
      .toString("latin1")
      .slice(Math.max(0, from - offset));
  }
  return text;
}

async function lines(folder: string): Promise<StampedLine[]> {
  const out: StampedLine[] = [];
  for await (const line of readStampedConsole(folder)) out.push(line);
  return out;
}

test("version 1 is read for ever, and written as it is", async () => {
  const path = new URL("../testdata/console-v1.hex", import.meta.url);
  const golden = (await readFile(path, "utf8")).trim();
  const written = concat([
    encodeHeader(4096),
    encodeRecord(epoch(3), 1234.567, utf8("hello\r\n")),
    encodeRecord(epoch(4), 99_999_999.001, new Uint8Array([0, 255])),
  ]);
  assert.equal(toHex(written), golden);
  assert.equal(decodeHeader(written), 4096);
  const first = present(decodeRecord(written, HEADER_BYTES, 4096), "record");
  assert.deepEqual(first, {
    epoch: 3,
    monotonicMs: 1234.567,
    offset: 4096,
    payload: utf8("hello\r\n"),
  });
});

test("lines carry epoch and time of their end; unfinished ones are marked", async () => {
  const folder = await fresh();
  const first = await ConsoleWriter.open({ folder });
  first.append(epoch(1), 10.5, utf8("one\r\ntw"));
  first.append(epoch(1), 11.25, utf8("o\nthr"));
  await first.close();
  const second = await ConsoleWriter.open({ folder });
  second.append(epoch(2), 20, Uint8Array.from([0xff, 10]));
  second.append(epoch(2), 21, utf8("end"));
  await second.close();
  assert.deepEqual(await lines(folder), [
    { epoch: 1, monotonicMs: 10.5, line: "one", complete: true },
    { epoch: 1, monotonicMs: 11.25, line: "two", complete: true },
    { epoch: 1, monotonicMs: 11.25, line: "thr", complete: false },
    { epoch: 2, monotonicMs: 20, line: "\ufffd", complete: true },
    { epoch: 2, monotonicMs: 21, line: "end", complete: false },
  ]);
  assert.deepEqual(await lines(join(folder, "absent")), []);
});

test("rotation keeps two segments and absolute offsets", async () => {
  const folder = await fresh();
  const writer = await ConsoleWriter.open({ folder, segmentBytes: 1000 });
  let whole = "";
  for (let i = 0; i < 200; i++) {
    const line = `line ${i}\n`;
    whole += line;
    writer.append(epoch(1), i, utf8(line));
    await writer.flush();
  }
  assert.equal(writer.writtenEnd, whole.length);
  const segments = await listSegments(folder);
  assert.equal(segments.length, LIMITS.consoleSegments);
  const oldest = present(segments[0], "segment").base;
  assert.ok(oldest > 0);
  assert.equal(await textFrom(folder, 0), whole.slice(oldest));
  for (const from of [oldest - 1, oldest, oldest + 3, whole.length - 1, whole.length]) {
    assert.equal(await textFrom(folder, from), whole.slice(Math.max(from, oldest)));
  }
  await writer.close();
  const again = await ConsoleWriter.open({ folder, segmentBytes: 1000 });
  assert.equal(again.writtenEnd, whole.length);
  await again.close();
});

test("a cursor that follows sees every byte once, over rotations", async () => {
  const folder = await fresh();
  const writer = await ConsoleWriter.open({ folder, segmentBytes: 500 });
  const cursor = new ConsoleCursor(folder);
  let seen = "";
  let whole = "";
  for (let i = 0; i < 100; i++) {
    const line = `line ${i}\n`;
    whole += line;
    writer.append(epoch(1), i, utf8(line));
    await writer.flush();
    if (i % 7 !== 0) continue;
    for await (const { payload } of cursor.read()) seen += Buffer.from(payload).toString();
  }
  for await (const { payload } of cursor.read()) seen += Buffer.from(payload).toString();
  assert.equal(seen, whole);
  await writer.close();
});

test("a crash anywhere in the last record loses that record and nothing else", async () => {
  const folder = await fresh();
  const writer = await ConsoleWriter.open({ folder });
  writer.append(epoch(1), 1, utf8("kept\n"));
  writer.append(epoch(1), 2, utf8("torn\n"));
  await writer.close();
  const path = join(folder, present((await listSegments(folder))[0], "segment").name);
  const { size } = await stat(path);
  const good = await readFile(path);
  const last = encodeRecord(epoch(1), 2, utf8("torn\n")).length;
  for (let cut = 1; cut <= last; cut++) {
    await writeFile(path, good);
    await truncate(path, size - cut);
    assert.equal(await textFrom(folder), "kept\n");
    const next = await ConsoleWriter.open({ folder });
    next.append(epoch(2), 3, utf8("new\n"));
    await next.close();
    assert.equal(await textFrom(folder), "kept\nnew\n");
  }
  await writeFile(path, good);
  await appendFile(path, new Uint8Array(100));
  assert.equal(await textFrom(folder), "kept\ntorn\n");
});

test("a segment without a whole header is made anew", async () => {
  const folder = await fresh();
  await writeFile(join(folder, "console-000000000000.log"), "BLX");
  const writer = await ConsoleWriter.open({ folder });
  writer.append(epoch(1), 1, utf8("x\n"));
  await writer.close();
  assert.equal(await textFrom(folder), "x\n");
});

test("what the disk refused is lost, and the log goes on behind it", async () => {
  const folder = await fresh();
  const writer = await ConsoleWriter.open({ folder, segmentBytes: 100 });
  writer.append(epoch(1), 1, new Uint8Array(100).fill(97));
  await writer.flush();
  // The next write must rotate, and cannot: something else has the new segment's name.
  const blocker = join(folder, "console-000000000064.log");
  await mkdir(blocker);
  writer.append(epoch(1), 2, utf8("lost\n"));
  await assert.rejects(writer.flush());
  assert.equal(writer.queuedBytes, 0);
  await rm(blocker, { recursive: true });
  writer.append(epoch(1), 3, utf8("\nfound\n"));
  await writer.close();
  assert.equal((await lines(folder)).at(-1)?.line, "found");
});

test("any output, in any pieces, is read back byte for byte", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 12 }),
      fc.nat({ max: 1000 }),
      async (pieces, from) => {
        const folder = await fresh();
        const writer = await ConsoleWriter.open({ folder });
        for (const [at, piece] of pieces.entries()) writer.append(epoch(1), at, piece);
        await writer.close();
        const whole = Buffer.from(concat(pieces)).toString("latin1");
        assert.equal(await textFrom(folder, from), whole.slice(from));
      },
    ),
    { seed: 3, numRuns: 30 },
  );
});
