/**
 * A guest of the embedded machine with somebody at its serial console: what it prints is kept and timed, what
 * is typed is answered.
 *
 *   first line of init -> prompt of the shell -> [ command -> answer ]* -> poweroff
 */

import { assert, fail } from "@blixard/std";
import { PassThrough, Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { EmbeddedGuest, type GuestEnd } from "../../packages/drivers/src/machine/embedded-guest.ts";
import { loadImage } from "../../packages/drivers/src/machine/embedded-image.ts";
import { openDisk } from "../../packages/drivers/src/machine/open-disk.ts";

export interface ConsoleOptions {
  readonly kernel: string;
  readonly initrd: string;
  readonly cmdline: string;
  readonly memoryBytes: number;
  /** A raw image, which becomes vda. */
  readonly disk: string;
  readonly timeoutMs: number;
  /** Gets what the guest prints. */
  readonly onOutput?: (text: string) => void;
}

/** A place in the life of the guest, from its first instruction. */
export interface Moment {
  readonly ms: number;
  readonly instructions: number;
}

export interface Answer {
  readonly match: RegExpExecArray;
  /** When the guest had printed it. */
  readonly moment: Moment;
}

/** Kept of what the guest printed: for failures, and for answers, which are shorter. */
const TAIL_CHARS = 4000;
const UNREAD_CHARS = 2000;
const POLL_MS = 5;

/** Cut only now and then: it is called for every byte. */
function appended(text: string, more: string, limit: number): string {
  const all = text + more;
  return all.length < 2 * limit ? all : all.slice(-limit);
}

/** Errors: TimedOut, and Internal when the guest ended before its time; `tail` says what it printed. */
export class GuestConsole implements AsyncDisposable {
  readonly #guest: EmbeddedGuest;
  readonly #disk: Awaited<ReturnType<typeof openDisk>>;
  readonly #input = new PassThrough();
  readonly #deadline: number;
  readonly #startedAt: number;
  readonly #timeoutMs: number;
  #tail = "";
  /** Since the last line was typed. */
  #unread = "";
  #waiting: RegExp | undefined;
  #met: Answer | undefined;
  #end: GuestEnd | undefined;
  /** The guest runs from the event loop: what its machine throws has no caller of ours. */
  readonly #onCrash = (error: Error): void => {
    this.#end ??= { kind: "died", reason: `the machine broke: ${error.stack ?? error.message}` };
  };

  private constructor(
    options: ConsoleOptions,
    image: Awaited<ReturnType<typeof loadImage>>,
    disk: Awaited<ReturnType<typeof openDisk>>,
  ) {
    this.#disk = disk;
    const output = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        const text = chunk.toString("latin1");
        this.#tail = appended(this.#tail, text, TAIL_CHARS);
        this.#unread = appended(this.#unread, text, UNREAD_CHARS);
        this.#look();
        options.onOutput?.(text);
        done();
      },
    });
    this.#guest = new EmbeddedGuest({
      image,
      memoryBytes: options.memoryBytes,
      disks: [disk],
      consoleOut: output,
      consoleIn: this.#input,
      admit: () => performance.now() < this.#deadline,
      onEnd: (end) => (this.#end = end),
    });
    this.#timeoutMs = options.timeoutMs;
    this.#startedAt = performance.now();
    this.#deadline = this.#startedAt + options.timeoutMs;
    process.on("uncaughtException", this.#onCrash);
    this.#guest.start();
  }

  static async start(options: ConsoleOptions): Promise<GuestConsole> {
    const image = await loadImage(options);
    return new GuestConsole(options, image, await openDisk({ path: options.disk }, "debian0"));
  }

  /** Now, as the guest counts. */
  moment(): Moment {
    const ms = performance.now() - this.#startedAt;
    return { ms, instructions: this.#guest.instructions };
  }

  tail(): string {
    return this.#tail.slice(-TAIL_CHARS);
  }

  /** The first match in what the guest printed since the last line was typed. */
  async waitFor(what: string, pattern: RegExp): Promise<Answer> {
    assert(!pattern.global && !pattern.sticky, "a pattern without a place of its own");
    this.#waiting = pattern;
    this.#met = undefined;
    this.#look();
    while (this.#met === undefined) {
      this.#requireAlive(what);
      await delay(POLL_MS);
    }
    this.#waiting = undefined;
    return this.#met;
  }

  /** Types a line and waits for what it answers; the terminal's echo comes first. */
  async type(line: string, answer: RegExp): Promise<Answer> {
    this.#unread = "";
    this.#input.write(`${line}\n`);
    return await this.waitFor(`the answer to "${line}"`, answer);
  }

  /** Types the line and waits until the guest has ended itself. */
  async powerOff(line: string): Promise<Moment> {
    this.#input.write(`${line}\n`);
    while (this.#end?.kind !== "shutdown") {
      this.#requireAlive("its power-off");
      await delay(POLL_MS);
    }
    return this.moment();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#guest.end({ kind: "died", reason: "it was stopped" });
    await this.#disk.disk.close();
    process.off("uncaughtException", this.#onCrash);
  }

  /** While the guest runs: the moment is that of the byte that completed the match. */
  #look(): void {
    if (this.#waiting === undefined || this.#met !== undefined) return;
    const match = this.#waiting.exec(this.#unread);
    if (match !== null) this.#met = { match, moment: this.moment() };
  }

  #requireAlive(what: string): void {
    if (performance.now() >= this.#deadline) {
      const data = { operation: what, timeoutMs: this.#timeoutMs };
      fail("TimedOut", data, `The guest did not get to ${what} in ${this.#timeoutMs} ms`);
    }
    if (this.#end === undefined) return;
    const reason = this.#end.kind === "died" ? this.#end.reason : this.#end.kind;
    fail("Internal", { reason }, `The guest ended before ${what}: ${reason}`);
  }
}
