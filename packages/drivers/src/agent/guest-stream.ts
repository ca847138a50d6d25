/** One stream of the agent protocol: an exec or a file transfer, with credit both ways. */

import { BlixardError, failure, unreachable } from "@blixard/std";
import type { ExecEvent, ExecSession } from "../types.ts";
import { guestError } from "./guest-errors.ts";
import {
  INPUT_QUEUE_BYTES_MAX,
  OUTPUT_WINDOW_BYTES,
  PAYLOAD_BYTES_MAX,
  WINDOW_BYTES_MAX,
} from "./limits.ts";
import type { AgentMessage, HostMessage } from "./messages.ts";

export interface GuestStreamDeps {
  readonly vm: string;
  /** For messages: `Cannot ${operation} "${subject}"`. */
  readonly operation: string;
  readonly subject: string;
  readonly send: (message: HostMessage) => void;
  /** The agent is done with the stream's id. */
  readonly release: () => void;
  /** The agent broke the protocol: the whole session ends. */
  readonly violation: (reason: string) => void;
}

interface PendingWrite {
  readonly data: Uint8Array;
  at: number;
  readonly resolve: () => void;
  readonly reject: (error: BlixardError) => void;
}

/** States: opening -> open -> ended; `#failure` is set when it ended without an exit code. */
export class GuestStream implements ExecSession {
  readonly events: AsyncIterable<ExecEvent>;
  /** Pid in the guest (0 for files), once the agent has opened the stream. */
  readonly opened: Promise<number>;
  readonly #deps: GuestStreamDeps;
  readonly #resolveOpened: (pid: number) => void;
  readonly #rejectOpened: (error: BlixardError) => void;

  /** Invariant: bytes in #events + #outputCredit + #consumedBytes <= OUTPUT_WINDOW_BYTES. */
  readonly #events: ExecEvent[] = [];
  #outputCredit = OUTPUT_WINDOW_BYTES;
  #consumedBytes = 0;
  #wake: (() => void) | undefined;

  readonly #writes: PendingWrite[] = [];
  #waitingBytes = 0;
  #inputCredit = 0;
  #inputClosed = false;

  #isOpen = false;
  #ended = false;
  #abandoned = false;
  #failure: BlixardError | undefined;

  constructor(deps: GuestStreamDeps) {
    this.#deps = deps;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.opened = promise;
    this.#resolveOpened = resolve;
    this.#rejectOpened = reject;
    // The promise may fail with nobody waiting (after a time-out); that is reported elsewhere.
    promise.catch(() => undefined);
    this.events = { [Symbol.asyncIterator]: () => this.#iterate() };
  }

  /** Frames of this stream, in order. */
  receive(message: AgentMessage): void {
    switch (message.kind) {
      case "opened":
        this.#open(message.pid, message.windowBytes);
        break;
      case "stdout":
      case "stderr":
        this.#output({ kind: message.kind, data: message.data });
        break;
      case "exit":
        this.#events.push({ kind: "exit", code: message.code });
        this.#end(undefined);
        break;
      case "error":
        this.#end(
          guestError(this.#deps.operation, this.#deps.subject, message.errno, message.text),
        );
        break;
      case "credit":
        this.#credit(message.bytes);
        break;
      case "welcome":
      case "workloadExit":
      case "healthReport":
      case "done":
        this.#deps.violation(`${message.kind} on an exec or file stream`);
        break;
      default:
        unreachable(message);
    }
  }

  /** The session ended under the stream. */
  lost(error: BlixardError): void {
    if (!this.#ended) this.#end(error);
  }

  write(data: Uint8Array): Promise<void> {
    if (this.#ended || this.#inputClosed || this.#abandoned) return Promise.reject(this.#gone());
    if (data.length === 0) return Promise.resolve();
    if (this.#waitingBytes + data.length > INPUT_QUEUE_BYTES_MAX) {
      const actual = this.#waitingBytes + data.length;
      return Promise.reject(
        new BlixardError(
          failure(
            "TooLarge",
            { what: "input waiting for the guest", limit: INPUT_QUEUE_BYTES_MAX, actual },
            `Cannot queue ${data.length} more bytes of input: the guest has not taken ` +
              `${this.#waitingBytes} bytes yet (at most ${INPUT_QUEUE_BYTES_MAX} may wait)`,
            "wait for earlier writes before writing more",
          ),
        ),
      );
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waitingBytes += data.length;
    this.#writes.push({ data, at: 0, resolve, reject });
    this.#pump();
    return promise;
  }

  closeStdin(): void {
    if (this.#ended || this.#inputClosed || this.#abandoned) return;
    this.#inputClosed = true;
    if (this.#writes.length === 0) this.#deps.send({ kind: "stdinClose" });
  }

  signal(number: number): void {
    if (!Number.isInteger(number) || number < 1 || number > 64) {
      const reason = `${number} is not a signal number (1 to 64)`;
      throw new BlixardError(
        failure("InvalidArgument", { field: "signal", reason }, `Cannot send a signal: ${reason}`),
      );
    }
    if (!this.#ended && !this.#abandoned) this.#deps.send({ kind: "signal", signal: number });
  }

  resize(rows: number, cols: number): void {
    for (const size of [rows, cols]) {
      if (Number.isInteger(size) && size >= 1 && size <= 65_535) continue;
      const reason = `${size} is not a terminal size (1 to 65535)`;
      throw new BlixardError(
        failure("InvalidArgument", { field: "size", reason }, `Cannot resize: ${reason}`),
      );
    }
    if (!this.#ended && !this.#abandoned) this.#deps.send({ kind: "resize", rows, cols });
  }

  close(): void {
    if (this.#ended || this.#abandoned) return;
    this.#abandoned = true;
    this.#deps.send({ kind: "close" });
    this.#events.length = 0;
    this.#failure = this.#gone();
    this.#rejectOpened(this.#failure);
    this.#rejectWrites(this.#failure);
    this.#wake?.();
  }

  #gone(): BlixardError {
    return new BlixardError(
      failure(
        "NotRunning",
        { vm: this.#deps.vm, state: "session ended" },
        `The session of "${this.#deps.subject}" in VM "${this.#deps.vm}" has ended`,
      ),
    );
  }

  #open(pid: number, windowBytes: number): void {
    if (this.#isOpen) return this.#deps.violation("a stream opened twice");
    if (windowBytes > WINDOW_BYTES_MAX) return this.#deps.violation("input window too large");
    this.#isOpen = true;
    this.#inputCredit = windowBytes;
    this.#resolveOpened(pid);
    this.#pump();
  }

  #output(event: ExecEvent & { readonly data: Uint8Array }): void {
    if (this.#abandoned) return;
    if (!this.#isOpen || event.data.length > this.#outputCredit) {
      return this.#deps.violation("output beyond the stream's credit");
    }
    this.#outputCredit -= event.data.length;
    this.#events.push(event);
    this.#wake?.();
  }

  #credit(bytes: number): void {
    if (!this.#isOpen || this.#inputCredit + bytes > WINDOW_BYTES_MAX) {
      return this.#deps.violation("credit beyond the largest window");
    }
    this.#inputCredit += bytes;
    this.#pump();
  }

  #pump(): void {
    while (this.#inputCredit > 0) {
      const first = this.#writes[0];
      if (first === undefined) return;
      const left = first.data.length - first.at;
      const count = Math.min(left, this.#inputCredit, PAYLOAD_BYTES_MAX);
      const data = first.data.subarray(first.at, first.at + count);
      this.#inputCredit -= count;
      this.#waitingBytes -= count;
      first.at += count;
      this.#deps.send({ kind: "stdin", data });
      // Sending may find the byte stream dead, which ends this stream and empties the queue.
      if (this.#ended) return;
      if (count === left) {
        this.#writes.shift();
        first.resolve();
        if (this.#writes.length === 0 && this.#inputClosed) {
          this.#deps.send({ kind: "stdinClose" });
        }
      }
    }
  }

  #rejectWrites(error: BlixardError): void {
    this.#waitingBytes = 0;
    for (const waiting of this.#writes.splice(0)) waiting.reject(error);
  }

  #end(error: BlixardError | undefined): void {
    this.#ended = true;
    this.#failure ??= error;
    this.#deps.release();
    this.#rejectOpened(error ?? this.#gone());
    this.#rejectWrites(error ?? this.#gone());
    this.#wake?.();
  }

  /** Gives credit back once half a window was consumed: few frames, and the guest never idles. */
  #consumed(bytes: number): void {
    this.#consumedBytes += bytes;
    if (this.#ended || this.#abandoned || this.#consumedBytes < OUTPUT_WINDOW_BYTES / 2) return;
    this.#outputCredit += this.#consumedBytes;
    this.#deps.send({ kind: "credit", bytes: this.#consumedBytes });
    this.#consumedBytes = 0;
  }

  async *#iterate(): AsyncGenerator<ExecEvent> {
    try {
      for (;;) {
        const event = this.#events.shift();
        if (event !== undefined) {
          if (event.kind !== "exit") this.#consumed(event.data.length);
          yield event;
          if (event.kind === "exit") return;
        } else if (this.#failure !== undefined) {
          throw this.#failure;
        } else if (this.#ended) {
          return;
        } else {
          const { promise, resolve } = Promise.withResolvers<void>();
          this.#wake = resolve;
          await promise;
          this.#wake = undefined;
        }
      }
    } finally {
      this.close();
    }
  }
}
