/**
 * (state, committed entry) -> result: total and transactional. Whatever the bytes are, the answer
 * is a typed result, the same on every node; a refused command changes nothing; an unexpected throw
 * discards that command's changes, raises an alarm, and the state goes on.
 */

import { err, failure, toHex, type Failure, type LogIndex, type Term } from "@blixard/std";
import { acquireLease, expireLease } from "./apply/leases.ts";
import { setMaintenance } from "./apply/maintenance.ts";
import { reportHealth } from "./apply/health.ts";
import {
  admitNode,
  createJoinToken,
  registerNode,
  removeNode,
  setVmBounds,
} from "./apply/nodes.ts";
import { claimStart, placeVm } from "./apply/placement.ts";
import { reportVm } from "./apply/report.ts";
import { settleVm } from "./apply/settle.ts";
import { createVm, deleteVm, setDesired } from "./apply/vms.ts";
import { decodeCommand } from "./codec.ts";
import { owned, publish, type ControlState, type OwnedState } from "./state.ts";
import { begin, prepare, type Outcome, type Transaction } from "./transaction.ts";
import type { Command, CommandResult } from "./types.ts";

export interface EntryPosition {
  readonly index: LogIndex;
  readonly term: Term;
}

function dispatch(tx: Transaction, command: Command): Outcome {
  switch (command.kind) {
    case "acquireLease":
      return acquireLease(tx, command);
    case "admitNode":
      return admitNode(tx, command);
    case "claimStart":
      return claimStart(tx, command);
    case "createJoinToken":
      return createJoinToken(tx, command);
    case "createVm":
      return createVm(tx, command);
    case "deleteVm":
      return deleteVm(tx, command);
    case "expireLease":
      return expireLease(tx, command);
    case "placeVm":
      return placeVm(tx, command);
    case "registerNode":
      return registerNode(tx, command);
    case "removeNode":
      return removeNode(tx, command);
    case "reportHealth":
      return reportHealth(tx, command);
    case "setVmBounds":
      return setVmBounds(tx, command);
    case "reportVm":
      return reportVm(tx, command);
    case "setDesired":
      return setDesired(tx, command);
    case "setMaintenance":
      return setMaintenance(tx, command);
    case "settleVm":
      return settleVm(tx, command);
    default:
      return err(unexpected());
  }
}

function unexpected(): Failure {
  const reason = "an unexpected error while applying the command; its changes were discarded";
  return failure("Internal", { reason }, "The command failed unexpectedly and changed nothing");
}

function run(state: OwnedState, at: EntryPosition, bytes: Uint8Array): CommandResult {
  const decoded = decodeCommand(bytes);
  if (!decoded.ok) return decoded;
  const tx = begin(state, at.index, at.term);
  const outcome = dispatch(tx, decoded.value.command);
  if (!outcome.ok) return outcome;
  const { staged, changes } = prepare(tx);
  publish(state, staged);
  const { lastPeerId, leaseEpochFloor, vmEpochFloor } = tx;
  state.counters = { ...state.counters, lastPeerId, leaseEpochFloor, vmEpochFloor };
  return { ok: true, value: Object.freeze(outcome.value), changes };
}

/**
 * Applies one committed entry. Entries come in log order, each once; a repeated index is an alarm.
 */
export function applyCommand(
  state: ControlState,
  at: EntryPosition,
  bytes: Uint8Array,
): CommandResult {
  const mine = owned(state);
  const { revision } = mine.counters;
  if (at.index <= revision) {
    const alarm = `entry ${at.index} was applied after entry ${revision}`;
    return {
      ok: false,
      error: failure("Internal", { reason: alarm }, `Broken order: ${alarm}`),
      alarm,
    };
  }
  let result: CommandResult;
  try {
    result = run(mine, at, bytes);
  } catch (caught) {
    const what = caught instanceof Error ? (caught.stack ?? caught.message) : String(caught);
    const command = toHex(bytes.subarray(0, 512));
    const alarm = `entry ${at.index} (${bytes.length} bytes, ${command}) failed: ${what}`;
    result = { ok: false, error: unexpected(), alarm };
  }
  mine.counters = { ...mine.counters, revision: at.index };
  return result;
}
