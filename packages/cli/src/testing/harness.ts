/** Runs the command line in this process, against a server over the API's fake backend. */

import { EventEmitter } from "node:events";
import { PassThrough, Writable } from "node:stream";
import { startHarness, TOKEN, type Harness } from "../../../api/src/testing/harness.ts";
import { main } from "../cli.ts";
import type { Io, SignalName } from "../io.ts";

export { startHarness, TOKEN, until, type Harness } from "../../../api/src/testing/harness.ts";
export { FakeExec } from "../../../api/src/testing/fake-backend.ts";

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

class Sink extends Writable {
  readonly chunks: Buffer[] = [];
  isTTY = false;
  rows = 40;
  columns = 120;
  /** As a pipe whose reader has gone. */
  broken = false;

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    if (this.broken) {
      done(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
      return;
    }
    this.chunks.push(chunk);
    done();
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString("utf8");
  }
}

/** A process without a process. */
export class FakeIo implements Io {
  readonly stdin = new PassThrough();
  readonly stdout = new Sink();
  readonly stderr = new Sink();
  readonly env: Record<string, string | undefined>;
  readonly #signals = new EventEmitter();

  constructor(env: Record<string, string | undefined>) {
    this.env = env;
    this.stdout.on("error", () => undefined);
    this.stderr.on("error", () => undefined);
  }

  onSignal(name: SignalName, listener: () => void): () => void {
    this.#signals.on(name, listener);
    return () => this.#signals.off(name, listener);
  }

  send(name: SignalName): void {
    this.#signals.emit(name);
  }

  listeners(): number {
    return this.#signals.eventNames().length;
  }

  async run(...argv: string[]): Promise<Ran> {
    const code = await main(argv, this);
    return { code, out: this.stdout.text, err: this.stderr.text };
  }
}

export function envFor(h: Harness): Record<string, string> {
  return { BLIXARD_ENDPOINT: `http://${h.address}`, BLIXARD_TOKEN: TOKEN };
}

/** A server, and a way to run commands against it one after the other. */
export async function startCli(): Promise<{
  h: Harness;
  io: () => FakeIo;
  run: (...argv: string[]) => Promise<Ran>;
}> {
  const h = await startHarness();
  const io = (): FakeIo => new FakeIo(envFor(h));
  return { h, io, run: (...argv) => io().run(...argv) };
}
