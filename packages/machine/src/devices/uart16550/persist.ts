/** Saved form of the serial port. */

import { ByteQueue } from "../byte-queue.ts";
import { INPUT_BUFFER_BYTES, SERIAL_OUTPUT_BYTES } from "../limits.ts";
import { openSaved, type SavedHeader } from "../saved.ts";

export interface UartState {
  /** Interrupt enable, line control, modem control, FIFO control, scratch, divisor latch. */
  ier: number;
  lcr: number;
  mcr: number;
  fcr: number;
  scr: number;
  divisor: number;
  /** Input was lost since the line status was last read. */
  overrun: boolean;
  /** The transmitter became empty and the guest has not been told. */
  transmitPending: boolean;
  /** MSR as last read, for its delta bits. */
  modemSeen: number;
  readonly input: ByteQueue;
  /** Bytes taken since the shell was last told of room. */
  taken: number;
  /** Output not yet given out, and the guest time by which it will be. */
  readonly output: Uint8Array;
  outputLength: number;
  outputByNs: bigint;
}

export interface SavedUart extends SavedHeader {
  readonly registers: readonly number[];
  readonly divisor: number;
  readonly overrun: boolean;
  readonly transmitPending: boolean;
  readonly modemSeen: number;
  readonly input: Uint8Array;
  readonly output: Uint8Array;
  readonly outputByNs: bigint;
}

const KIND = "uart16550";
const VERSION = 1;

export function freshUart(): UartState {
  return {
    ier: 0,
    lcr: 0,
    mcr: 0,
    fcr: 0,
    scr: 0,
    divisor: 0,
    overrun: false,
    transmitPending: false,
    modemSeen: 0xb0,
    input: new ByteQueue(INPUT_BUFFER_BYTES),
    taken: 0,
    output: new Uint8Array(SERIAL_OUTPUT_BYTES),
    outputLength: 0,
    outputByNs: 0n,
  };
}

export function saveUart(state: UartState): SavedUart {
  return {
    device: KIND,
    version: VERSION,
    registers: [state.ier, state.lcr, state.mcr, state.fcr, state.scr],
    divisor: state.divisor,
    overrun: state.overrun,
    transmitPending: state.transmitPending,
    modemSeen: state.modemSeen,
    input: state.input.copy(),
    output: state.output.slice(0, state.outputLength),
    outputByNs: state.outputByNs,
  };
}

/** Throws `Corrupt`. */
export function loadUart(saved: unknown): UartState {
  const fields = openSaved(saved, KIND, VERSION);
  const [ier = 0, lcr = 0, mcr = 0, fcr = 0, scr = 0] = fields.uints("registers", 5, 0xff);
  const input = new ByteQueue(INPUT_BUFFER_BYTES);
  input.push(fields.bytes("input", INPUT_BUFFER_BYTES));
  const gathered = fields.bytes("output", SERIAL_OUTPUT_BYTES - 1);
  const output = new Uint8Array(SERIAL_OUTPUT_BYTES);
  output.set(gathered);
  return {
    ier,
    lcr,
    mcr,
    fcr,
    scr,
    divisor: fields.uint("divisor", 0xffff),
    overrun: fields.bool("overrun"),
    transmitPending: fields.bool("transmitPending"),
    modemSeen: fields.uint("modemSeen", 0xff),
    input,
    taken: 0,
    output,
    outputLength: gathered.length,
    outputByNs: fields.u64("outputByNs"),
  };
}
