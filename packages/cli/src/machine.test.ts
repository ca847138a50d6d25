import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { FakeIo, type Ran, until } from "./testing/harness.ts";

const IMAGE = dirname(fileURLToPath(import.meta.resolve("@blixard/guest-riscv64/image.json")));
const LINUX_KERNEL = join(IMAGE, "vmlinuz");
const LINUX = [
  ["machine", "run", "--memory", "64M"],
  ["--kernel", join(IMAGE, "vmlinuz"), "--initrd", join(IMAGE, "initrd.img")],
  ["--append", "console=ttyS0 quiet panic=-1 rdinit=/bin/sh"],
].flat();

let folder = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "blx-machine-"));
});
after(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** A terminal: raw mode is remembered. */
class Terminal extends FakeIo {
  readonly raw: boolean[] = [];
  constructor() {
    super({});
    Object.assign(this.stdin, { isTTY: true, setRawMode: (raw: boolean) => this.raw.push(raw) });
  }
}

test("machine run: a shell on this terminal, typed into, left with ~.", async () => {
  const io = new Terminal();
  const ran = io.run(...LINUX);
  await until("a prompt", () => io.stdout.text.includes("~ # "));
  io.stdin.write("echo $((6*7)) ~/\n");
  await until("its answer", () => io.stdout.text.includes("\n42 "));
  io.stdin.write("\n~?");
  await until("help", () => /~\. {2}end the machine/.test(io.stderr.text));
  io.stdin.write("~.");
  const { code } = await ran;
  assert.equal(code, 0);
  assert.deepEqual(io.raw, [true, false]);
  assert.equal(io.listeners(), 0);
});

/** Pipes a line into the guest once its shell listens: a serial port forgets what came before. */
async function piped(line: string): Promise<Ran> {
  const io = new FakeIo({});
  const ran = io.run(...LINUX);
  await until("a prompt", () => io.stdout.text.includes("~ # "));
  io.stdin.end(line);
  return await ran;
}

test("machine run: a guest that powers off ends well, one that panics does not", async () => {
  assert.equal((await piped("poweroff -f\n")).code, 0);
  const { code, out, err } = await piped("exit\n");
  assert.equal(code, 9);
  assert.match(err, /kernel panicked: Attempted to kill init/);
  assert.match(out, /Kernel panic - not syncing/);
});

test("machine run: what cannot be booted says why; a signal ends what runs", async () => {
  const file = join(folder, "file");
  await writeFile(file, "no kernel");
  const run = (...args: string[]) => new FakeIo({}).run("machine", "run", ...args);
  assert.match((await run("--kernel", file)).err, /no riscv64 Image/);
  assert.equal((await run("--kernel", join(folder, "absent"))).code, 3);
  assert.match((await run("--kernel", file, "--disk", file)).err, /sectors/);
  for (const memory of ["2G", "63M"]) {
    assert.match((await run("--kernel", file, "--memory", memory)).err, /64M to 1792M/);
  }
  const noDisk = await run("--kernel", LINUX_KERNEL, "--disk", join(folder, "absent"));
  assert.deepEqual([noDisk.code, /truncate -s 1G/.test(noDisk.err)], [3, true], noDisk.err);
  const seven = Array.from({ length: 7 }, () => ["--disk", file]).flat();
  assert.match((await run("--kernel", LINUX_KERNEL, ...seven)).err, /7 are more than 6/);
  const noImage = await run("--kernel", file, "--initrd", join(folder, "absent"));
  assert.match(noImage.err, /no initrd/);
  await writeFile(join(folder, "broken.gz"), Buffer.from("1f8b0800deadbeef", "hex"));
  const broken = await run("--kernel", join(folder, "broken.gz"));
  assert.deepEqual([broken.code, /broken gzip/.test(broken.err)], [2, true], broken.err);
  assert.match((await run("--kernel", folder)).err, /Cannot read the kernel .*it is a folder/);
  const io = new FakeIo({});
  const ran = io.run(...LINUX);
  await until("it listens", () => io.listeners() > 0);
  io.send("SIGINT");
  assert.equal((await ran).code, 130);
});

test("machine detect: each driver was tried; the embedded one works here", async () => {
  const { code, out } = await new FakeIo({}).run("machine", "detect", "-o", "json");
  assert.equal(code, 0);
  // Safe: the command's own JSON, looked at field by field.
  const found = JSON.parse(out) as { name: string; available: boolean; accel?: string }[];
  assert.deepEqual(
    found.map(({ name }) => name),
    ["embedded", "qemu"],
  );
  assert.deepEqual(found[0], { ...found[0], available: true, accel: "wasm" });
});

test("machine run: disks are seen in order, one is read-only, one begins an overlay; one writer each", async () => {
  const [raw, overlay] = [join(folder, "raw.img"), join(folder, "mine.overlay")];
  await writeFile(raw, Buffer.alloc(65_536, "raw"));
  const disks = ["--disk", `${raw},overlay=${overlay}`, "--disk", `${raw},ro`, "--cpus", "1"];
  const io = new FakeIo({});
  const ran = io.run(...LINUX, ...disks);
  await until("a prompt", () => io.stdout.text.includes("~ # "));
  const second = await new FakeIo({}).run(...LINUX, ...disks);
  assert.deepEqual([second.code, /another machine/.test(second.err)], [4, true], second.err);
  io.stdin.write(
    "mount -t devtmpfs d /dev; mount -t sysfs s /sys; cat /sys/block/vd?/ro; echo over > /dev/vda; sync\n",
  );
  io.stdin.write("head -c 5 /dev/vdb; echo no > /dev/vdb; poweroff -f\n");
  assert.equal((await ran).code, 0);
  assert.match(io.stdout.text, /\n0\r?\n1\r?\n/);
  assert.match(io.stdout.text, /rawra/);
  assert.equal((await readFile(raw)).subarray(0, 6).toString(), "rawraw");
  assert.ok((await readFile(overlay)).includes("over\n"));
});
