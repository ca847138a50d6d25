/** Reads and checks what a request carries. All failures here are InvalidArgument or TooLarge. */

import type { IncomingMessage } from "node:http";
import type { z } from "@hono/zod-openapi";
import { BlixardError, fail, failure } from "@blixard/std";
import { BODY_BYTES_MAX, REF_CHARS_MAX } from "../limits.ts";

function tooLarge(actual: number): BlixardError {
  return new BlixardError(
    failure(
      "TooLarge",
      { what: "request body", limit: BODY_BYTES_MAX, actual },
      `The request body is larger than ${BODY_BYTES_MAX} bytes.`,
    ),
  );
}

function invalid(field: string, reason: string, message?: string): never {
  return fail("InvalidArgument", { field, reason }, message ?? `Invalid ${field}: ${reason}.`);
}

/** At most BODY_BYTES_MAX bytes, whatever the headers promise. */
function readBody(incoming: IncomingMessage): Promise<Buffer> {
  const declared = Number(incoming.headers["content-length"] ?? 0);
  if (declared > BODY_BYTES_MAX) throw tooLarge(declared);
  return new Promise<Buffer>((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    incoming.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= BODY_BYTES_MAX) chunks.push(chunk);
      else {
        incoming.pause();
        reject(tooLarge(size));
      }
    });
    incoming.on("end", () => {
      const [first] = chunks;
      resolve(first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks));
    });
    incoming.on("error", reject);
  });
}

/** The first problem decides the field; the message names up to three. */
function explain(error: z.ZodError, where: string): never {
  const problems = error.issues.map((issue) => {
    const unknown = issue.code === "unrecognized_keys" ? issue.keys[0] : undefined;
    const path = unknown === undefined ? issue.path : [...issue.path, unknown];
    const field = path.length === 0 ? where : path.map(String).join(".");
    return { field, reason: unknown === undefined ? issue.message : "unknown field" };
  });
  const first = problems[0] ?? { field: where, reason: error.message };
  const told = problems.slice(0, 3).map((problem) => `${problem.field}: ${problem.reason}`);
  return invalid(first.field, first.reason, `Invalid request: ${told.join("; ")}.`);
}

export function checked<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  where: string,
): z.output<Schema> {
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : explain(parsed.error, where);
}

export function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : "not JSON";
    return invalid(where, reason, `The ${where} is not JSON: ${reason}`);
  }
}

export async function readJson(incoming: IncomingMessage): Promise<unknown> {
  const type = incoming.headers["content-type"] ?? "";
  if (!/^application\/json\s*(;|$)/i.test(type)) {
    invalid("content-type", `expected application/json, got ${JSON.stringify(type)}`);
  }
  const bytes = await readBody(incoming);
  return parseJson(bytes.toString("utf8"), "body");
}

/** Repeated parameters are refused: which of them counts would be a guess. */
export function readQuery(url: string): Record<string, string> {
  const start = url.indexOf("?");
  if (start < 0) return {};
  const out: Record<string, string> = {};
  for (const [name, value] of new URLSearchParams(url.slice(start + 1))) {
    if (Object.hasOwn(out, name)) invalid(name, "given more than once");
    out[name] = value;
  }
  return out;
}

export function checkRef(raw: string): string {
  let ref: string;
  try {
    ref = decodeURIComponent(raw);
  } catch {
    return invalid("ref", "bad percent-encoding");
  }
  if (ref.length === 0 || ref.length > REF_CHARS_MAX) {
    invalid("ref", `expected 1 to ${REF_CHARS_MAX} characters`);
  }
  for (let i = 0; i < ref.length; i++) {
    if (ref.charCodeAt(i) < 0x20) invalid("ref", "control character");
  }
  return ref;
}
