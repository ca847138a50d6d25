/** A guest under the emulator that comes with Blixard, in a Node process of its own: nothing to install. */

import type { Socket } from "node:net";
import type { VmMachineStats } from "@blixard/std";
import { ShapeError } from "../json.ts";
import { LIMITS } from "../limits.ts";
import { Questions } from "../questions.ts";
import { nodeArguments } from "../self.ts";
import { describeExit, failed, spawnMachine } from "./child.ts";
import {
  decodeWord,
  type EmbeddedOrder,
  type EmbeddedWord,
  encodeEmbeddedConfig,
  encodeLine,
  Lines,
} from "./embedded-wire.ts";
import type { EmbeddedMachineConfig, Machine, MachineEnd } from "./types.ts";

/** The guest's memory lies outside V8's heap, which stays small. */
const V8_FLAGS = [
  // Called once, see embedded-main.
  "--expose-gc",
  "--max-semi-space-size=2",
  // Little of it is alive: helpers would take longer to wake than to help.
  "--no-parallel-scavenge",
  `--max-old-space-size=${LIMITS.embeddedHeapBytes / 2 ** 20}`,
];

/** glibc gives back what the compiler's threads are done with, instead of keeping it for each of them. */
const MALLOC = { MALLOC_ARENA_MAX: "1", MALLOC_TRIM_THRESHOLD_: "262144" } as const;

/** Errors: DriverFailed with the machine's words. */
export async function startEmbedded(
  config: EmbeddedMachineConfig,
  log: (line: string) => void,
): Promise<Machine> {
  const main = nodeArguments(import.meta.url, "./embedded-main");
  const argv = [process.execPath, ...V8_FLAGS, ...main];
  const child = await spawnMachine("embedded", argv, log, true, MALLOC);
  const ready = Promise.withResolvers<void>();
  const stats = new Questions<VmMachineStats>("the embedded machine's statistics");
  let end: MachineEnd | undefined;
  readWords(child.control, {
    onWord: (word) => {
      if (word.kind === "ready") ready.resolve();
      else if (word.kind === "stats") stats.answer(word.id, word.stats);
      else if (word.kind === "refused") ready.reject(failed("embedded", word.reason));
      else end ??= word;
    },
    onBroken: (reason) => {
      log(`the embedded machine's control socket: ${reason}`);
      child.kill();
    },
  });
  const exited = child.closed.then((closed): MachineEnd => {
    const how = describeExit(closed);
    ready.reject(failed("embedded", `it did not start: ${how}`));
    stats.end(failed("embedded", `it ended: ${how}`));
    // It announces why it ends; without a word it was killed or failed.
    return end !== undefined && closed.signal === null
      ? end
      : { kind: "died", reason: `the embedded machine ${how}` };
  });
  const order = (message: EmbeddedOrder): void => {
    if (!child.control.destroyed) child.control.write(encodeLine(message));
  };
  child.control.write(encodeEmbeddedConfig(config));
  const late = setTimeout(() => {
    ready.reject(failed("embedded", `it was not ready within ${LIMITS.embeddedReadyMs} ms`));
  }, LIMITS.embeddedReadyMs);
  try {
    await ready.promise;
  } catch (caught) {
    child.kill();
    await child.closed;
    throw caught;
  } finally {
    clearTimeout(late);
  }
  return {
    identity: child.identity,
    agentStream: child.agent,
    console: child.console,
    run: (deadlineMonotonicMs) => {
      order({ kind: "run", deadlineMonotonicMs });
      return Promise.resolve();
    },
    renew: (deadlineMonotonicMs) => order({ kind: "renew", deadlineMonotonicMs }),
    stats: () => stats.ask((id) => order({ kind: "stats", id })),
    kill: () => child.kill(),
    exited,
  };
}

function readWords(
  control: Socket,
  listener: {
    readonly onWord: (word: EmbeddedWord) => void;
    readonly onBroken: (reason: string) => void;
  },
): void {
  const lines = new Lines();
  control.setEncoding("utf8");
  control.on("data", (text: string) => {
    try {
      for (const line of lines.push(text)) listener.onWord(decodeWord(line));
    } catch (caught) {
      if (!(caught instanceof ShapeError)) throw caught;
      listener.onBroken(caught.message);
    }
  });
}
