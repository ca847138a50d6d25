/** File transfers of the fake agent, with the promises of the real one: atomic, exact, bounded. */

import { open, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errnoOf, type FakeStream } from "./fake-stream.ts";
import { ERRNO } from "./guest-errors.ts";
import { INPUT_WINDOW_BYTES, PAYLOAD_BYTES_MAX } from "./limits.ts";
import type { AgentMessage, HostMessage } from "./messages.ts";

type Send = (message: AgentMessage) => void;

let temporaryNumber = 0;

function toError(caught: unknown): AgentMessage {
  const error = caught instanceof Error ? caught : new Error(String(caught));
  return { kind: "error", errno: errnoOf(error), text: error.message };
}

/** Runs steps one after another; the first that fails ends the stream with its error. */
class Steps {
  #tail: Promise<void> = Promise.resolve();
  #failed = false;
  readonly #onError: (caught: unknown) => Promise<void>;

  constructor(onError: (caught: unknown) => Promise<void>) {
    this.#onError = onError;
  }

  add(step: () => Promise<void>): void {
    this.#tail = this.#tail.then(async () => {
      if (this.#failed) return;
      try {
        await step();
      } catch (caught) {
        this.#failed = true;
        await this.#onError(caught);
      }
    });
  }
}

export class FakeFileWrite implements FakeStream {
  readonly #path: string;
  readonly #temporary: string;
  readonly #sizeBytes: number;
  readonly #send: Send;
  readonly #steps: Steps;
  #handle: FileHandle | undefined;
  #receivedBytes = 0;
  #closed = false;

  constructor(path: string, mode: number, sizeBytes: number, send: Send) {
    this.#path = path;
    this.#sizeBytes = sizeBytes;
    this.#send = send;
    temporaryNumber += 1;
    this.#temporary = join(dirname(path), `.blixard-${process.pid}-${temporaryNumber}.tmp`);
    this.#steps = new Steps(async (caught) => {
      await this.#undo();
      this.#send(toError(caught));
    });
    this.#steps.add(async () => {
      if (await isFolder(path)) throw withErrno(ERRNO.EISDIR, "it is a folder");
      this.#handle = await open(this.#temporary, "wx", mode);
      await this.#handle.chmod(mode);
      this.#send({ kind: "opened", pid: 0, windowBytes: INPUT_WINDOW_BYTES });
    });
  }

  receive(message: HostMessage): void {
    if (this.#closed) return;
    if (message.kind === "stdin") this.#steps.add(() => this.#append(message.data));
    else if (message.kind === "stdinClose") this.#steps.add(() => this.#commit());
    else if (message.kind === "close") {
      this.#closed = true;
      this.#steps.add(async () => {
        await this.#undo();
        this.#send({ kind: "exit", code: 128 });
      });
    }
  }

  drop(): void {
    this.#closed = true;
    this.#steps.add(() => this.#undo());
  }

  async #append(data: Uint8Array): Promise<void> {
    if (this.#receivedBytes + data.length > this.#sizeBytes) {
      throw withErrno(ERRNO.EINVAL, "more bytes than announced");
    }
    await this.#handle?.writeFile(data);
    this.#receivedBytes += data.length;
    this.#send({ kind: "credit", bytes: data.length });
  }

  async #commit(): Promise<void> {
    if (this.#receivedBytes !== this.#sizeBytes) {
      throw withErrno(ERRNO.EINVAL, "fewer bytes than announced");
    }
    await this.#handle?.sync();
    await this.#handle?.close();
    this.#handle = undefined;
    await rename(this.#temporary, this.#path);
    this.#send({ kind: "exit", code: 0 });
  }

  async #undo(): Promise<void> {
    await this.#handle?.close();
    this.#handle = undefined;
    await rm(this.#temporary, { force: true });
  }
}

export class FakeFileRead implements FakeStream {
  readonly #send: Send;
  readonly #steps: Steps;
  #handle: FileHandle | undefined;
  #credit: number;
  #atEnd = false;

  constructor(path: string, windowBytes: number, send: Send) {
    this.#send = send;
    this.#credit = windowBytes;
    this.#steps = new Steps(async (caught) => {
      await this.#finish(toError(caught));
    });
    this.#steps.add(async () => {
      const handle = await open(path, "r");
      this.#handle = handle;
      if ((await handle.stat()).isDirectory()) throw withErrno(ERRNO.EISDIR, "it is a folder");
      this.#send({ kind: "opened", pid: 0, windowBytes: 0 });
      await this.#pump();
    });
  }

  receive(message: HostMessage): void {
    if (message.kind === "credit") {
      this.#credit += message.bytes;
      this.#steps.add(() => this.#pump());
    } else if (message.kind === "close") {
      this.#steps.add(() => this.#finish({ kind: "exit", code: 128 }));
    }
  }

  drop(): void {
    this.#steps.add(async () => {
      this.#atEnd = true;
      await this.#handle?.close();
    });
  }

  async #pump(): Promise<void> {
    while (!this.#atEnd && this.#credit > 0 && this.#handle !== undefined) {
      const data = new Uint8Array(Math.min(this.#credit, PAYLOAD_BYTES_MAX));
      const { bytesRead } = await this.#handle.read(data, 0, data.length, null);
      if (bytesRead === 0) return await this.#finish({ kind: "exit", code: 0 });
      this.#credit -= bytesRead;
      this.#send({ kind: "stdout", data: data.subarray(0, bytesRead) });
    }
  }

  async #finish(message: AgentMessage): Promise<void> {
    if (this.#atEnd) return;
    this.#atEnd = true;
    await this.#handle?.close();
    this.#send(message);
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (caught) {
    if (caught instanceof Error && "code" in caught && caught.code === "ENOENT") return false;
    throw caught;
  }
}

function withErrno(errno: number, text: string): Error {
  return Object.assign(new Error(text), { errno: -errno });
}
