/** The typed client, which is the SDK: every method rejects with BlixardError. */

import { BlixardError, fail, type ExecRequest, type ExecSession, type VmStats } from "@blixard/std";
import type { Maintenance, PlacementExplanation, VmRecord, VmSpec } from "@blixard/control";
import type { ClusterStatus, Consistency, Listed, NodeView, WatchEvent } from "../backend.ts";
import {
  connectionFailure,
  open,
  parseEndpoint,
  requestJson,
  type CallOptions,
  type RequestOptions,
  type Target,
} from "./request.ts";
import { openWatch, readWatch, watch, type WatchOptions } from "./watch.ts";

export interface ClientOptions {
  /** `http://HOST:PORT` or `unix:/PATH`. */
  readonly endpoint: string;
  readonly token: string;
}

export interface ReadOptions extends CallOptions {
  readonly consistency?: Consistency;
}

/** Fields left out take the server's defaults: 1 vCPU, 256 MiB, no disk, no labels, no command. */
export type NewVm = Pick<VmSpec, "name" | "image"> & Partial<VmSpec>;

export interface WaitOptions extends CallOptions {
  /** Default 60000. */
  readonly timeoutMs?: number;
}

export class Client {
  readonly #target: Target;

  constructor(options: ClientOptions) {
    this.#target = parseEndpoint(options.endpoint, options.token);
  }

  /** The only unchecked step from bytes to types: requestJson has seen that it is a JSON object. */
  async #json<T>(options: RequestOptions): Promise<T> {
    // Safe as far as the server keeps its contract, which its own tests check route by route.
    return (await requestJson(this.#target, options)) as T;
  }

  health(options: CallOptions = {}): Promise<{ ok: true }> {
    return this.#json({ ...options, method: "GET", path: "/v1/health" });
  }

  status(options: CallOptions = {}): Promise<ClusterStatus> {
    return this.#json({ ...options, method: "GET", path: "/v1/status" });
  }

  listNodes(options: ReadOptions = {}): Promise<Listed<NodeView>> {
    return this.#json({ ...options, method: "GET", path: read("/v1/nodes", options) });
  }

  getNode(ref: string, options: CallOptions = {}): Promise<NodeView> {
    return this.#json({ ...options, method: "GET", path: `/v1/nodes/${encodeURIComponent(ref)}` });
  }

  async removeNode(ref: string, options: CallOptions = {}): Promise<void> {
    const path = `/v1/nodes/${encodeURIComponent(ref)}`;
    await requestJson(this.#target, { ...options, method: "DELETE", path });
  }

  setMaintenance(
    ref: string,
    maintenance: Maintenance | "none",
    options: CallOptions = {},
  ): Promise<NodeView> {
    const path = `/v1/nodes/${encodeURIComponent(ref)}/maintenance`;
    return this.#json({ ...options, method: "POST", path, body: { maintenance } });
  }

  createTicket(
    body: { uses?: number; ttlMs?: number } = {},
    options: CallOptions = {},
  ): Promise<{ ticket: string; expiresAtMs: number }> {
    return this.#json({ ...options, method: "POST", path: "/v1/tickets", body });
  }

  listVms(options: ReadOptions = {}): Promise<Listed<VmRecord>> {
    return this.#json({ ...options, method: "GET", path: read("/v1/vms", options) });
  }

  getVm(ref: string, options: ReadOptions = {}): Promise<VmRecord> {
    return this.#json({ ...options, method: "GET", path: read(vmPath(ref), options) });
  }

  createVm(
    spec: NewVm,
    desired: "running" | "stopped" = "running",
    options: CallOptions = {},
  ): Promise<VmRecord> {
    return this.#json({ ...options, method: "POST", path: "/v1/vms", body: { spec, desired } });
  }

  startVm(ref: string, options: CallOptions = {}): Promise<VmRecord> {
    return this.#json({ ...options, method: "POST", path: vmPath(ref, "start") });
  }

  stopVm(ref: string, options: CallOptions = {}): Promise<VmRecord> {
    return this.#json({ ...options, method: "POST", path: vmPath(ref, "stop") });
  }

  /** Answers with the record as marked; `waitForVm` tells when it is gone. */
  deleteVm(ref: string, options: CallOptions = {}): Promise<VmRecord> {
    return this.#json({ ...options, method: "DELETE", path: vmPath(ref) });
  }

  explainVm(ref: string, options: CallOptions = {}): Promise<PlacementExplanation> {
    return this.#json({ ...options, method: "GET", path: vmPath(ref, "explain") });
  }

  vmStats(ref: string, options: CallOptions = {}): Promise<VmStats> {
    return this.#json({ ...options, method: "GET", path: vmPath(ref, "stats") });
  }

  /** Resumes by itself over lost connections; fails with Compacted when that is no longer possible. */
  watch(options: WatchOptions = {}): AsyncIterable<WatchEvent> {
    return watch(this.#target, options);
  }

  /** Console bytes; `follow` goes on until the signal or the VM's end. */
  async *logs(
    ref: string,
    options: CallOptions & { follow?: boolean; tailBytes?: number } = {},
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { follow = false, tailBytes, ...call } = options;
    const tail = tailBytes === undefined ? "" : `&tailBytes=${tailBytes}`;
    const path = `${vmPath(ref, "logs")}?follow=${follow}${tail}`;
    const response = await open(this.#target, {
      ...call,
      method: "GET",
      path,
      headers: { connection: "close" },
    });
    try {
      // Safe: without an encoding set, an IncomingMessage yields Buffers.
      for await (const chunk of response) yield chunk as Uint8Array;
    } catch (error) {
      if (options.signal?.aborted !== true) {
        throw connectionFailure(this.#target, error, path, false);
      }
    }
  }

  async exec(ref: string, request: ExecRequest, options: CallOptions = {}): Promise<ExecSession> {
    // Loaded on first use: most commands of the CLI never open a WebSocket.
    const module = await import("./exec.ts");
    return module.exec(this.#target, ref, request, options);
  }

  /**
   * Waits until `done` says true of the VM, given undefined once it does not exist. `done` may throw to
   * give up. Fails with TimedOut. `ref` is resolved once: a name given to a new VM later does not count.
   */
  async waitForVm(
    ref: string,
    done: (vm: VmRecord | undefined) => boolean,
    options: WaitOptions = {},
  ): Promise<VmRecord | undefined> {
    const timeoutMs = options.timeoutMs ?? 60_000;
    const timer = AbortSignal.timeout(timeoutMs);
    const signal = options.signal === undefined ? timer : AbortSignal.any([options.signal, timer]);
    try {
      for (;;) {
        const found = await this.#waitOnce(ref, done, signal);
        if (found !== "lost") return found.vm;
      }
    } catch (error) {
      if (timer.aborted && options.signal?.aborted !== true && !(error instanceof BlixardError)) {
        const operation = `waiting for ${ref}`;
        fail(
          "TimedOut",
          { operation, timeoutMs },
          `${operation} took longer than ${timeoutMs} ms.`,
          `see why with \`blixard vm explain ${ref}\` and \`blixard vm inspect ${ref}\``,
        );
      }
      throw error;
    }
  }

  /** "lost": the stream ended before an answer; the caller begins again with a fresh look. */
  async #waitOnce(
    ref: string,
    done: (vm: VmRecord | undefined) => boolean,
    signal: AbortSignal,
  ): Promise<{ vm: VmRecord | undefined } | "lost"> {
    // The stream opens before the look, so that no change falls between the two.
    const stream = await openWatch(this.#target, undefined, { signal });
    try {
      let vm: VmRecord | undefined;
      try {
        vm = await this.getVm(ref, { signal });
      } catch (error) {
        if (!(error instanceof BlixardError) || error.code !== "NotFound") throw error;
      }
      if (done(vm)) return { vm };
      if (vm === undefined) await this.getVm(ref, { signal });
      for await (const event of readWatch(this.#target, stream)) {
        if (event.kind !== "vm" || event.object.id !== vm?.id) continue;
        // Safe: events of kind "vm" carry VmRecords.
        const next = event.type === "removed" ? undefined : (event.object as VmRecord);
        if (done(next)) return { vm: next };
      }
      return "lost";
    } finally {
      stream.destroy();
    }
  }

  /** Closes all connections, also those in use: for when the last answer is in. */
  close(): void {
    this.#target.agent.destroy();
  }
}

export function createClient(options: ClientOptions): Client {
  return new Client(options);
}

function read(path: string, options: ReadOptions): string {
  return options.consistency === undefined ? path : `${path}?consistency=${options.consistency}`;
}

function vmPath(ref: string, action?: string): string {
  const path = `/v1/vms/${encodeURIComponent(ref)}`;
  return action === undefined ? path : `${path}/${action}`;
}
