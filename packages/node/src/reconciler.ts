/** Carries out what control's Reconciler asks for: proposals through the log, operations of the driver. */

import type {
  Command,
  CommandResult,
  ControlState,
  ReconcileAnswer,
  ReconcileRequest,
} from "@blixard/control";
import { Reconciler as ReconcilerCore } from "@blixard/control";
import type { InstanceStatus, VmDriver } from "@blixard/drivers";
import type { Clock, NodeId, Random } from "@blixard/std";
import { newTrace, toBlixardError } from "@blixard/std";
import * as limits from "./limits.ts";
import type { Logger } from "./log.ts";

export interface ReconcilerDeps {
  readonly self: NodeId;
  readonly driver: VmDriver;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly state: () => ControlState;
  readonly propose: (command: Command) => Promise<CommandResult>;
  /** Whether all nodes understand the command. */
  readonly mayPropose: (command: Command) => boolean;
  /** Undefined while this node holds no lease: nothing is then started or reported. */
  readonly lease: () => { epoch: number; deadlineMonotonicMs: number } | undefined;
}

export class Reconciler {
  readonly #deps: ReconcilerDeps;
  readonly #core: ReconcilerCore;
  readonly #unsubscribe: () => void;

  constructor(deps: ReconcilerDeps, adopted: readonly InstanceStatus[]) {
    this.#deps = deps;
    const { self, clock, state, mayPropose, lease, log } = deps;
    this.#core = new ReconcilerCore(
      {
        self,
        clock,
        state,
        mayPropose,
        lease,
        options: {
          stopGraceMs: limits.STOP_GRACE_MS,
          startMarginMs: limits.START_MARGIN_MS,
          backOffMinMs: limits.RESTART_BACKOFF_MIN_MS,
          backOffMaxMs: limits.RESTART_BACKOFF_MAX_MS,
          settledMs: limits.SETTLED_MS,
        },
        ask: (request, done) => void this.#answer(request, done),
        note: (level, data, text) => log[level](data, text),
      },
      adopted,
    );
    this.#unsubscribe = deps.driver.subscribe((status) => this.#core.onStatus(status));
  }

  /** Looks at every VM that is here or should be. Cheap when there is nothing to do. */
  poke(): void {
    this.#core.poke();
  }

  liveCount(): number {
    return this.#core.liveCount();
  }

  /** The lease is over: everything dies now. `done(false)`: it is not known whether all are dead. */
  killAll(done: (isDead: boolean) => void): void {
    this.#core.killAll(done);
  }

  async close(): Promise<void> {
    this.#unsubscribe();
    await new Promise<void>((resolve) => this.#core.close(resolve));
  }

  async #answer(request: ReconcileRequest, done: (answer: ReconcileAnswer) => void): Promise<void> {
    let answer: ReconcileAnswer;
    try {
      answer = await this.#perform(request);
    } catch (caught) {
      answer = { ok: false, error: toBlixardError(caught, request.kind).failure };
    }
    done(answer);
  }

  async #perform(request: ReconcileRequest): Promise<ReconcileAnswer> {
    const { driver, propose, random } = this.#deps;
    switch (request.kind) {
      case "propose":
        return { ok: true, result: await propose(request.command) };
      case "create":
        await driver.create({ vmId: request.vmId, ...request.spec });
        break;
      case "start": {
        const { vmId, epoch, deadlineMonotonicMs } = request;
        await driver.start(vmId, { epoch, deadlineMonotonicMs, trace: newTrace(random) });
        break;
      }
      case "stop":
        await driver.stop(request.vmId, { graceMs: request.graceMs });
        break;
      case "kill":
        await driver.kill(request.vmId);
        break;
      case "delete":
        await driver.delete(request.vmId);
        break;
      case "inspect": {
        const instance = await driver.inspect(request.vmId);
        return instance === undefined ? { ok: true } : { ok: true, instance };
      }
      default:
        request satisfies never;
    }
    return { ok: true };
  }
}
