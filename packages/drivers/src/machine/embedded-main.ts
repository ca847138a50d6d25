/**
 * The embedded machine's process: its configuration on the control socket, then the guest until its end.
 * It looks at the lease's deadline itself, and ends when the control socket does.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { flushCompileCache } from "node:module";
import { Socket } from "node:net";
import { hostClock } from "@blixard/host";
import { toBlixardError } from "@blixard/std";
import { LIMITS } from "../limits.ts";
import { Deadline } from "../supervisor/deadline.ts";
import { AGENT_FD, CONSOLE_FD, CONTROL_FD } from "./child.ts";
import { EmbeddedGuest, type GuestDisk, type GuestEnd } from "./embedded-guest.ts";
import { loadImage } from "./embedded-image.ts";
import {
  decodeEmbeddedConfig,
  decodeOrder,
  type EmbeddedOrder,
  type EmbeddedWord,
  encodeLine,
  Lines,
} from "./embedded-wire.ts";
import { readRegions, writeRegions } from "./embedded-regions.ts";
import { closeDisks, type DiskSpec, openDisks } from "./open-disk.ts";

const MEBIBYTE = 1048576;
/** After the start: most guests have booted. */
const COLLECT_MS = 4000;

/** With "last-resort" V8 gives its empty pages back to the host, too. */
function collect(): void {
  const how = { type: "major", execution: "sync", flavor: "last-resort" } as const;
  globalThis.gc?.(how);
}

function inherited(fd: number): Socket {
  const socket = new Socket({ fd, readable: true, writable: true });
  // A supervisor that is gone takes the sockets along; the control socket's end ends this process.
  socket.on("error", () => socket.destroy());
  return socket;
}

class EmbeddedProcess {
  readonly #control = inherited(CONTROL_FD);
  readonly #console = inherited(CONSOLE_FD);
  readonly #agent = inherited(AGENT_FD);
  readonly #lines = new Lines();
  #configured = false;
  #guest: EmbeddedGuest | undefined;
  #disks: readonly GuestDisk[] = [];
  #deadline: Deadline | undefined;
  #keep: { readonly folder: string; readonly memoryBytes: number } | undefined;

  /** Listens; the rest is in the orders that come. */
  listen(): void {
    this.#control.setEncoding("utf8");
    this.#control.on("data", (text: string) => {
      for (const line of this.#lines.push(text)) this.#line(line);
    });
    this.#control.on("close", () => process.exit(1));
    this.#agent.pause();
    process.once("uncaughtException", (error) => this.#fail(error));
  }

  /** A fault of the emulator ends this guest and says so; a second one ends the process at once. */
  #fail(error: Error): void {
    process.stderr.write(`${error.stack ?? error.message}\n`);
    const end: GuestEnd = { kind: "died", reason: `the emulator failed: ${error.message}` };
    if (this.#guest === undefined) void this.#end(end);
    else this.#guest.end(end);
  }

  #line(line: string): void {
    if (this.#configured) return this.#obey(decodeOrder(line));
    this.#configured = true;
    void this.#prepare(line);
  }

  #say(word: EmbeddedWord): void {
    if (!this.#control.destroyed) this.#control.write(encodeLine(word));
  }

  async #prepare(line: string): Promise<void> {
    try {
      const { imageDisk, disk, cpuMillicores, jit, regions, ...config } =
        decodeEmbeddedConfig(line);
      const memoryBytes = Math.ceil(config.memoryBytes / MEBIBYTE) * MEBIBYTE;
      const [image, bytes] = await Promise.all([
        loadImage(config),
        regions === undefined ? undefined : readRegions(regions, memoryBytes),
      ]);
      if (regions !== undefined) this.#keep = { folder: regions, memoryBytes };
      const disks: DiskSpec[] = [];
      if (imageDisk !== undefined) {
        disks.push({ path: imageDisk.base, overlay: imageDisk.overlay });
      }
      if (disk !== undefined) disks.push({ path: disk });
      this.#disks = await openDisks(disks);
      this.#guest = new EmbeddedGuest({
        image,
        memoryBytes,
        ...(cpuMillicores === undefined ? {} : { cpuMillicores }),
        ...(jit === undefined ? {} : { jit }),
        ...(regions === undefined ? {} : { kept: bytes === undefined ? {} : { bytes } }),
        disks: this.#disks,
        consoleOut: this.#console,
        consoleIn: this.#console,
        agent: this.#agent,
        admit: () => this.#deadline?.check() !== undefined,
        onEnd: (end) => void this.#end(end),
      });
      this.#say({ kind: "ready" });
      // Written at a normal end otherwise, and many machines are killed.
      flushCompileCache();
    } catch (caught) {
      this.#say({ kind: "refused", reason: toBlixardError(caught).message });
    }
  }

  #obey(order: EmbeddedOrder): void {
    if (order.kind === "stats") {
      const stats = this.#guest?.stats() ?? { counters: {} };
      return this.#say({ kind: "stats", id: order.id, stats });
    }
    const { deadlineMonotonicMs } = order;
    if (this.#deadline !== undefined) return this.#deadline.renew(deadlineMonotonicMs);
    if (order.kind === "renew") return;
    this.#deadline = new Deadline(deadlineMonotonicMs, hostClock, () =>
      this.#guest?.end({ kind: "leaseExpired" }),
    );
    this.#guest?.start();
    // Loading and booting leave garbage behind that a process whose guest is idle would keep for ever.
    setTimeout(() => void this.#settle(), COLLECT_MS).unref();
  }

  /** Machines that are started later begin with the regions that this one has made in its first seconds. */
  async #settle(): Promise<void> {
    const bytes = this.#guest?.keptRegions();
    const keep = this.#keep;
    try {
      if (bytes !== undefined && keep !== undefined) {
        await writeRegions(keep.folder, keep.memoryBytes, bytes);
      }
    } catch (caught) {
      process.stderr.write(`keeping compiled regions: ${toBlixardError(caught).message}\n`);
    }
    collect();
  }

  async #end(end: GuestEnd): Promise<void> {
    this.#deadline?.close();
    this.#say(end);
    // After the deadline nobody may hear the guest any more.
    if (end.kind !== "leaseExpired") {
      const told = [this.#console, this.#agent].map(
        (socket) => new Promise<void>((resolve) => socket.end(() => resolve())),
      );
      const all = Promise.all([...told, this.#closeDisks()]);
      await Promise.race([all, sleep(LIMITS.drainMs)]);
    }
    await new Promise<void>((resolve) => this.#control.end(() => resolve()));
    process.exit(0);
  }

  async #closeDisks(): Promise<void> {
    try {
      await closeDisks(this.#disks);
    } catch (caught) {
      process.stderr.write(`closing the disks: ${toBlixardError(caught).message}\n`);
    }
  }
}

new EmbeddedProcess().listen();
