/**
 * An exec session carried over a byte stream between two nodes: the node that was asked and the node that
 * has the VM. Frames both ways: kind u8, length u32 (little-endian), payload.
 */

import type { Duplex } from "node:stream";
import type { ExecEvent, ExecSession, Failure } from "@blixard/std";
import { BlixardError, failure, isFailure, toBlixardError, utf8, utf8Text } from "@blixard/std";
import { EXEC_FRAME_BYTES_MAX } from "./limits.ts";

const KIND = {
  stdin: 1,
  stdinClose: 2,
  signal: 3,
  resize: 4,
  stdout: 16,
  stderr: 17,
  exit: 18,
  error: 19,
  opened: 20,
} as const;

const HEADER_BYTES = 5;

interface Frame {
  readonly kind: number;
  readonly payload: Uint8Array;
}

function encode(kind: number, payload: Uint8Array): Uint8Array {
  const out = new Uint8Array(HEADER_BYTES + payload.length);
  const view = new DataView(out.buffer);
  view.setUint8(0, kind);
  view.setUint32(1, payload.length, true);
  out.set(payload, HEADER_BYTES);
  return out;
}

function numbers(...values: number[]): Uint8Array {
  const out = new Uint8Array(values.length * 4);
  const view = new DataView(out.buffer);
  values.forEach((value, at) => view.setUint32(at * 4, value >>> 0, true));
  return out;
}

function numberAt(payload: Uint8Array, at: number): number {
  if (payload.length < at * 4 + 4) throw lost("a short frame arrived");
  return new DataView(payload.buffer, payload.byteOffset).getUint32(at * 4, true);
}

function lost(reason: string): BlixardError {
  return new BlixardError(
    failure(
      "GuestUnreachable",
      { vm: "", reason },
      `The connection to the guest ended: ${reason}`,
      "see `blixard vm inspect` for where the VM is now, and try again",
    ),
  );
}

/** Frames of a stream, whatever its chunking; ends with the stream. */
async function* frames(stream: Duplex): AsyncGenerator<Frame> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of stream) {
    // A Duplex in byte mode yields Buffers.
    rest = rest.length === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer]);
    while (rest.length >= HEADER_BYTES) {
      const length = rest.readUInt32LE(1);
      if (length > EXEC_FRAME_BYTES_MAX) throw lost(`a frame of ${length} bytes was announced`);
      if (rest.length < HEADER_BYTES + length) break;
      const payload = rest.subarray(HEADER_BYTES, HEADER_BYTES + length);
      yield { kind: rest.readUInt8(0), payload };
      rest = rest.subarray(HEADER_BYTES + length);
    }
  }
}

/** Resolves when the stream has room again, or is gone. */
function send(stream: Duplex, kind: number, payload: Uint8Array): Promise<void> {
  if (stream.destroyed || stream.writableEnded) return Promise.resolve();
  if (stream.write(encode(kind, payload))) return Promise.resolve();
  return new Promise((resolve) => {
    const settle = (): void => {
      stream.off("drain", settle);
      stream.off("close", settle);
      resolve();
    };
    stream.once("drain", settle);
    stream.once("close", settle);
  });
}

async function sendPieces(stream: Duplex, kind: number, data: Uint8Array): Promise<void> {
  for (let at = 0; at < data.length; at += EXEC_FRAME_BYTES_MAX) {
    await send(stream, kind, data.subarray(at, at + EXEC_FRAME_BYTES_MAX));
  }
}

/** Tells the asking side that the session could not be opened, or broke. */
export async function sendFailure(stream: Duplex, caught: unknown): Promise<void> {
  await send(stream, KIND.error, utf8(JSON.stringify(toBlixardError(caught).failure)));
  stream.end();
}

/** The side that has the VM: copies between its session and the stream until either ends. */
export async function serveExec(session: ExecSession, stream: Duplex): Promise<void> {
  const input = pumpInput(session, stream).finally(() => session.close());
  try {
    await send(stream, KIND.opened, new Uint8Array(0));
    for await (const event of session.events) {
      if (event.kind === "exit") await send(stream, KIND.exit, numbers(event.code));
      else await sendPieces(stream, KIND[event.kind], event.data);
    }
    stream.end();
  } catch (caught) {
    await sendFailure(stream, caught);
  }
  await input;
}

async function pumpInput(session: ExecSession, stream: Duplex): Promise<void> {
  try {
    for await (const frame of frames(stream)) {
      if (frame.kind === KIND.stdin) await session.write(new Uint8Array(frame.payload));
      else if (frame.kind === KIND.stdinClose) session.closeStdin();
      else if (frame.kind === KIND.signal) session.signal(numberAt(frame.payload, 0));
      else if (frame.kind === KIND.resize) {
        session.resize(numberAt(frame.payload, 0), numberAt(frame.payload, 1));
      }
    }
  } catch {
    // The asking side went away or sent nonsense: the caller closes the session, which ends the process.
    stream.destroy();
  }
}

function parseFailure(payload: Uint8Array): Failure {
  const parsed: unknown = JSON.parse(utf8Text(payload));
  return isFailure(parsed)
    ? parsed
    : failure("Internal", { reason: "a malformed failure arrived" }, "The other node failed");
}

async function* remoteEvents(source: AsyncGenerator<Frame>): AsyncGenerator<ExecEvent> {
  for await (const { kind, payload } of source) {
    if (kind === KIND.stdout) yield { kind: "stdout", data: new Uint8Array(payload) };
    else if (kind === KIND.stderr) yield { kind: "stderr", data: new Uint8Array(payload) };
    else if (kind === KIND.error) throw new BlixardError(parseFailure(payload));
    else if (kind === KIND.exit) {
      yield { kind: "exit", code: numberAt(payload, 0) };
      return;
    }
  }
  throw lost("the node that has the VM closed it");
}

/** The asking side: an ExecSession over the stream, once the other side has opened its own. */
export async function openRemoteExec(stream: Duplex): Promise<ExecSession> {
  const source = frames(stream);
  const first = await source.next();
  if (first.done === true) throw lost("it closed before it opened");
  if (first.value.kind === KIND.error) throw new BlixardError(parseFailure(first.value.payload));
  if (first.value.kind !== KIND.opened) throw lost(`frame ${first.value.kind} came first`);
  const forget = (sent: Promise<void>): void => {
    // send() never rejects; a lost stream shows in `events`.
    void sent;
  };
  return {
    events: remoteEvents(source),
    write: (data) => sendPieces(stream, KIND.stdin, data),
    closeStdin: () => forget(send(stream, KIND.stdinClose, new Uint8Array(0))),
    signal: (number) => forget(send(stream, KIND.signal, numbers(number))),
    resize: (rows, cols) => forget(send(stream, KIND.resize, numbers(rows, cols))),
    close: () => stream.destroy(),
  };
}
