/** Waiting for a VM to get somewhere, giving up as soon as it cannot get there any more. */

import { fail } from "@blixard/std";
import type { Client } from "@blixard/api";
import type { VmRecord } from "@blixard/control";
import { progress, untilInterrupted, type Io } from "../io.ts";

export type Goal = "running" | "stopped" | "deleted";

function reached(ref: string, goal: Goal, vm: VmRecord | undefined): boolean {
  if (vm === undefined) {
    if (goal === "deleted") return true;
    return fail("NotFound", { kind: "vm", name: ref }, `${ref} does not exist (any more).`);
  }
  const { name } = vm.spec;
  if (goal === "running" && vm.deleting) {
    return fail("NotRunning", { vm: name, state: "deleting" }, `${name} is being deleted.`);
  }
  if (goal === "running" && vm.phase === "failed") {
    return fail(
      "NotRunning",
      { vm: name, state: "failed" },
      `${name} failed: ${vm.reason ?? "no reason is known"}`,
      `see \`blixard vm logs ${name}\`, then try \`blixard vm start ${name}\``,
    );
  }
  return goal !== "deleted" && vm.phase === goal;
}

/** Resolves with the record, or undefined once deleted. Rejects with Interrupted at Ctrl-C. */
export async function waitFor(
  io: Io,
  client: Client,
  ref: string,
  goal: Goal,
  timeoutMs: number,
): Promise<VmRecord | undefined> {
  const interrupt = untilInterrupted(io);
  let last = "";
  const check = (vm: VmRecord | undefined): boolean => {
    if (vm !== undefined && vm.phase !== last) {
      last = vm.phase;
      const line = `${vm.spec.name}: ${vm.phase}`;
      // A progress line that nobody can read is no reason to stop waiting.
      progress(io, line).catch(() => undefined);
    }
    return reached(ref, goal, vm);
  };
  try {
    return await client.waitForVm(ref, check, { timeoutMs, signal: interrupt.signal });
  } catch (error) {
    interrupt.check();
    throw error;
  } finally {
    interrupt.done();
  }
}
