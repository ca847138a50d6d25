/**
 * Frames of `GET /v1/vms/{ref}/exec` once upgraded to a WebSocket. The subprotocol name is the format's
 * magic and version. The client's first message is text (JSON, what to run); all others are binary: one
 * byte of kind, then the payload. Numbers are big-endian.
 *
 *   client                          server
 *   0x00 stdin        bytes         0x10 stdout  bytes
 *   0x01 stdin closed               0x11 stderr  bytes
 *   0x02 resize       u16 u16       0x12 exit    i32 (last)
 *   0x03 signal       u8            0x13 error   UTF-8 JSON {error, correlationId} (last)
 *                                   0x14 credit  u32: so many more bytes of stdin may be sent
 *
 * Credit, rather than a paused socket, bounds stdin: a signal must reach a process that reads nothing.
 */

import { unreachable } from "@blixard/std";

export const EXEC_SUBPROTOCOL = "blixard.exec.v1";

const STDIN = 0x00;
const STDIN_CLOSE = 0x01;
const RESIZE = 0x02;
const SIGNAL = 0x03;
const STDOUT = 0x10;
const STDERR = 0x11;
const EXIT = 0x12;
const ERROR = 0x13;
const CREDIT = 0x14;

export type ClientFrame =
  | { readonly kind: "stdin"; readonly data: Uint8Array }
  | { readonly kind: "stdinClose" }
  | { readonly kind: "resize"; readonly rows: number; readonly cols: number }
  | { readonly kind: "signal"; readonly number: number };

export type ServerFrame =
  | { readonly kind: "stdout" | "stderr"; readonly data: Uint8Array }
  | { readonly kind: "exit"; readonly code: number }
  | { readonly kind: "error"; readonly json: string }
  | { readonly kind: "credit"; readonly bytes: number };

function withKind(kind: number, payload: Uint8Array): Uint8Array {
  const out = new Uint8Array(1 + payload.length);
  out[0] = kind;
  out.set(payload, 1);
  return out;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function encodeClientFrame(frame: ClientFrame): Uint8Array {
  switch (frame.kind) {
    case "stdin":
      return withKind(STDIN, frame.data);
    case "stdinClose":
      return Uint8Array.of(STDIN_CLOSE);
    case "resize": {
      const out = new Uint8Array(5);
      out[0] = RESIZE;
      view(out).setUint16(1, frame.rows);
      view(out).setUint16(3, frame.cols);
      return out;
    }
    case "signal":
      return Uint8Array.of(SIGNAL, frame.number);
    default:
      return unreachable(frame);
  }
}

/** Undefined for anything that is not exactly one frame of this version. */
export function decodeClientFrame(bytes: Uint8Array): ClientFrame | undefined {
  const payload = bytes.subarray(1);
  switch (bytes[0]) {
    case STDIN:
      return { kind: "stdin", data: payload };
    case STDIN_CLOSE:
      return payload.length === 0 ? { kind: "stdinClose" } : undefined;
    case RESIZE: {
      if (payload.length !== 4) return undefined;
      const rows = view(payload).getUint16(0);
      const cols = view(payload).getUint16(2);
      return rows === 0 || cols === 0 ? undefined : { kind: "resize", rows, cols };
    }
    case SIGNAL: {
      const number = payload[0];
      if (payload.length !== 1 || number === undefined || number < 1 || number > 64)
        return undefined;
      return { kind: "signal", number };
    }
    default:
      return undefined;
  }
}

export function encodeServerFrame(frame: ServerFrame): Uint8Array {
  switch (frame.kind) {
    case "stdout":
      return withKind(STDOUT, frame.data);
    case "stderr":
      return withKind(STDERR, frame.data);
    case "exit": {
      const out = new Uint8Array(5);
      out[0] = EXIT;
      view(out).setInt32(1, frame.code);
      return out;
    }
    case "error":
      return withKind(ERROR, new TextEncoder().encode(frame.json));
    case "credit": {
      const out = new Uint8Array(5);
      out[0] = CREDIT;
      view(out).setUint32(1, frame.bytes);
      return out;
    }
    default:
      return unreachable(frame);
  }
}

/** Undefined for anything that is not exactly one frame of this version. */
export function decodeServerFrame(bytes: Uint8Array): ServerFrame | undefined {
  const payload = bytes.subarray(1);
  switch (bytes[0]) {
    case STDOUT:
      return { kind: "stdout", data: payload };
    case STDERR:
      return { kind: "stderr", data: payload };
    case EXIT:
      return payload.length === 4 ? { kind: "exit", code: view(payload).getInt32(0) } : undefined;
    case ERROR:
      return { kind: "error", json: new TextDecoder().decode(payload) };
    case CREDIT:
      return payload.length === 4
        ? { kind: "credit", bytes: view(payload).getUint32(0) }
        : undefined;
    default:
      return undefined;
  }
}
