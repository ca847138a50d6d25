/** A guest under QEMU for the tests of the image itself; drivers have their own way. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ImageRef } from "./build.ts";

export interface Guest {
  /** Connects to the agent's port; QEMU takes one connection at a time. */
  readonly connect: () => Promise<Socket>;
  readonly console: () => string;
  /** QEMU's exit code. */
  readonly exited: Promise<number | null>;
  readonly stop: () => Promise<void>;
}

/** Boots under TCG: /dev/kvm may open and yet hang. */
export async function bootGuest(image: ImageRef): Promise<Guest> {
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
    "qemu-system-x86_64",
    [
      ["-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"],
      ["-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "256M"],
      ["-kernel", image.kernel, "-initrd", image.initrd],
      ["-append", `${image.cmdline} panic=-1`, "-serial", "stdio"],
      ["-chardev", `socket,id=agent,path=${path},reconnect=1`, "-device", "virtio-serial-pci"],
      ["-device", "virtserialport,chardev=agent,name=blixard.agent.0"],
      ["-device", "virtio-rng-pci"],
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
