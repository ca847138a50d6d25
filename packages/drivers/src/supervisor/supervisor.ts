/**
 * One run of one VM, from its first instruction to its end:
 *
 *   starting --agent said hello--> running --stop--> stopping --> stopped
 *       \_______________\_____________ exit, kill, deadline ______/
 *
 * The machine dies with this process (parent-death signal), and this process kills it at the
 * deadline: whatever happens to the daemon, the VM does not outlive its lease.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { hostClock } from "@blixard/host";
import { BlixardError, toBlixardError } from "@blixard/std";
import { PanicWatch } from "../console/panic.ts";
import type { ConsoleWriter } from "../console/writer.ts";
import { LIMITS } from "../limits.ts";
import type { Machine, MachineEnd } from "../machine/types.ts";
import type { ProcessIdentity } from "../os/index.ts";
import { type InstanceState, saveState, statusOf } from "../state.ts";
import type { InstanceEnd, InstancePhase, InstanceStatus } from "../types.ts";
import { ANSWERS, type Order, type Report } from "../wire.ts";
import type { SupervisorConfig } from "./config.ts";
import { Deadline } from "./deadline.ts";
import { Guest } from "./guest.ts";
import { AgentLine } from "./line.ts";
import { SupervisorServer } from "./server.ts";

export interface SupervisorOptions {
  readonly config: SupervisorConfig;
  readonly self: ProcessIdentity;
  readonly socket: string;
  /** As it stood before this start. */
  readonly previous: InstanceState;
  readonly console: ConsoleWriter;
  readonly log: (line: string) => void;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #machine: Machine;
  readonly #guest: Guest;
  readonly #deadline: Deadline;
  readonly #ended = Promise.withResolvers<void>();
  readonly #panic = new PanicWatch();
  #server: SupervisorServer | undefined;
  #state: InstanceState;
  #saving: Promise<void> = Promise.resolve();
  #flushing = false;
  #killed = false;
  #failure: string | undefined;
  #grace: NodeJS.Timeout | undefined;

  private constructor(options: SupervisorOptions, machine: Machine) {
    const { config, previous } = options;
    this.#options = options;
    this.#machine = machine;
    this.#state = {
      spec: previous.spec,
      driver: previous.driver,
      lockToken: previous.lockToken,
      epoch: config.run.epoch,
      phase: "starting",
      supervisor: options.self,
      backend: machine.identity,
      socket: options.socket,
    };
    this.#deadline = new Deadline(config.run.deadlineMonotonicMs, hostClock, () => {
      this.#kill();
      options.log("the deadline passed without a renewal: the machine was killed");
    });
    const line = new AgentLine(machine.agentStream, () => this.#deadline.check() !== undefined);
    this.#guest = new Guest({
      config,
      line,
      log: options.log,
      onCommandExit: (code) => this.#commandExit(code),
      onLost: () => this.#inBackground("listening again", this.#listenLater()),
    });
    machine.console.on("data", (chunk: Buffer) => this.#consoleData(chunk));
    machine.exited.then(
      (end) => this.#finish(end),
      (error: unknown) => this.#finish({ kind: "died", reason: String(error) }),
    );
  }

  /**
   * Takes over a paused machine: records it, opens the socket, lets it run. When it throws, the
   * machine is dead.
   */
  static async start(options: SupervisorOptions, machine: Machine): Promise<Supervisor> {
    const supervisor = new Supervisor(options, machine);
    try {
      await supervisor.#save();
      supervisor.#server = await SupervisorServer.listen({
        path: options.socket,
        log: options.log,
        greeting: () => supervisor.#statusReport(),
        onOrder: (order) => supervisor.#obey(order),
        takeLine: () => (supervisor.#state.phase === "running" ? supervisor.#lend() : undefined),
        onLineReleased: () => supervisor.#inBackground("listening again", supervisor.#listen()),
      });
      if (supervisor.#deadline.check() !== undefined) {
        await machine.run(supervisor.#deadline.deadlineMs);
      }
    } catch (caught) {
      machine.kill();
      await supervisor.ended;
      throw caught;
    }
    supervisor.#inBackground("boot", supervisor.#boot());
    return supervisor;
  }

  /** Resolves when the machine is gone and that is on disk and told. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** As the order of the same name; for signals to this process. */
  kill(): void {
    this.#killed = true;
    this.#kill();
  }

  #kill(): void {
    this.#machine.kill();
  }

  #lend(): ReturnType<Guest["lend"]> {
    return this.#guest.lend();
  }

  async #boot(): Promise<void> {
    try {
      await this.#guest.boot();
      if (this.#state.phase === "starting") await this.#enter("running");
    } catch (caught) {
      // A machine that ends takes the agent's line along a moment before, and knows better why.
      if (caught instanceof BlixardError && caught.code === "GuestUnreachable") {
        await Promise.race([this.#machine.exited, sleep(LIMITS.lastWordsMs)]);
      }
      if (this.#state.phase === "stopped") return;
      const reason = caught instanceof Error ? caught.message : String(caught);
      this.#options.log(`boot: ${reason}`);
      this.#failure ??= reason;
      this.#kill();
    }
  }

  async #listen(): Promise<void> {
    if (this.#state.phase === "running") await this.#guest.listen();
  }

  /** After the agent broke the protocol: not at once, as it may do so again and again. */
  async #listenLater(): Promise<void> {
    await sleep(LIMITS.agentBackoffMs);
    await this.#listen();
  }

  #obey(order: Order): void {
    switch (order.kind) {
      case "renew":
        return this.#renew(order.deadlineMonotonicMs);
      case "kill":
        return this.kill();
      case "commandExit":
        return this.#commandExit(order.code);
      case "stats":
        return this.#inBackground("statistics", this.#stats(order.id));
      case "stop":
        return this.#inBackground("stop", this.#stop(order.graceMs));
    }
  }

  async #stats(id: number): Promise<void> {
    const consoleEnd = this.#options.console.writtenEnd;
    try {
      const stats = (await this.#machine.stats?.()) ?? { counters: {} };
      this.#server?.report({ kind: "stats", id, consoleEnd, stats });
    } catch (caught) {
      const { failure } = toBlixardError(caught);
      this.#server?.report({ kind: "stats", id, consoleEnd, failure });
    }
  }

  #renew(deadlineMonotonicMs: number): void {
    this.#deadline.renew(deadlineMonotonicMs);
    if (!this.#deadline.expired) this.#machine.renew?.(this.#deadline.deadlineMs);
  }

  async #stop(graceMs: number): Promise<void> {
    if (this.#state.phase !== "stopping") {
      if (this.#state.phase === "stopped") return;
      this.#server?.dropAgent();
      await this.#enter("stopping");
    }
    clearTimeout(this.#grace);
    this.#grace = setTimeout(() => this.kill(), Math.min(Math.max(0, graceMs), 2 ** 31 - 1));
    await this.#guest.shutdown();
  }

  #commandExit(code: number): void {
    if (this.#state.commandExit !== undefined || this.#state.phase === "stopped") return;
    this.#state = { ...this.#state, commandExit: code };
    this.#inBackground("saving", this.#announce());
  }

  #consoleData(chunk: Buffer): void {
    const now = this.#deadline.check();
    if (now === undefined) return;
    const { console } = this.#options;
    console.append(this.#state.epoch, now, chunk);
    this.#panic.push(chunk);
    if (console.queuedBytes > LIMITS.consoleQueueBytes) this.#machine.console.pause();
    if (!this.#flushing) this.#inBackground("console", this.#flushConsole());
  }

  async #flushConsole(): Promise<void> {
    this.#flushing = true;
    try {
      await this.#options.console.flush();
    } finally {
      this.#flushing = false;
      this.#machine.console.resume();
      const { writtenEnd: consoleEnd } = this.#options.console;
      if (this.#state.phase !== "stopped") this.#server?.report({ kind: "console", consoleEnd });
    }
  }

  async #enter(phase: InstancePhase): Promise<void> {
    this.#state = { ...this.#state, phase };
    await this.#announce();
  }

  /** On disk first: what a daemon was told must not be forgotten by a crash. */
  async #announce(): Promise<void> {
    await this.#save();
    this.#server?.report(this.#statusReport());
  }

  /** Saves one after the other, each with the newest state. */
  async #save(): Promise<void> {
    const next = this.#saving.then(() => saveState(this.#options.config.folder, this.#state));
    this.#saving = next.catch((error: unknown) => {
      this.#options.log(`saving the state: ${String(error)}`);
    });
    await next;
  }

  #statusReport(): Report {
    const consoleEnd = this.#options.console.writtenEnd;
    const status: InstanceStatus = statusOf(this.#state);
    return { kind: "status", status, consoleEnd, answers: ANSWERS };
  }

  async #finish(machineEnd: MachineEnd): Promise<void> {
    this.#deadline.close();
    clearTimeout(this.#grace);
    const ended = this.#endOf(machineEnd);
    this.#state = { ...this.#state, phase: "stopped", ended };
    this.#guest.close();
    this.#server?.dropAgent();
    this.#options.log(`ended: ${JSON.stringify(ended)}`);
    await this.#attempt("console", this.#options.console.close());
    await this.#attempt("saving", this.#save());
    this.#server?.report(this.#statusReport());
    await this.#attempt("closing", this.#server?.close() ?? Promise.resolve());
    this.#ended.resolve();
  }

  #endOf(machineEnd: MachineEnd): InstanceEnd {
    const expired = this.#deadline.expired || machineEnd.kind === "leaseExpired";
    if (expired) return { kind: "leaseExpired" };
    const panic = this.#panic.found;
    if (panic !== undefined && machineEnd.kind === "died" && !this.#killed) {
      const where = `blixard vm logs ${this.#state.spec.name}`;
      return { kind: "crashed", reason: `the guest's kernel panicked: ${panic} (see ${where})` };
    }
    if (this.#failure !== undefined) return { kind: "crashed", reason: this.#failure };
    if (machineEnd.kind === "shutdown") return { kind: "shutdown" };
    if (this.#killed) return { kind: "killed" };
    return { kind: "crashed", reason: machineEnd.reason };
  }

  #inBackground(what: string, work: Promise<void>): void {
    void this.#attempt(what, work);
  }

  async #attempt(what: string, work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (caught) {
      this.#options.log(`${what}: ${caught instanceof Error ? caught.message : String(caught)}`);
    }
  }
}
