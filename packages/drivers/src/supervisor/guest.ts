/** The supervisor's own conversation with the guest's agent, for as long as no daemon holds the line. */

import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import { AgentClient } from "../agent/index.ts";
import { LIMITS } from "../limits.ts";
import type { SupervisorConfig } from "./config.ts";
import type { AgentLine } from "./line.ts";

export const hostRandom = { u32: (): number => randomBytes(4).readUInt32LE() };

export interface GuestOptions {
  readonly config: SupervisorConfig;
  readonly line: AgentLine;
  readonly log: (line: string) => void;
  readonly onCommandExit: (code: number) => void;
  /** The agent broke off the conversation; the machine may still be alive. */
  readonly onLost: () => void;
}

/** A name that is valid as a host name, whatever the VM is called. */
export function hostnameOf(name: string, vmId: string): string {
  const cleaned = name
    .replaceAll(/[^A-Za-z0-9.-]/g, "-")
    .slice(0, 63)
    .replaceAll(/^[.-]+|[.-]+$/g, "");
  return cleaned === "" ? `vm-${vmId}` : cleaned;
}

export class Guest {
  readonly #options: GuestOptions;
  #client: AgentClient | undefined;
  #greeted: Promise<AgentClient> | undefined;

  constructor(options: GuestOptions) {
    this.#options = options;
  }

  /** Waits for the booting agent and gives it epoch and command. Errors: see AgentClient.hello. */
  async boot(): Promise<void> {
    const { spec, run } = this.#options.config;
    const client = await this.#greet();
    await client.startWorkload({
      epoch: run.epoch,
      hostname: hostnameOf(spec.name, spec.vmId),
      command: spec.command,
      env: {},
      ...(run.trace === undefined ? {} : { trace: run.trace }),
    });
  }

  /** Asks the guest to power itself off, as soon as its agent answers. */
  async shutdown(): Promise<void> {
    const client = await this.#greet();
    await client.shutdown("poweroff");
  }

  /** Listens again after a daemon gave the line back. */
  async listen(): Promise<void> {
    await this.#greet();
  }

  /** The line for a daemon; the own conversation ends. */
  lend(): Duplex {
    this.close();
    return this.#options.line.take();
  }

  close(): void {
    this.#client?.close();
    this.#client = undefined;
    this.#greeted = undefined;
  }

  #greet(): Promise<AgentClient> {
    this.#greeted ??= this.#connect();
    return this.#greeted;
  }

  async #connect(): Promise<AgentClient> {
    const { config, line, log, onCommandExit } = this.#options;
    const client = new AgentClient({
      stream: line.take(),
      random: hostRandom,
      vm: config.spec.name,
      log,
      onWorkloadExit: onCommandExit,
      onLost: (error) => {
        log(`the agent's line: ${error.message}`);
        if (this.#client !== client) return;
        this.close();
        this.#options.onLost();
      },
    });
    this.#client = client;
    try {
      const hello = await client.hello(LIMITS.helloMs);
      if (hello.workloadExit !== undefined) onCommandExit(hello.workloadExit);
      return client;
    } catch (caught) {
      client.close();
      if (this.#client === client) this.close();
      throw caught;
    }
  }
}
