/** The fake machine: a process that plays a guest. For tests; there is no isolation at all. */

import { nodeArguments } from "../self.ts";
import { describeExit, spawnMachine } from "./child.ts";
import { FAKE_RESET_CODE } from "./fake-codes.ts";
import type { FakeMachineConfig, Machine, MachineEnd } from "./types.ts";

/** Errors: DriverFailed. */
export async function startFake(
  config: FakeMachineConfig,
  log: (line: string) => void,
): Promise<Machine> {
  const main = nodeArguments(import.meta.url, "./fake-main");
  const child = await spawnMachine("fake", [process.execPath, ...main, config.root], log);
  const exited = child.closed.then((closed): MachineEnd => {
    if (closed.code === 0) return { kind: "shutdown" };
    if (closed.code === FAKE_RESET_CODE) {
      return { kind: "died", reason: "the guest reset itself" };
    }
    return { kind: "died", reason: `the fake machine ${describeExit(closed)}` };
  });
  return {
    identity: child.identity,
    agentStream: child.agent,
    console: child.console,
    run: () =>
      new Promise((resolve, reject) => {
        child.control.write("run\n", (error) => (error ? reject(error) : resolve()));
      }),
    kill: () => child.kill(),
    exited,
  };
}
