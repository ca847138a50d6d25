/** A guest under QEMU for the tests of the image itself; drivers have their own way. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Guest {
  /** Connects to the agent's port; QEMU takes one connection at a time. */
  readonly connect: () => Promise<Socket>;
  readonly console: () => string;
  /** QEMU's exit code. */
  readonly exited: Promise<number | null>;
  readonly stop: () => Promise<void>;
}

export interface BootFiles {
  readonly kernel: string;
  readonly initrd: string;
  readonly cmdline: string;
}

/** A board of QEMU's, and how its virtio devices are called there. */
export interface Board {
  readonly program: string;
  readonly args: readonly string[];
  readonly virtio: "pci" | "device";
}

/** Under TCG: /dev/kvm may open and yet hang. */
export const Q35: Board = {
  program: "qemu-system-x86_64",
  args: ["-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "256M"],
  virtio: "pci",
};

/** The embedded machine's likeness: virtio-mmio, 16550, PLIC. */
export const RISCV_VIRT: Board = {
  program: "qemu-system-riscv64",
  args: ["-machine", "virt", "-smp", "1", "-m", "256M"],
  virtio: "device",
};

export async function bootGuest(image: BootFiles, board: Board = Q35): Promise<Guest> {
  const folder = await mkdtemp(join(tmpdir(), "blixard-guest-"));
  const path = join(folder, "agent");
  // QEMU reconnects by itself, so that a test may hang up and come back.
  const server = createServer();
  const waiting: ((socket: Socket) => void)[] = [];
  server.on("connection", (socket) => {
    const taker = waiting.shift();
    if (taker === undefined) socket.destroy();
    else taker(socket);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const connect = (): Promise<Socket> => new Promise((resolve) => waiting.push(resolve));
  const qemu = spawn(
    board.program,
    [
      ["-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"],
      board.args,
      ["-kernel", image.kernel, "-initrd", image.initrd],
      ["-append", `${image.cmdline} panic=-1`, "-serial", "stdio"],
      [
        "-chardev",
        `socket,id=agent,path=${path},reconnect=1`,
        "-device",
        `virtio-serial-${board.virtio}`,
      ],
      ["-device", "virtserialport,chardev=agent,name=blixard.agent.0"],
      ["-device", `virtio-rng-${board.virtio}`],
    ].flat(),
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  let output = "";
  qemu.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString("latin1");
  });
  qemu.stderr.on("data", (chunk: Buffer) => {
    output += chunk.toString("latin1");
  });
  const exited = new Promise<number | null>((resolve, reject) => {
    qemu.once("error", reject);
    qemu.once("close", (code) => resolve(code));
  });
  return {
    connect,
    console: () => output,
    exited,
    stop: async () => {
      qemu.kill("SIGKILL");
      await exited;
      server.close();
      await rm(folder, { recursive: true, force: true });
      assert.ok(!output.includes("Kernel panic"), output);
    },
  };
}
