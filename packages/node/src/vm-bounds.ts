/** Tells the cluster what this node's driver can make of one VM, as soon as all nodes understand that. */

import { checkProposable, type Command, getNode, type VmBounds } from "@blixard/control";
import type { CommandResult, ControlState } from "@blixard/control";
import type { NodeId } from "@blixard/std";
import type { Logger } from "./log.ts";

export interface VmBoundsDeps {
  readonly self: NodeId;
  readonly bounds: VmBounds;
  readonly state: () => ControlState;
  readonly propose: (command: Command) => Promise<CommandResult>;
  readonly log: Logger;
}

/** Call it again and again: it does nothing while the record says what is so. */
export function vmBoundsTeller(deps: VmBoundsDeps): () => void {
  const { self, bounds: vmBounds, state, propose, log } = deps;
  let isTelling = false;
  return () => {
    const known = getNode(state(), self);
    if (isTelling || known === undefined || same(known.vmBounds, vmBounds)) return;
    const command: Command = { kind: "setVmBounds", nodeId: self, vmBounds };
    if (!checkProposable(state(), command).ok) return;
    isTelling = true;
    propose(command)
      .catch((caught: unknown) => log.debug({ err: String(caught) }, "bounds not told yet"))
      .finally(() => (isTelling = false));
  };
}

function same(a: VmBounds | undefined, b: VmBounds): boolean {
  return (
    a?.vcpusMax === b.vcpusMax &&
    a.memoryBytesMin === b.memoryBytesMin &&
    a.memoryBytesMax === b.memoryBytesMax
  );
}
