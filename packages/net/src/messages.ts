/**
 * Payloads of the frames that open something:
 *
 *   request, streamOpen   id u32 | timeoutMs u32 | method: u8 length, ASCII |
 *                         traceparent: u8 length (0: none), ASCII | body: the rest
 *   response, failure     id u32 | body: the rest (failure: JSON)
 */

import {
  ByteReader,
  ByteWriter,
  err,
  formatTraceparent,
  ok,
  parseTraceparent,
  type Result,
  type TraceContext,
  utf8,
  utf8Text,
} from "@blixard/std";
import { FRAME_HEADER_BYTES, type FrameKind, putFrameHeader } from "./frame.ts";

export interface Call {
  readonly id: number;
  readonly timeoutMs: number;
  readonly method: string;
  readonly trace: TraceContext | undefined;
  readonly body: Uint8Array;
}

/** Id, timeout, two lengths and a traceparent: what a call adds to its method and body. */
export const CALL_OVERHEAD_BYTES = 4 + 4 + 1 + 1 + 255;
const METHOD = /^[A-Za-z0-9._/-]{1,255}$/;

export function isMethod(text: string, maxBytes: number): boolean {
  return text.length <= maxBytes && METHOD.test(text);
}

/** A whole frame. */
export function encodeCall(kind: FrameKind, call: Call): Uint8Array {
  const method = utf8(call.method);
  const trace = call.trace === undefined ? new Uint8Array(0) : utf8(formatTraceparent(call.trace));
  const writer = new ByteWriter(FRAME_HEADER_BYTES + 128 + call.body.length);
  writer.raw(new Uint8Array(FRAME_HEADER_BYTES));
  writer.u32(call.id).u32(Math.min(0xffffffff, Math.max(0, Math.ceil(call.timeoutMs))));
  writer.u8(method.length).raw(method).u8(trace.length).raw(trace).raw(call.body);
  const frame = writer.finish();
  putFrameHeader(frame, 0, kind, 0, frame.length - FRAME_HEADER_BYTES);
  return frame;
}

/**
 * The body is a view of `payload`. An invalid traceparent is dropped, as the specification asks.
 */
export function decodeCall(payload: Uint8Array): Result<Call, string> {
  const reader = new ByteReader(payload);
  try {
    const id = reader.u32();
    const timeoutMs = reader.u32();
    const method = utf8Text(reader.raw(reader.u8()));
    if (!METHOD.test(method)) return err(`method ${JSON.stringify(method)} is not an ASCII name`);
    const traceparent = utf8Text(reader.raw(reader.u8()));
    const trace = traceparent === "" ? undefined : parseTraceparent(traceparent);
    return ok({ id, timeoutMs, method, trace, body: reader.raw(reader.remaining) });
  } catch (caught) {
    return err(caught instanceof Error ? caught.message : String(caught));
  }
}

export function encodeAnswer(kind: FrameKind, id: number, body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + 4 + body.length);
  putFrameHeader(frame, 0, kind, 0, 4 + body.length);
  new DataView(frame.buffer).setUint32(FRAME_HEADER_BYTES, id, true);
  frame.set(body, FRAME_HEADER_BYTES + 4);
  return frame;
}

export function decodeAnswer(
  payload: Uint8Array,
): Result<{ id: number; body: Uint8Array }, string> {
  if (payload.length < 4) return err(`an answer of ${payload.length} bytes has no request id`);
  const reader = new ByteReader(payload);
  return ok({ id: reader.u32(), body: reader.raw(reader.remaining) });
}
