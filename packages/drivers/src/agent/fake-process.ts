/** An exec of the fake agent: a process of the host in a group of its own, with credit both ways. */

import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import type { Readable } from "node:stream";
import { errnoOf, exitCode, killGroup, type FakeStream } from "./fake-stream.ts";
import { ERRNO } from "./guest-errors.ts";
import {
  CLOSE_GRACE_MS,
  EXIT_LINGER_MS,
  INPUT_WINDOW_BYTES,
  PAYLOAD_BYTES_MAX,
  WINDOW_BYTES_MAX,
} from "./limits.ts";
import type { AgentMessage, HostMessage } from "./messages.ts";

interface FakeProcessOptions {
  readonly request: HostMessage & { readonly kind: "exec" };
  readonly env: Record<string, string>;
  readonly cwd: string;
  readonly send: (message: AgentMessage) => void;
}

export class FakeProcess implements FakeStream {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #send: (message: AgentMessage) => void;
  #credit: number;
  #inputCredit = INPUT_WINDOW_BYTES;
  #exitCode: number | undefined;
  #openOutputs = 2;
  #discard = false;
  #finished = false;
  #timer: NodeJS.Timeout | undefined;

  constructor({ request, env, cwd, send }: FakeProcessOptions) {
    this.#send = send;
    this.#credit = request.windowBytes;
    const [program = "", ...args] = request.argv;
    const child = spawn(program, args, { cwd, env, stdio: "pipe", detached: true });
    this.#child = child;
    child.once("spawn", () => {
      if (this.#finished) return;
      send({ kind: "opened", pid: child.pid ?? 0, windowBytes: INPUT_WINDOW_BYTES });
      child.stdout.on("readable", () => this.#pump());
      child.stderr.on("readable", () => this.#pump());
    });
    child.once("error", (error) => {
      if (child.pid === undefined)
        this.#finish({ kind: "error", errno: errnoOf(error), text: error.message });
    });
    // EPIPE: the program does not read its input; the bytes are lost, as in a pipe.
    child.stdin.on("error", () => child.stdin.destroy());
    for (const output of [child.stdout, child.stderr]) {
      output.once("close", () => {
        this.#openOutputs -= 1;
        this.#settle();
      });
    }
    child.once("exit", (code, signal) => {
      this.#exitCode = exitCode(code, signal);
      this.#settle();
      this.#linger();
    });
  }

  receive(message: HostMessage): void {
    switch (message.kind) {
      case "stdin":
        this.#input(message.data);
        break;
      case "stdinClose":
        this.#child.stdin.end();
        break;
      case "signal":
        killGroup(this.#child, message.signal);
        break;
      case "credit":
        if (this.#credit + message.bytes > WINDOW_BYTES_MAX) {
          return this.#fail("malformed credit");
        }
        this.#credit += message.bytes;
        this.#pump();
        break;
      case "close":
        this.#discard = true;
        killGroup(this.#child, "SIGHUP");
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => killGroup(this.#child, "SIGKILL"), CLOSE_GRACE_MS);
        this.#pump();
        break;
      default:
        this.#fail(`${message.kind} to a process`);
    }
  }

  drop(): void {
    this.#finished = true;
    clearTimeout(this.#timer);
    killGroup(this.#child, "SIGKILL");
    this.#child.stdout.destroy();
    this.#child.stderr.destroy();
  }

  #input(data: Uint8Array): void {
    if (data.length > this.#inputCredit) return this.#fail("input beyond the stream's credit");
    this.#inputCredit -= data.length;
    const giveBack = (): void => {
      if (this.#finished) return;
      this.#inputCredit += data.length;
      this.#send({ kind: "credit", bytes: data.length });
    };
    // Into a closed pipe the bytes are lost, but the sender may go on.
    if (this.#child.stdin.writable) this.#child.stdin.write(data, giveBack);
    else giveBack();
  }

  #fail(text: string): void {
    this.#finish({ kind: "error", errno: ERRNO.EPROTO, text });
    this.drop();
  }

  #pump(): void {
    this.#pumpOne("stdout", this.#child.stdout);
    this.#pumpOne("stderr", this.#child.stderr);
  }

  #pumpOne(kind: "stdout" | "stderr", output: Readable): void {
    while (!this.#finished && (this.#credit > 0 || this.#discard)) {
      const room = this.#discard ? PAYLOAD_BYTES_MAX : Math.min(this.#credit, PAYLOAD_BYTES_MAX);
      const wanted = Math.min(room, output.readableLength);
      // With nothing buffered, read() still triggers the next read and the end.
      const data: unknown = wanted === 0 ? output.read(0) : output.read(wanted);
      if (!(data instanceof Uint8Array)) return;
      if (this.#discard) continue;
      this.#credit -= data.length;
      this.#send({ kind, data });
    }
  }

  #settle(): void {
    if (this.#exitCode === undefined || this.#openOutputs > 0) return;
    this.#finish({ kind: "exit", code: this.#exitCode });
  }

  /** A process left behind may hold the pipes open: what is there is delivered, then they close. */
  #linger(): void {
    clearTimeout(this.#timer);
    if (this.#finished) return;
    this.#timer = setTimeout(() => {
      const { stdout, stderr } = this.#child;
      if (stdout.readableLength + stderr.readableLength > 0) return this.#linger();
      stdout.destroy();
      stderr.destroy();
    }, EXIT_LINGER_MS);
  }

  #finish(message: AgentMessage): void {
    if (this.#finished) return;
    this.#finished = true;
    clearTimeout(this.#timer);
    this.#send(message);
  }
}
