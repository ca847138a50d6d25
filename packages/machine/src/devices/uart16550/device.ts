/**
 * Serial port of the National Semiconductor 16550A data sheet, as Linux' 8250 driver uses it. Transmission
 * takes no time, so the transmitter is always empty. Less input than the trigger level raises the character
 * timeout interrupt at once: there is no baud rate to wait by.
 */

import type { AccessSize, Device, DeviceContext, DeviceInput } from "../../types.ts";
import { INPUT_BUFFER_BYTES, SERIAL_OUTPUT_BYTES, SERIAL_OUTPUT_WAIT_NS } from "../limits.ts";
import { freshUart, loadUart, saveUart, type UartState } from "./persist.ts";

const FIFO_BYTES = 16;
const TRIGGER_LEVELS = [1, 4, 8, 14] as const;
const NEWLINE = 0x0a;

const IER_RECEIVE = 0x01;
const IER_TRANSMIT = 0x02;
const IER_LINE = 0x04;
const IER_MODEM = 0x08;

const IIR_NONE = 0x01;
const IIR_TRANSMIT = 0x02;
const IIR_RECEIVE = 0x04;
const IIR_LINE = 0x06;
const IIR_TIMEOUT = 0x0c;
const IIR_MODEM = 0x00;
const IIR_FIFO = 0xc0;

const FCR_ENABLE = 0x01;
const FCR_CLEAR_RECEIVE = 0x02;

const LCR_DIVISOR = 0x80;
const MCR_LOOPBACK = 0x10;
const MCR_BITS = 0x1f;

const LSR_DATA = 0x01;
const LSR_OVERRUN = 0x02;
const LSR_TRANSMIT_EMPTY = 0x60;

/** Clear to send, data set ready, carrier detect: the host is always there. */
const MSR_CONNECTED = 0xb0;

const REGISTER_DATA = 0;
const REGISTER_IER = 1;
const REGISTER_IIR_FCR = 2;
const REGISTER_LCR = 3;
const REGISTER_MCR = 4;
const REGISTER_LSR = 5;
const REGISTER_MSR = 6;
const REGISTER_SCR = 7;

export interface UartOptions {
  readonly name: string;
  readonly base: number;
}

/** Interrupt line 0. Its shell starts with no room and sends no more than `inputRoom` effects granted. */
export class Uart16550 implements Device {
  readonly name: string;
  readonly base: number;
  readonly sizeBytes = 0x100;
  #state: UartState = freshUart();
  /** Room must be announced: after power-on and after load the shell knows of none. */
  #announce = true;

  constructor(options: UartOptions) {
    this.name = options.name;
    this.base = options.base;
  }

  read(offset: number, size: AccessSize, context: DeviceContext): bigint {
    if (size !== 1 || offset > REGISTER_SCR) return 0n;
    const value = this.#readRegister(offset, context);
    this.#updateIrq(context);
    return BigInt(value);
  }

  write(offset: number, size: AccessSize, value: bigint, context: DeviceContext): void {
    if (offset > REGISTER_SCR || size > 4) return;
    this.#writeRegister(offset, Number(value & 0xffn), context);
    this.#updateIrq(context);
  }

  input(input: DeviceInput, context: DeviceContext): void {
    if (input.kind !== "serialInput") return;
    if (this.#loopback()) return;
    if (this.#state.input.push(input.data) < input.data.length) this.#state.overrun = true;
    this.#updateIrq(context);
  }

  nextTimerNs(): bigint | undefined {
    if (this.#announce) return 0n;
    return this.#state.outputLength > 0 ? this.#state.outputByNs : undefined;
  }

  tick(context: DeviceContext): void {
    if (this.#announce) {
      this.#announce = false;
      this.#state.taken = INPUT_BUFFER_BYTES - this.#state.input.length;
      this.#grantRoom(context);
      this.#updateIrq(context);
    }
    if (context.nowNs() >= this.#state.outputByNs) this.flush(context);
  }

  /** Gives out what the guest has written so far. */
  flush(context: DeviceContext): void {
    const state = this.#state;
    if (state.outputLength === 0) return;
    const data = state.output.slice(0, state.outputLength);
    state.outputLength = 0;
    context.emit({ kind: "serialOutput", device: this.name, data });
  }

  save(): unknown {
    return saveUart(this.#state);
  }

  load(saved: unknown): void {
    this.#state = loadUart(saved);
    this.#announce = true;
  }

  #readRegister(offset: number, context: DeviceContext): number {
    const state = this.#state;
    if ((state.lcr & LCR_DIVISOR) !== 0 && offset <= REGISTER_IER) {
      return offset === REGISTER_DATA ? state.divisor & 0xff : state.divisor >> 8;
    }
    switch (offset) {
      case REGISTER_DATA:
        return this.#receive(context);
      case REGISTER_IER:
        return state.ier;
      case REGISTER_IIR_FCR: {
        const cause = this.#cause();
        if (cause === IIR_TRANSMIT) state.transmitPending = false;
        return cause | ((state.fcr & FCR_ENABLE) === 0 ? 0 : IIR_FIFO);
      }
      case REGISTER_LCR:
        return state.lcr;
      case REGISTER_MCR:
        return state.mcr;
      case REGISTER_LSR: {
        const value = this.#lineStatus();
        state.overrun = false;
        return value;
      }
      case REGISTER_MSR: {
        const value = this.#modem() | this.#modemDelta();
        state.modemSeen = this.#modem();
        return value;
      }
      default:
        return state.scr;
    }
  }

  #writeRegister(offset: number, value: number, context: DeviceContext): void {
    const state = this.#state;
    if ((state.lcr & LCR_DIVISOR) !== 0 && offset <= REGISTER_IER) {
      state.divisor =
        offset === REGISTER_DATA
          ? (state.divisor & 0xff00) | value
          : (state.divisor & 0xff) | (value << 8);
      return;
    }
    switch (offset) {
      case REGISTER_DATA:
        this.#transmit(value, context);
        return;
      case REGISTER_IER:
        // The driver's start-up test relies on this: enabling the interrupt anew raises it anew.
        if ((value & ~state.ier & IER_TRANSMIT) !== 0) state.transmitPending = true;
        state.ier = value & 0x0f;
        return;
      case REGISTER_IIR_FCR:
        this.#controlFifo(value, context);
        return;
      case REGISTER_LCR:
        state.lcr = value;
        return;
      case REGISTER_MCR:
        state.mcr = value & MCR_BITS;
        return;
      case REGISTER_SCR:
        state.scr = value;
        return;
      default:
        // Line and modem status are read-only.
        return;
    }
  }

  #controlFifo(value: number, context: DeviceContext): void {
    const toggled = ((value ^ this.#state.fcr) & FCR_ENABLE) !== 0;
    if (toggled || (value & FCR_CLEAR_RECEIVE) !== 0) {
      // Only what a real FIFO could hold is lost; the rest has not "arrived" yet.
      this.#taken(Math.min(FIFO_BYTES, this.#state.input.length), context);
    }
    this.#state.fcr = (value & FCR_ENABLE) === 0 ? 0 : value & 0xc9;
  }

  #transmit(value: number, context: DeviceContext): void {
    const state = this.#state;
    state.transmitPending = true;
    if (this.#loopback()) {
      if (state.input.push(Uint8Array.of(value)) === 0) state.overrun = true;
      return;
    }
    if (state.outputLength === 0) state.outputByNs = context.nowNs() + SERIAL_OUTPUT_WAIT_NS;
    state.output[state.outputLength++] = value;
    if (value === NEWLINE || state.outputLength >= SERIAL_OUTPUT_BYTES) this.flush(context);
  }

  #receive(context: DeviceContext): number {
    const value = this.#state.input.peek();
    this.#taken(Math.min(1, this.#state.input.length), context);
    return value;
  }

  #taken(count: number, context: DeviceContext): void {
    const state = this.#state;
    state.input.drop(count);
    state.taken += count;
    // In steps, so that a pasted text does not cost an effect for each byte.
    if (state.input.length === 0 || state.taken >= INPUT_BUFFER_BYTES / 4) this.#grantRoom(context);
  }

  #grantRoom(context: DeviceContext): void {
    const bytes = this.#state.taken;
    if (bytes === 0 || this.#announce) return;
    this.#state.taken = 0;
    context.emit({ kind: "inputRoom", device: this.name, port: 0, bytes });
  }

  #loopback(): boolean {
    return (this.#state.mcr & MCR_LOOPBACK) !== 0;
  }

  #lineStatus(): number {
    return (
      LSR_TRANSMIT_EMPTY |
      (this.#state.input.length > 0 ? LSR_DATA : 0) |
      (this.#state.overrun ? LSR_OVERRUN : 0)
    );
  }

  /** Modem lines; in loopback the four outputs of MCR come back as inputs. */
  #modem(): number {
    if (!this.#loopback()) return MSR_CONNECTED;
    const mcr = this.#state.mcr;
    return ((mcr & 0x0c) << 4) | ((mcr & 0x02) << 3) | ((mcr & 0x01) << 5);
  }

  /** Delta bits: changed lines, for the ring indicator only its falling edge. */
  #modemDelta(): number {
    const changed = (this.#modem() ^ this.#state.modemSeen) >> 4;
    const ringFell = (this.#state.modemSeen & ~this.#modem() & 0x40) !== 0;
    return (changed & 0x0b) | (ringFell ? 0x04 : 0);
  }

  /** Cause of highest priority, in IIR's code. */
  #cause(): number {
    const { ier, fcr, input } = this.#state;
    if ((ier & IER_LINE) !== 0 && this.#state.overrun) return IIR_LINE;
    if ((ier & IER_RECEIVE) !== 0 && input.length > 0) {
      const trigger = (fcr & FCR_ENABLE) === 0 ? 1 : (TRIGGER_LEVELS[fcr >> 6] ?? 1);
      return input.length >= trigger ? IIR_RECEIVE : IIR_TIMEOUT;
    }
    if ((ier & IER_TRANSMIT) !== 0 && this.#state.transmitPending) return IIR_TRANSMIT;
    if ((ier & IER_MODEM) !== 0 && this.#modemDelta() !== 0) return IIR_MODEM;
    return IIR_NONE;
  }

  #updateIrq(context: DeviceContext): void {
    context.setIrq(0, this.#cause() !== IIR_NONE);
  }
}
