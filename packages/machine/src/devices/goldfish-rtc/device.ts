/** Goldfish real-time clock, as Linux' rtc-goldfish and QEMU's virt machine have it: nanoseconds since 1970. */

import type { AccessSize, Device, DeviceContext } from "../../types.ts";
import { freshRtc, loadRtc, saveRtc, type RtcState } from "./persist.ts";

const TIME_LOW = 0x00;
const TIME_HIGH = 0x04;
const ALARM_LOW = 0x08;
const ALARM_HIGH = 0x0c;
const IRQ_ENABLED = 0x10;
const ALARM_CLEAR = 0x14;
const ALARM_STATUS = 0x18;
const IRQ_CLEAR = 0x1c;

const LOW = 0xffff_ffffn;
const WALL_MAX = 0xffff_ffff_ffff_ffffn;

export interface RtcOptions {
  readonly name: string;
  readonly base: number;
  /** Wall-clock nanoseconds since 1970 at guest time zero. */
  readonly epochNs: bigint;
}

/** Interrupt line 0 is the alarm. */
export class GoldfishRtc implements Device {
  readonly name: string;
  readonly base: number;
  readonly sizeBytes = 0x1000;
  #state: RtcState;

  constructor(options: RtcOptions) {
    this.name = options.name;
    this.base = options.base;
    this.#state = freshRtc(options.epochNs);
  }

  /** Sets the wall clock, as after a restored snapshot whose guest time stood still. */
  setWallClock(wallNs: bigint, context: DeviceContext): void {
    this.#state.epochNs = wallNs - context.nowNs();
    this.tick(context);
  }

  read(offset: number, size: AccessSize, context: DeviceContext): bigint {
    if (size !== 4) return 0n;
    switch (offset) {
      case TIME_LOW: {
        const wall = this.#wall(context);
        this.#state.latchedHigh = wall >> 32n;
        return wall & LOW;
      }
      case TIME_HIGH:
        return this.#state.latchedHigh;
      case ALARM_LOW:
        return this.#state.alarmNs & LOW;
      case ALARM_HIGH:
        return this.#state.alarmNs >> 32n;
      case IRQ_ENABLED:
        return this.#state.irqEnabled ? 1n : 0n;
      case ALARM_STATUS:
        return this.#state.alarmSet ? 1n : 0n;
      default:
        return 0n;
    }
  }

  write(offset: number, size: AccessSize, value: bigint, context: DeviceContext): void {
    if (size !== 4) return;
    const state = this.#state;
    const word = value & LOW;
    switch (offset) {
      case TIME_LOW:
        this.#setHalf(context, (wall) => (wall & ~LOW) | word);
        break;
      case TIME_HIGH:
        this.#setHalf(context, (wall) => (wall & LOW) | (word << 32n));
        break;
      case ALARM_LOW:
        state.alarmNs = (state.alarmHigh << 32n) | word;
        state.alarmSet = true;
        break;
      case ALARM_HIGH:
        state.alarmHigh = word;
        break;
      case IRQ_ENABLED:
        state.irqEnabled = (word & 1n) === 1n;
        break;
      case ALARM_CLEAR:
        state.alarmSet = false;
        break;
      case IRQ_CLEAR:
        state.irqPending = false;
        break;
      default:
        return;
    }
    this.tick(context);
  }

  input(): void {}

  nextTimerNs(): bigint | undefined {
    if (!this.#state.alarmSet) return undefined;
    const at = this.#state.alarmNs - this.#state.epochNs;
    return at < 0n ? 0n : at;
  }

  tick(context: DeviceContext): void {
    const state = this.#state;
    if (state.alarmSet && this.#wall(context) >= state.alarmNs) {
      state.alarmSet = false;
      state.irqPending = true;
    }
    context.setIrq(0, state.irqPending && state.irqEnabled);
  }

  save(): unknown {
    return saveRtc(this.#state);
  }

  load(saved: unknown): void {
    this.#state = loadRtc(saved);
  }

  #wall(context: DeviceContext): bigint {
    const wall = this.#state.epochNs + context.nowNs();
    // Held at its ends instead of wrapping: an alarm that is due stays due.
    if (wall < 0n) return 0n;
    return wall > WALL_MAX ? WALL_MAX : wall;
  }

  #setHalf(context: DeviceContext, change: (wall: bigint) => bigint): void {
    this.#state.epochNs = change(this.#wall(context)) - context.nowNs();
  }
}
