/** One VM on this host as the driver handles it: its folder, and its supervisor while one lives. */

import { randomBytes } from "node:crypto";
import { mkdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { hostClock, syncFolder } from "@blixard/host";
import { as, BlixardError, type Epoch, fail, toBlixardError, type VmStats } from "@blixard/std";
import type { AgentClient } from "../agent/index.ts";
import { LIMITS } from "../limits.ts";
import { hostOs } from "../os/index.ts";
import { killAndWait, signalProcess, waitGone } from "../os/process.ts";
import {
  createState,
  type InstanceState,
  isActive,
  loadState,
  saveState,
  statusOf,
} from "../state.ts";
import type { InstanceEnd, InstanceSpec, InstanceStatus, RunOptions } from "../types.ts";
import type { Order } from "../wire.ts";
import type { Backend } from "./backend.ts";
import { SupervisorConnection } from "./connection.ts";
import { type HealthOptions, HealthWatch } from "./health.ts";
import { launchSupervisor } from "./launch.ts";
import { withLock } from "./lock.ts";

/** Marks folders that are being deleted; left by a crash, they are removed later. */
export const DELETED_PREFIX = ".deleted-";

export interface InstanceOptions {
  readonly folder: string;
  readonly backend: Backend;
  readonly log: (line: string) => void;
  readonly emit: (status: InstanceStatus) => void;
  readonly onConsole: () => void;
  /** What was last renewed; a supervisor met later is told at once. */
  readonly deadlineMs: () => number;
  readonly health: HealthOptions;
}

export class Instance {
  readonly #options: InstanceOptions;
  readonly #folder: string;
  #connection: SupervisorConnection | undefined;
  /** While a connected instance runs. */
  #health: HealthWatch | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #waiters = new Set<() => void>();
  /** The supervisor's start time of the run whose end was told: an end is told once. */
  #toldEndOf: string | undefined;
  #closed = false;

  constructor(options: InstanceOptions) {
    this.#options = options;
    this.#folder = options.folder;
  }

  async create(spec: InstanceSpec): Promise<void> {
    await this.#exclusive(async () => {
      const found = await loadState(this.#folder);
      if (found !== undefined) return sameSpec(found.spec, spec);
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      await this.#options.backend.prepare(spec, this.#folder);
      const made = await createState(this.#folder, {
        spec,
        driver: this.#options.backend.name,
        lockToken: randomBytes(16).toString("hex"),
        epoch: as<Epoch>(0),
        phase: "created",
      });
      await syncFolder(dirname(this.#folder));
      if (!made) sameSpec((await this.#load()).spec, spec);
    });
  }

  async start(run: RunOptions): Promise<void> {
    await this.#exclusive(async () => {
      const state = await this.#current();
      if (state === undefined) this.#absent();
      if (isActive(state.phase)) {
        const reason = `an instance of VM "${state.spec.name}" still runs (epoch ${state.epoch})`;
        fail("Conflict", { reason }, `Cannot start it: ${reason}`, "stop it first");
      }
      // The run before has told its end; its supervisor needs a moment to be gone.
      if (state.supervisor !== undefined) await waitGone(state.supervisor, LIMITS.reapMs);
      const machine = await this.#options.backend.machine(state.spec, this.#folder);
      const { name: driver } = this.#options.backend;
      this.#connection?.close();
      this.#connection = undefined;
      await launchSupervisor({ folder: this.#folder, driver, spec: state.spec, run, machine });
      const started = await this.#load();
      try {
        await this.#attach(started);
      } catch (caught) {
        // A machine that ended at once took its supervisor along: told as an event, like any end.
        const { supervisor } = started;
        if (supervisor === undefined || !hostOs.isAlive(supervisor)) return;
        await killAndWait(supervisor);
        throw caught;
      }
    });
  }

  /** Undefined when there is no such instance. Errors: Corrupt. */
  async status(): Promise<InstanceStatus | undefined> {
    if (this.#connection?.closed === false) return this.#seen(this.#connection.status);
    return await this.#exclusive(async () => {
      const state = await this.#current();
      if (this.#connection?.closed === false) return this.#seen(this.#connection.status);
      return state === undefined ? undefined : statusOf(state);
    });
  }

  renew(deadlineMonotonicMs: number): void {
    this.#connection?.send({ kind: "renew", deadlineMonotonicMs });
  }

  async stop(graceMs: number): Promise<void> {
    if (!(await this.#order({ kind: "stop", graceMs }))) return;
    if (await this.#whenStopped(graceMs + LIMITS.supervisorReplyMs)) return;
    this.#options.log(`the supervisor in ${this.#folder} does not stop its VM: killing both`);
    await this.#force();
  }

  async kill(): Promise<void> {
    if (!(await this.#order({ kind: "kill" }))) return;
    if (await this.#whenStopped(LIMITS.killReplyMs)) return;
    this.#options.log(`the supervisor in ${this.#folder} does not kill its VM: killing both`);
    await this.#force();
  }

  async delete(): Promise<void> {
    await this.#exclusive(async () => {
      const state = await this.#current();
      if (state === undefined) return;
      const busy = (): never => {
        const reason = `VM "${state.spec.name}" still runs`;
        return fail("Conflict", { reason }, `Cannot delete it: ${reason}`, "stop it first");
      };
      if (isActive(state.phase)) busy();
      if (state.supervisor !== undefined) await waitGone(state.supervisor, LIMITS.reapMs);
      const parent = dirname(this.#folder);
      const grave = join(parent, `${DELETED_PREFIX}${basename(this.#folder)}-${Date.now()}`);
      const moved = await withLock(state.lockToken, () => rename(this.#folder, grave));
      if (moved === undefined) busy();
      await syncFolder(parent);
      await rm(grave, { recursive: true, force: true });
      if (state.socket !== undefined) await rm(state.socket, { force: true });
    });
  }

  /** Errors: NotFound, NotRunning, GuestUnreachable. */
  async agent(): Promise<AgentClient> {
    const status = await this.status();
    if (status === undefined) return this.#absent();
    const connection = this.#connection;
    if (status.phase !== "running" || connection === undefined || connection.closed) {
      return this.#notRunning((await this.#load()).spec, status);
    }
    return await connection.agent();
  }

  /** Errors: NotFound, NotRunning, TimedOut, Unavailable. */
  async stats(): Promise<VmStats> {
    const status = await this.status();
    if (status === undefined) return this.#absent();
    const connection = this.#connection;
    const { spec, backend, driver } = await this.#load();
    if (!isActive(status.phase) || connection === undefined || connection.closed) {
      return this.#notRunning(spec, status);
    }
    const measured = await connection.stats();
    const usage = backend === undefined ? undefined : hostOs.usage(backend);
    return {
      vmId: status.vmId,
      epoch: status.epoch,
      driver,
      ...(usage === undefined ? {} : { process: usage }),
      consoleBytes: measured?.consoleEnd ?? 0,
      counters: {},
      ...measured?.stats,
    };
  }

  #notRunning(spec: InstanceSpec, { phase }: InstanceStatus): never {
    return fail(
      "NotRunning",
      { vm: spec.name, state: phase },
      `VM "${spec.name}" is ${phase}, not running`,
      `wait for it with: blixard vm wait ${spec.name}`,
    );
  }

  close(): void {
    this.#closed = true;
    this.#health?.stop();
    this.#connection?.close();
    for (const waiter of this.#waiters) waiter();
  }

  async #load(): Promise<InstanceState> {
    return (await loadState(this.#folder)) ?? this.#absent();
  }

  #absent(): never {
    const name = basename(this.#folder);
    return fail("NotFound", { kind: "instance", name }, `No instance of VM ${name} is here`);
  }

  /** One after the other: create, start, delete and settling read and change the same state. */
  async #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work, work);
    this.#turn = turn.catch(() => undefined);
    return await turn;
  }

  /** State on disk made true: a run whose supervisor died is ended, a live one is connected. */
  async #current(): Promise<InstanceState | undefined> {
    const state = await loadState(this.#folder);
    if (state === undefined || !isActive(state.phase)) return state;
    if (this.#connection?.closed === false) return state;
    if (state.supervisor === undefined || !hostOs.isAlive(state.supervisor)) {
      return await this.#settle();
    }
    try {
      await this.#attach(state);
    } catch (caught) {
      // It may be ending right now, or be stopped by a debugger: its state file still holds.
      this.#options.log(`cannot reach the supervisor: ${toBlixardError(caught).message}`);
      if (!hostOs.isAlive(state.supervisor)) return await this.#settle();
    }
    return state;
  }

  async #attach(state: InstanceState): Promise<void> {
    if (state.socket === undefined) return;
    this.#connection?.close();
    let connection: SupervisorConnection;
    try {
      connection = await SupervisorConnection.open({
        path: state.socket,
        vm: state.spec.name,
        log: this.#options.log,
        onStatus: (status) => this.#tell(status),
        onConsole: this.#options.onConsole,
        onClosed: () => {
          this.#health?.stop();
          this.#health = undefined;
          this.#lost(state);
        },
      });
    } catch (caught) {
      // A machine that ended at once has taken its supervisor along.
      this.#lost(state);
      throw caught;
    }
    if (this.#closed) return connection.close();
    this.#health?.stop();
    this.#health = undefined;
    this.#connection = connection;
    const deadlineMonotonicMs = this.#options.deadlineMs();
    if (deadlineMonotonicMs > 0) connection.send({ kind: "renew", deadlineMonotonicMs });
    this.#tell(connection.status);
  }

  /** The end is told only once its supervisor is gone: whoever hears of it may start anew. */
  #tell(status: InstanceStatus): void {
    this.#watch(status);
    if (status.phase !== "stopped") this.#options.emit(this.#seen(status));
  }

  #seen(status: InstanceStatus): InstanceStatus {
    const unresponsive = status.phase === "running" && this.#health?.unresponsive === true;
    return unresponsive ? { ...status, unresponsive } : status;
  }

  /** The guest of a new connection is asked anew. */
  #watch({ phase }: InstanceStatus): void {
    const connection = this.#connection;
    if (phase !== "running" || connection === undefined || this.#closed) {
      this.#health?.stop();
      this.#health = undefined;
      return;
    }
    this.#health ??= new HealthWatch(this.#options.health, {
      ask: async (timeoutMs) => (await connection.agent()).health(timeoutMs),
      onChange: () => this.#tell(connection.status),
      nowMs: () => hostClock.monotonicMs(),
    });
  }

  #lost(state: InstanceState): void {
    void this.#afterLoss(state).catch((error: unknown) => {
      this.#options.log(`after a supervisor: ${toBlixardError(error).message}`);
    });
  }

  async #afterLoss(state: InstanceState): Promise<void> {
    if (state.supervisor === undefined) return;
    try {
      await waitGone(state.supervisor, LIMITS.reapMs);
    } catch (caught) {
      // Another daemon has adopted it: its end is that daemon's to tell.
      if (caught instanceof BlixardError && caught.code === "TimedOut") return;
      throw caught;
    }
    await this.#exclusive(async () => {
      const now = await loadState(this.#folder);
      // Only for the run that was lost: another may have been started since.
      if (now?.supervisor?.startTime !== state.supervisor?.startTime) return;
      await this.#settle();
    });
  }

  /** The state's end of a run whose supervisor is gone; tells it. Call within `#exclusive`. */
  async #settle(end?: InstanceEnd): Promise<InstanceState | undefined> {
    const before = await loadState(this.#folder);
    if (before === undefined) return undefined;
    const settled = await withLock(before.lockToken, async () => {
      const state = await this.#load();
      if (!isActive(state.phase)) return state;
      if (state.backend !== undefined) await killAndWait(state.backend);
      const ended = end ?? { kind: "crashed", reason: "its supervisor died" };
      const stopped: InstanceState = { ...state, phase: "stopped", ended };
      await saveState(this.#folder, stopped);
      return stopped;
    });
    if (settled === undefined) return await this.#load();
    this.#connection?.close();
    this.#connection = undefined;
    const run = settled.value.supervisor?.startTime;
    if (!this.#closed && this.#toldEndOf !== run) this.#options.emit(statusOf(settled.value));
    this.#toldEndOf = run;
    for (const waiter of this.#waiters) waiter();
    return settled.value;
  }

  /** False when nothing runs. */
  async #order(order: Order): Promise<boolean> {
    return await this.#exclusive(async () => {
      const state = await this.#current();
      if (state === undefined || !isActive(state.phase)) return false;
      this.#connection?.send(order);
      return true;
    });
  }

  async #whenStopped(timeoutMs: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, Math.min(timeoutMs, 2 ** 31 - 1));
    const check = async (): Promise<boolean> => {
      const state = await loadState(this.#folder);
      if (state === undefined) return true;
      if (isActive(state.phase)) return false;
      return state.supervisor === undefined || !hostOs.isAlive(state.supervisor);
    };
    this.#waiters.add(resolve);
    try {
      if (await check()) return true;
      await promise;
      return this.#closed || (await check());
    } finally {
      clearTimeout(timer);
      this.#waiters.delete(resolve);
    }
  }

  /** For a supervisor that does not obey: both processes are killed, by identity. */
  async #force(): Promise<void> {
    await this.#exclusive(async () => {
      const state = await loadState(this.#folder);
      if (state?.supervisor === undefined) return;
      signalProcess(state.supervisor, "SIGKILL");
      await waitGone(state.supervisor, LIMITS.reapMs);
      await this.#settle({ kind: "killed" });
    });
  }
}

function sameSpec(existing: InstanceSpec, wanted: InstanceSpec): void {
  const order = (spec: InstanceSpec): string =>
    JSON.stringify(Object.entries(spec).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  if (order(existing) === order(wanted)) return;
  const reason = `VM "${existing.name}" exists here with another specification`;
  fail("Conflict", { reason }, `Cannot create it: ${reason}`, "delete it first");
}
