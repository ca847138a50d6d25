/** Carries out what control's LeaderLoop asks for, over this node's consensus and its lease channel. */

import {
  type Command,
  type CommandResult,
  encodeLeaseMessage,
  LeaderLoop as LeaderCore,
  type LeaseMessage,
  type LeaseOptions,
} from "@blixard/control";
import type { Clock, Failure, Network, PeerId, Result } from "@blixard/std";
import { err, ok, toBlixardError } from "@blixard/std";
import type { Consensus } from "./consensus.ts";
import type { Logger } from "./log.ts";
import { encodeMember, peerInfo } from "./member.ts";

export interface LeaderDeps {
  readonly selfPeer: PeerId;
  readonly consensus: Consensus;
  readonly clock: Clock;
  readonly network: Network;
  readonly options: LeaseOptions;
  readonly log: Logger;
  readonly propose: (command: Command) => Promise<CommandResult>;
  /** Answers to this node's own renewals. */
  readonly local: (message: LeaseMessage) => void;
}

async function settle<T>(
  doing: string,
  work: Promise<T>,
  done: (result: Result<T, Failure>) => void,
): Promise<void> {
  let result: Result<T, Failure>;
  try {
    result = ok(await work);
  } catch (caught) {
    result = err(toBlixardError(caught, doing).failure);
  }
  done(result);
}

export function createLeaderLoop(deps: LeaderDeps): LeaderCore {
  const { selfPeer, consensus, clock, network, options, log, propose, local } = deps;
  return new LeaderCore({
    clock,
    options,
    state: () => consensus.state,
    status: () => consensus.status(),
    propose: (command, done) => void settle(command.kind, propose(command), done),
    changeMembership: (change, done) =>
      void settle("change the membership", consensus.changeMembership(change), done),
    confirmLeadership: (done) =>
      void settle("confirm leadership", consensus.confirmLeadership(), done),
    answer: (to, message) => {
      if (to === selfPeer) local(message);
      else network.send(to, encodeLeaseMessage(message));
    },
    contextOf: (node) => encodeMember(peerInfo(node)),
    note: (level, data, text) => log[level](data, text),
  });
}
