/** W3C Trace Context (Level 1): what travels in requests, commands, messages and agent frames. */

import { as, type CorrelationId } from "./ids.ts";
import type { Random } from "./ports.ts";

export interface TraceContext {
  /** 32 hex digits, not all zero; doubles as the correlation id in logs. */
  readonly traceId: CorrelationId;
  /** 16 hex digits naming the caller's span. */
  readonly spanId: string;
  readonly sampled: boolean;
}

function hexWords(random: Random, words: number): string {
  let out = "";
  for (let i = 0; i < words; i++) out += random.u32().toString(16).padStart(8, "0");
  return out;
}

export function newTrace(random: Random): TraceContext {
  return {
    traceId: as<CorrelationId>(hexWords(random, 4)),
    spanId: hexWords(random, 2),
    sampled: false,
  };
}

export function childSpan(parent: TraceContext, random: Random): TraceContext {
  return { ...parent, spanId: hexWords(random, 2) };
}

export function formatTraceparent(trace: TraceContext): string {
  return `00-${trace.traceId}-${trace.spanId}-${trace.sampled ? "01" : "00"}`;
}

/** Undefined for anything the specification calls invalid; the caller then starts a new trace. */
export function parseTraceparent(header: string): TraceContext | undefined {
  const match = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(header.trim());
  const [, traceId, spanId, flags] = match ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return {
    traceId: as<CorrelationId>(traceId),
    spanId,
    sampled: (Number.parseInt(flags, 16) & 1) === 1,
  };
}
