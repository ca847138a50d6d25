/** Console and exec of a VM wherever it is: here through the driver, elsewhere through its node. */

import type { Duplex } from "node:stream";
import type { ControlState, VmRecord } from "@blixard/control";
import { getNode } from "@blixard/control";
import type { VmDriver } from "@blixard/drivers";
import type { Transport } from "@blixard/net";
import type { ExecRequest, ExecSession, NodeId, PeerId, TraceContext, VmId } from "@blixard/std";
import type { VmStats } from "@blixard/std";
import { as, BlixardError, fail, isFailure, toBlixardError, utf8, utf8Text } from "@blixard/std";
import { z } from "zod";
import { STATS_BYTES_MAX, STREAM_OPEN_TIMEOUT_MS } from "./limits.ts";
import type { Logger } from "./log.ts";
import { openRemoteExec, sendFailure, serveExec } from "./remote-exec.ts";

const VmIdText = z.string().regex(/^[0-9a-f]{16}$/);
const ExecHeader = z.strictObject({
  format: z.literal(1),
  vmId: VmIdText,
  request: z.strictObject({
    argv: z.array(z.string()).min(1),
    env: z.record(z.string(), z.string()),
    cwd: z.string().optional(),
    pty: z.strictObject({ rows: z.int().min(1), cols: z.int().min(1) }).optional(),
  }),
});
const LogsHeader = z.strictObject({
  format: z.literal(1),
  vmId: VmIdText,
  follow: z.boolean(),
  tailBytes: z.int().min(0).optional(),
});

const StatsHeader = z.strictObject({ format: z.literal(1), vmId: VmIdText });
const amount = z.number().min(0);
/** Open: a node of a later release may say more. */
const Stats = z.object({
  vmId: VmIdText,
  epoch: z.int().min(0),
  driver: z.string().max(64),
  process: z
    .object({
      pid: z.int(),
      cpuSeconds: amount,
      residentBytes: amount,
      privateBytes: amount,
    })
    .optional(),
  consoleBytes: amount,
  execution: z
    .object({
      instructions: amount,
      mips: z.object({ lastSecond: amount, average: amount, busy: amount }),
      time: z.object({
        totalMs: amount,
        busyMs: amount,
        idleMs: amount,
        heldMs: amount,
        throttledMs: amount,
      }),
    })
    .optional(),
  counters: z.record(z.string().max(64), z.record(z.string().max(64), amount)),
});

export interface LogOptions {
  readonly follow: boolean;
  readonly tailBytes?: number;
  readonly signal: AbortSignal;
}

export interface VmAccessDeps {
  readonly self: NodeId;
  readonly driver: VmDriver;
  readonly transport: Transport;
  readonly state: () => ControlState;
  readonly log: Logger;
}

export class VmAccess {
  readonly #deps: VmAccessDeps;

  constructor(deps: VmAccessDeps) {
    this.#deps = deps;
    deps.transport.onStream("exec", (_from, header, stream, trace) => {
      void this.#serveExec(header, stream, trace);
    });
    deps.transport.onStream("stats", (_from, header, stream) => {
      void this.#serveStats(header, stream);
    });
    deps.transport.onStream("logs", (_from, header, stream) => {
      void this.#serveLogs(header, stream);
    });
  }

  async exec(record: VmRecord, request: ExecRequest): Promise<ExecSession> {
    if (record.nodeId === this.#deps.self) return await this.#deps.driver.exec(record.id, request);
    const { trace, ...plain } = request;
    const header = utf8(JSON.stringify({ format: 1, vmId: record.id, request: plain }));
    return await openRemoteExec(await this.#open(record, "exec", header, trace));
  }

  async logs(
    record: VmRecord,
    options: LogOptions,
    trace: TraceContext,
  ): Promise<AsyncIterable<Uint8Array>> {
    if (record.nodeId === this.#deps.self) return this.#console(record.id, options);
    const { follow, tailBytes } = options;
    const header = utf8(JSON.stringify({ format: 1, vmId: record.id, follow, tailBytes }));
    const stream = await this.#open(record, "logs", header, trace);
    const onAbort = (): void => {
      stream.destroy();
    };
    options.signal.addEventListener("abort", onAbort, { once: true });
    return readUntilAbort(stream, options.signal);
  }

  /** Errors: NotRunning, Unavailable. */
  async stats(record: VmRecord, trace: TraceContext): Promise<VmStats> {
    if (record.nodeId === this.#deps.self) return await this.#deps.driver.stats(record.id);
    const header = utf8(JSON.stringify({ format: 1, vmId: record.id }));
    const stream = await this.#open(record, "stats", header, trace);
    const answer = await readAnswer(stream, STATS_BYTES_MAX);
    // Safe: the schema has the fields of VmStats, whose id and epoch are branded text and number.
    return Stats.parse(answer) as VmStats;
  }

  #console(vmId: VmId, options: LogOptions): AsyncIterable<Uint8Array> {
    return this.#deps.driver.console(vmId, {
      // A negative offset counts from the end.
      offset: options.tailBytes === undefined ? 0 : -options.tailBytes,
      follow: options.follow,
      signal: options.signal,
    });
  }

  async #open(
    record: VmRecord,
    method: string,
    header: Uint8Array,
    trace: TraceContext | undefined,
  ): Promise<Duplex> {
    const stream = await this.#deps.transport.openStream(this.#peerOf(record), method, header, {
      timeoutMs: STREAM_OPEN_TIMEOUT_MS,
      ...(trace === undefined ? {} : { trace }),
    });
    stream.on("error", (error) => this.#deps.log.debug({ err: error.message }, "stream ended"));
    return stream;
  }

  #peerOf(record: VmRecord): PeerId {
    const node = record.nodeId && getNode(this.#deps.state(), record.nodeId);
    if (node) return node.peerId;
    return fail(
      "NotRunning",
      { vm: record.spec.name, state: record.phase },
      `VM ${record.spec.name} is ${record.phase} and on no node`,
      `see why with \`blixard vm explain ${record.spec.name}\``,
    );
  }

  async #serveExec(
    header: Uint8Array,
    stream: Duplex,
    trace: TraceContext | undefined,
  ): Promise<void> {
    stream.on("error", (error) =>
      this.#deps.log.debug({ err: error.message }, "exec stream ended"),
    );
    try {
      const { vmId, request } = ExecHeader.parse(JSON.parse(utf8Text(header)));
      // exactOptional: the schema's optional fields are absent or valid.
      const full = { ...request, ...(trace === undefined ? {} : { trace }) } as ExecRequest;
      const session = await this.#deps.driver.exec(as<VmId>(vmId), full);
      await serveExec(session, stream);
    } catch (caught) {
      await sendFailure(stream, caught);
    }
  }

  async #serveStats(header: Uint8Array, stream: Duplex): Promise<void> {
    stream.on("error", (error) => this.#deps.log.debug({ err: error.message }, "stream ended"));
    let answer: object;
    try {
      const { vmId } = StatsHeader.parse(JSON.parse(utf8Text(header)));
      answer = { ok: await this.#deps.driver.stats(as<VmId>(vmId)) };
    } catch (caught) {
      answer = { failure: toBlixardError(caught).failure };
    }
    stream.end(utf8(JSON.stringify({ format: 1, ...answer })));
  }

  async #serveLogs(header: Uint8Array, stream: Duplex): Promise<void> {
    const abort = new AbortController();
    stream.on("error", (error) =>
      this.#deps.log.debug({ err: error.message }, "logs stream ended"),
    );
    stream.on("close", () => abort.abort());
    try {
      const { vmId, follow, tailBytes } = LogsHeader.parse(JSON.parse(utf8Text(header)));
      const options: LogOptions = {
        follow,
        signal: abort.signal,
        ...(tailBytes === undefined ? {} : { tailBytes }),
      };
      for await (const chunk of this.#console(as<VmId>(vmId), options)) {
        if (!stream.write(chunk)) await drained(stream);
        if (stream.destroyed) return;
      }
      stream.end();
    } catch (caught) {
      this.#deps.log.debug({ err: String(caught) }, "logs could not be served");
      stream.destroy();
    }
  }
}

/** One JSON answer of another node: `{format, ok}` or `{format, failure}`. */
async function readAnswer(stream: Duplex, bytesMax: number): Promise<unknown> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    // A Duplex in byte mode yields Buffers.
    parts.push(chunk as Buffer);
    length += parts.at(-1)?.length ?? 0;
    if (length > bytesMax) break;
  }
  const Answer = z.object({
    format: z.literal(1),
    ok: z.unknown().optional(),
    failure: z.unknown().optional(),
  });
  let parsed: unknown;
  try {
    parsed = length > bytesMax ? undefined : JSON.parse(Buffer.concat(parts, length).toString());
  } catch {
    // Cut off, or no JSON at all: told below.
    parsed = undefined;
  }
  const answer = Answer.safeParse(parsed);
  if (answer.success && isFailure(answer.data.failure)) throw new BlixardError(answer.data.failure);
  if (answer.success && answer.data.ok !== undefined) return answer.data.ok;
  const reason = "the node that has the VM gave no answer";
  return fail("Unavailable", { reason }, `Cannot ask for statistics: ${reason}`, "ask again");
}

function drained(stream: Duplex): Promise<void> {
  if (stream.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    stream.once("drain", resolve);
    stream.once("close", resolve);
  });
}

async function* readUntilAbort(stream: Duplex, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    // A Duplex in byte mode yields Buffers.
    for await (const chunk of stream) yield chunk as Buffer;
  } catch (caught) {
    if (!signal.aborted) throw caught;
  }
}
