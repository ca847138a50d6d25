/** Starts a supervisor as a process of its own, which outlives this one. */

import { spawn } from "node:child_process";
import { open, stat } from "node:fs/promises";
import { join } from "node:path";
import { isMissing } from "@blixard/host";
import { BlixardError, failure, isFailure } from "@blixard/std";
import { compileCacheDir } from "../compile-cache.ts";
import { asObject, parseWith } from "../json.ts";
import { LIMITS } from "../limits.ts";
import { nodeArguments } from "../self.ts";
import { encodeConfig, type SupervisorConfig } from "../supervisor/config.ts";

const LOG_FILE = "supervisor.log";
const LOG_BYTES = 1024 * 1024;
/** The supervisor is small; a small young generation and one helper thread keep it so. */
const V8_FLAGS = ["--max-semi-space-size=1", "--max-old-space-size=256", "--v8-pool-size=1"];

/** A log that has grown large begins anew: it explains the last runs, nothing more. */
async function openLog(folder: string): Promise<Awaited<ReturnType<typeof open>>> {
  const path = join(folder, LOG_FILE);
  let size = 0;
  try {
    size = (await stat(path)).size;
  } catch (caught) {
    if (!isMissing(caught)) throw caught;
  }
  return await open(path, size > LOG_BYTES ? "w" : "a", 0o600);
}

/**
 * Resolves once the machine runs. Errors: those of the supervisor (Conflict, DriverFailed, ...),
 * TimedOut; none of them leaves anything running.
 */
export async function launchSupervisor(config: SupervisorConfig): Promise<void> {
  const logFile = await openLog(config.folder);
  let child;
  try {
    const main = nodeArguments(import.meta.url, "../supervisor/main");
    // The folder is for people who look at what runs here.
    child = spawn(process.execPath, [...V8_FLAGS, ...main, config.folder], {
      detached: true,
      cwd: "/",
      env: supervisorEnvironment(),
      stdio: ["pipe", logFile.fd, logFile.fd, "pipe"],
    });
  } finally {
    await logFile.close();
  }
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const timeoutMs = LIMITS.supervisorStartMs;
  const timer = setTimeout(
    () => reject(failedStart(config, `no word in ${timeoutMs} ms`)),
    timeoutMs,
  );
  let text = "";
  child.once("error", (error) => reject(failedStart(config, error.message)));
  const answers = child.stdio[3];
  answers?.on("data", (chunk: Buffer) => {
    text += chunk.toString("utf8");
    if (text.includes("\n") || text.length > LIMITS.frameBytes) resolve(text);
  });
  answers?.on("error", (error: Error) => reject(failedStart(config, error.message)));
  answers?.once("close", () => reject(failedStart(config, `it ended, see ${LOG_FILE}`)));
  // EPIPE when it died at once; `answers` then closes too.
  child.stdin?.on("error", () => child.stdin?.destroy());
  child.stdin?.end(encodeConfig(config));
  try {
    readAnswer(config, await promise);
  } catch (caught) {
    // It may still be on its way to starting the machine: nothing may run that nobody knows of.
    child.kill("SIGKILL");
    throw caught;
  } finally {
    clearTimeout(timer);
    answers?.destroy();
    child.unref();
  }
}

function readAnswer(config: SupervisorConfig, text: string): void {
  const parsed = parseWith(text, (value) => asObject(value, "answer"));
  if (!parsed.ok) throw failedStart(config, `an unreadable answer: ${parsed.error}`);
  if (parsed.value["ok"] === true) return;
  const failed = parsed.value["failure"];
  throw isFailure(failed) ? new BlixardError(failed) : failedStart(config, "it refused");
}

function supervisorEnvironment(): NodeJS.ProcessEnv {
  const kept = ["PATH", "HOME", "TMPDIR", "LANG", "TZ", "SystemRoot", "NODE_COMPILE_CACHE"];
  const own = kept.flatMap((name) =>
    process.env[name] === undefined ? [] : [[name, process.env[name]]],
  );
  return { NODE_COMPILE_CACHE: compileCacheDir(), ...Object.fromEntries(own) };
}

function failedStart(config: SupervisorConfig, why: string): BlixardError {
  const { driver, spec } = config;
  const reason = `the supervisor of VM "${spec.name}" did not start: ${why}`;
  return new BlixardError(failure("DriverFailed", { driver, reason }, `Cannot start: ${reason}`));
}
