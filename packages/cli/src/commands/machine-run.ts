/** `machine run`: a guest on this terminal. */

import { fail } from "@blixard/std";
import { EscapeFilter } from "../escape.ts";
import { BrokenPipe, progress, untilInterrupted } from "../io.ts";
import type { DiskArgument } from "../units.ts";
import type { Context } from "../options.ts";

export interface MachineRunOptions {
  readonly kernel: string;
  readonly initrd?: string;
  readonly append: string;
  readonly disk?: readonly DiskArgument[];
  readonly cpus?: number;
  readonly memory: number;
}

/** The terminal is raw: lines end as it wants them. */
const ESCAPES =
  "\r\nat the beginning of a line:\r\n" +
  "  ~.  end the machine, as a power cut would\r\n" +
  "  ~~  a ~ for the guest\r\n" +
  "  ~?  this help\r\n";

export async function machineRun({ io }: Context, options: MachineRunOptions): Promise<void> {
  const { runInForeground } = await import("@blixard/drivers");
  const { kernel, initrd, append, disk, memory, cpus } = options;
  const stop = new AbortController();
  let broken: Error | undefined;
  const onBroken = (error: Error): void => {
    broken = new BrokenPipe(error.message, { cause: error });
    stop.abort();
  };
  const interrupted = untilInterrupted(io);
  const raw = io.stdin.isTTY === true;
  const keys = new EscapeFilter(
    raw,
    () => stop.abort(),
    () => io.stderr.write(ESCAPES),
  );
  io.stdout.once("error", onBroken);
  try {
    if (raw) {
      await progress(io, "to end the machine, type ~. at the beginning of a line; ~? for help");
      io.stdin.setRawMode?.(true);
    }
    // Without `end`: a guest whose input is used up runs on.
    io.stdin.pipe(keys, { end: false });
    const end = await runInForeground({
      kernel,
      cmdline: append,
      memoryBytes: memory,
      input: keys,
      output: io.stdout,
      signal: AbortSignal.any([stop.signal, interrupted.signal]),
      ...(initrd === undefined ? {} : { initrd }),
      ...(disk === undefined ? {} : { disks: disk }),
      ...(cpus === undefined ? {} : { cpuMillicores: cpus }),
    });
    interrupted.check();
    if (broken !== undefined) throw broken;
    if (end?.kind !== "died") return;
    const data = { driver: "embedded", reason: end.reason };
    fail("DriverFailed", data, `The machine stopped: ${end.reason}`);
  } finally {
    if (raw) io.stdin.setRawMode?.(false);
    io.stdin.unpipe(keys);
    io.stdin.pause();
    io.stdout.off("error", onBroken);
    interrupted.done();
  }
}
