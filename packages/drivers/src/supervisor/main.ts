/** The supervisor's process: configuration on stdin, one answer on descriptor 3, then it stays. */

import { closeSync, createWriteStream, writeSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { hasCode } from "@blixard/host";
import { BlixardError, fail, failure, toBlixardError } from "@blixard/std";
import { ConsoleWriter } from "../console/writer.ts";
import { LIMITS } from "../limits.ts";
import type { Machine, MachineConfig } from "../machine/types.ts";
import { hostOs } from "../os/index.ts";
import { killAndWait } from "../os/process.ts";
import { socketPath } from "../socket-path.ts";
import { type InstanceState, loadState } from "../state.ts";
import { decodeConfig, type StartAnswer, type SupervisorConfig } from "./config.ts";
import { Supervisor } from "./supervisor.ts";

const ANSWER_FD = 3;
const LOCK_RETRY_MS = 20;
const LOCK_RETRIES = 50;

// Written in the background: a slow disk must not delay the deadline's check.
const logFile = createWriteStream("", { fd: 2 });

function log(line: string): void {
  logFile.write(`${new Date().toISOString()} ${line}\n`);
}

async function exit(code: number): Promise<never> {
  await new Promise<void>((resolve) => logFile.end(() => resolve()));
  process.exit(code);
}

function answer(value: StartAnswer): void {
  try {
    writeSync(ANSWER_FD, `${JSON.stringify(value)}\n`);
    closeSync(ANSWER_FD);
  } catch (caught) {
    // The daemon died meanwhile; the next one finds this supervisor through its folder.
    if (!hasCode(caught, "EPIPE")) throw caught;
  }
}

async function readStdin(): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const chunk of process.stdin) {
    // Safe: stdin without an encoding yields buffers.
    const part = chunk as Buffer;
    length += part.length;
    if (length > LIMITS.stateBytes) {
      const data = { what: "configuration", limit: LIMITS.stateBytes, actual: length };
      fail("TooLarge", data, `The configuration has more than ${LIMITS.stateBytes} bytes`);
    }
    parts.push(part);
  }
  return Buffer.concat(parts, length).toString("utf8");
}

/** Held until this process dies: no second supervisor of this instance gets past it. */
async function lock(state: InstanceState): Promise<void> {
  const address = hostOs.lockAddress(state.lockToken);
  if (address === undefined) return;
  for (let attempt = 0; ; attempt++) {
    const server = createServer((socket) => socket.destroy());
    try {
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(address, resolve);
      });
      server.unref();
      return;
    } catch (caught) {
      if (!hasCode(caught, "EADDRINUSE")) throw caught;
      // A daemon that settles a dead run holds it for a moment.
      if (attempt < LOCK_RETRIES) await sleep(LOCK_RETRY_MS);
      else alreadyRuns(state);
    }
  }
}

function alreadyRuns(state: InstanceState): never {
  const reason = `an instance of VM "${state.spec.name}" still runs on this host`;
  return fail("Conflict", { reason }, `Cannot start it: ${reason}`, "stop it first");
}

async function startMachine(config: MachineConfig): Promise<Machine> {
  if (config.kind === "embedded") {
    const { startEmbedded } = await import("../machine/embedded.ts");
    return await startEmbedded(config, log);
  }
  if (config.kind === "qemu") {
    const { startQemu } = await import("../machine/qemu.ts");
    return await startQemu(config, log);
  }
  const { startFake } = await import("../machine/fake.ts");
  return await startFake(config, log);
}

async function takeOver(config: SupervisorConfig): Promise<InstanceState> {
  const found = await loadState(config.folder);
  if (found === undefined) {
    const data = { kind: "instance", name: config.spec.name };
    return fail("NotFound", data, `There is no instance of VM "${config.spec.name}" here`);
  }
  await lock(found);
  // Read again under the lock: the run before may have ended meanwhile.
  const state = (await loadState(config.folder)) ?? found;
  if (config.run.epoch < state.epoch) {
    const reason = `epoch ${config.run.epoch} is older than ${state.epoch}, which ran here before`;
    fail("Conflict", { reason }, `Cannot start VM "${config.spec.name}": ${reason}`);
  }
  // Its supervisor is dead, so the kernel has killed it; this waits until that is done.
  if (state.backend !== undefined) await killAndWait(state.backend);
  return state;
}

async function start(): Promise<{ supervisor: Supervisor; socket: string }> {
  const config = decodeConfig(await readStdin());
  const missing = hostOs.missing();
  if (missing !== undefined) log(`warning: ${missing}`);
  const self = hostOs.identify(process.pid);
  if (self === undefined) {
    const reason = "this process cannot find itself";
    throw new BlixardError(failure("Internal", { reason }, reason));
  }
  const previous = await takeOver(config);
  const socket = socketPath(config.folder);
  const console = await ConsoleWriter.open({ folder: config.folder });
  const machine = await startMachine(config.machine);
  const options = { config, self, socket, previous, console, log };
  return { supervisor: await Supervisor.start(options, machine), socket };
}

async function main(): Promise<void> {
  process.umask(0o077);
  let supervisor: Supervisor;
  try {
    const started = await start();
    supervisor = started.supervisor;
    answer({ ok: true, socket: started.socket });
    // Written at a normal end otherwise, and many do not come to one.
    flushCompileCache();
  } catch (caught) {
    const error = toBlixardError(caught);
    log(`not started: ${error.message}`);
    answer({ ok: false, failure: error.failure });
    return await exit(1);
  }
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    process.on(signal, () => supervisor.kill());
  }
  await supervisor.ended;
  await exit(0);
}

await main();
