/** What Debian's kernel has to show: that it boots to a shell, answers, and uses the disk. */

import { assert, fail } from "@blixard/std";
import { mkdtemp, open, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GuestConsole, type Moment } from "./boot.ts";
import type { DebianKernel } from "./build.ts";
import { CMDLINE, DISK_BYTES, MARK, MEMORY_BYTES } from "./recipe.ts";

export interface SessionOptions {
  readonly kernel: DebianKernel;
  readonly timeoutMs: number;
  readonly onOutput?: (text: string) => void;
  /** Called after each check. */
  readonly onCheck?: (what: string) => void;
}

export interface SessionResult {
  readonly init: Moment;
  readonly shell: Moment;
  /** At power-off. */
  readonly end: Moment;
  readonly checks: readonly string[];
}

const WRITTEN = "written-by-debian";
const WRITTEN_AT_BLOCK = 8000;
const BLOCK_BYTES = 1024;

/** The console, when the session failed. */
export class SessionFailed extends Error {
  readonly tail: string;

  constructor(cause: unknown, tail: string) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.tail = tail;
  }
}

/** Boots, types, powers off. Errors: SessionFailed; those of the host's files as they are. */
export async function runSession(options: SessionOptions): Promise<SessionResult> {
  const folder = await mkdtemp(join(tmpdir(), "blixard-debian-"));
  try {
    const disk = join(folder, "disk");
    await writeFile(disk, "");
    await truncate(disk, DISK_BYTES);
    const { kernel, timeoutMs, onOutput } = options;
    await using guest = await GuestConsole.start({
      kernel: kernel.image,
      initrd: kernel.initrd,
      cmdline: CMDLINE,
      memoryBytes: MEMORY_BYTES,
      disk,
      timeoutMs,
      ...(onOutput === undefined ? {} : { onOutput }),
    });
    try {
      return await converse(guest, disk, options);
    } catch (caught) {
      throw new SessionFailed(caught, guest.tail());
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Answers differ from what is typed, as the terminal echoes that. */
async function converse(
  guest: GuestConsole,
  disk: string,
  { kernel, onCheck }: SessionOptions,
): Promise<SessionResult> {
  const checks: string[] = [];
  const passed = (what: string): void => {
    checks.push(what);
    onCheck?.(what);
  };
  const init = await guest.waitFor("the first line of init", new RegExp(MARK.init));
  passed("init runs");
  const shell = await guest.waitFor("the shell's prompt", new RegExp(MARK.prompt));
  passed("the shell prompts");
  await guest.type("echo answer=$((6*7))", /answer=42\s/);
  passed("the shell computes");
  const uname = await guest.type("echo [$(uname -r)] $(uname -m)", /\[(\d[^\]]*)\] (\w+)/);
  expect("uname", [uname.match[1], uname.match[2]], [kernel.release, "riscv64"]);
  passed(`uname says ${kernel.release}`);
  const loaded = await guest.type("echo [$(cut -d' ' -f1 /proc/modules)]", /\[(\w[^\]$]*)\]/);
  const names = (loaded.match[1] ?? "").split(/\s+/).toSorted();
  expect("/proc/modules", names, [...kernel.modules].toSorted());
  passed(`modules loaded: ${kernel.modules.join(", ")}`);
  const sectors = await guest.type("echo size=$(cat /sys/block/vda/size)", /size=(\d+)/);
  expect("sectors of /dev/vda", [sectors.match[1]], [String(DISK_BYTES / 512)]);
  passed("/dev/vda is there");
  await fileSystem(guest);
  passed("ext4 keeps a file on /dev/vda");
  const dd = `dd of=/dev/vda bs=${BLOCK_BYTES} seek=${WRITTEN_AT_BLOCK} conv=fsync,notrunc`;
  const written = await guest.type(
    `printf ${WRITTEN} | ${dd} 2>/dev/null; echo code=$?`,
    /code=(\d+)/,
  );
  expect("dd's exit code", [written.match[1]], ["0"]);
  expect("the disk's file", [await readAt(disk)], [WRITTEN]);
  passed("a written block is in the host's file");
  const end = await guest.powerOff("poweroff -f");
  passed("it powers off");
  return { init: init.moment, shell: shell.moment, end, checks };
}

async function fileSystem(guest: GuestConsole): Promise<void> {
  const commands = [
    "mke2fs /dev/vda >/dev/null",
    "mount -t ext4 /dev/vda /mnt",
    "seq 1000 > /mnt/file",
    "umount /mnt",
    "echo 3 > /proc/sys/vm/drop_caches",
    "mount -t ext4 -o ro /dev/vda /mnt",
    "cat /proc/mounts /mnt/file | grep -cE 'ext4|^[0-9]+$'",
    "umount /mnt",
  ];
  const line = `n=$(${commands.join(" && ")}); echo lines=$n code=$?`;
  // 1000 lines of the file and one of the mount.
  const done = await guest.type(line, /lines=(\d*) code=(\d+)/);
  expect("lines and exit code", done.match.slice(1), ["1001", "0"]);
}

async function readAt(disk: string): Promise<string> {
  const file = await open(disk);
  try {
    const bytes = Buffer.alloc(WRITTEN.length);
    await file.read(bytes, 0, bytes.length, WRITTEN_AT_BLOCK * BLOCK_BYTES);
    return bytes.toString("latin1");
  } finally {
    await file.close();
  }
}

function expect(
  what: string,
  actual: readonly (string | undefined)[],
  wanted: readonly string[],
): void {
  assert(wanted.length > 0, "something is wanted");
  if (JSON.stringify(actual) === JSON.stringify(wanted)) return;
  const reason = `${what}: expected ${wanted.join(" ")}, found ${actual.join(" ")}`;
  fail("Internal", { reason }, `Not what Debian's kernel should say: ${reason}`);
}
