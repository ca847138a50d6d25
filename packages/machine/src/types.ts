/**
 * Where the processor and the devices of a machine meet. Everything is synchronous and pure: no clock, no
 * file, no socket. Time comes in as guest time; what must happen outside comes out as effects.
 */

/** Guest-physical RAM, which lies in frames and not in one piece. Addresses are below 2^53. */
export interface GuestMemory {
  /** First guest-physical address of RAM; 0x8000_0000 on the riscv64 machine. */
  readonly base: number;
  readonly sizeBytes: number;
  /** Copies out; false (nothing copied) when any byte lies outside RAM. */
  read(address: number, into: Uint8Array): boolean;
  /** Copies in, marks pages dirty, invalidates translated code; false when any byte lies outside RAM. */
  write(address: number, from: Uint8Array): boolean;
}

export type AccessSize = 1 | 2 | 4 | 8;

/** What a device may reach while it handles an access, an input or a timer. */
export interface DeviceContext {
  readonly memory: GuestMemory;
  /** Guest time in nanoseconds since power-on; only ever grows. */
  nowNs(): bigint;
  /** Level of one of this device's interrupt lines; the machine routes it to the interrupt controller. */
  setIrq(line: number, level: boolean): void;
  emit(effect: DeviceEffect): void;
}

/** What the shell must do for a device, or be told. Tokens name requests that will be completed. */
export type DeviceEffect =
  /** Bytes the guest wrote to a serial port. */
  | { readonly kind: "serialOutput"; readonly device: string; readonly data: Uint8Array }
  | {
      readonly kind: "consoleOutput";
      readonly device: string;
      readonly port: number;
      readonly data: Uint8Array;
    }
  /** The guest opened or closed a console port. */
  | {
      readonly kind: "consolePort";
      readonly device: string;
      readonly port: number;
      readonly open: boolean;
    }
  /** The guest has taken input: there is room for this many bytes more. */
  | {
      readonly kind: "inputRoom";
      readonly device: string;
      readonly port: number;
      readonly bytes: number;
    }
  | {
      readonly kind: "blockRead";
      readonly device: string;
      readonly token: number;
      readonly offset: number;
      readonly length: number;
    }
  | {
      readonly kind: "blockWrite";
      readonly device: string;
      readonly token: number;
      readonly offset: number;
      readonly data: Uint8Array;
    }
  /** Completed only once everything completed before it is durable. */
  | { readonly kind: "blockFlush"; readonly device: string; readonly token: number }
  | {
      readonly kind: "randomNeeded";
      readonly device: string;
      readonly token: number;
      readonly bytes: number;
    }
  | { readonly kind: "power"; readonly action: "off" | "reboot" | "crashed" };

export type DeviceInput =
  | { readonly kind: "serialInput"; readonly data: Uint8Array }
  | { readonly kind: "consoleInput"; readonly port: number; readonly data: Uint8Array }
  /** The host side of a console port came or went. */
  | { readonly kind: "hostConnected"; readonly port: number; readonly connected: boolean }
  | {
      readonly kind: "blockDone";
      readonly token: number;
      readonly data?: Uint8Array;
      readonly error?: "io" | "noSpace";
    }
  | { readonly kind: "random"; readonly token: number; readonly data: Uint8Array };

/** A memory-mapped device. Its state is plain data (structuredClone-able), reached by save and load. */
export interface Device {
  readonly name: string;
  readonly base: number;
  readonly sizeBytes: number;
  /** Accesses that a device does not define read as zero and write nothing. */
  read(offset: number, size: AccessSize, context: DeviceContext): bigint;
  write(offset: number, size: AccessSize, value: bigint, context: DeviceContext): void;
  input(input: DeviceInput, context: DeviceContext): void;
  /** Guest time at which `tick` wants to be called, if any. */
  nextTimerNs(): bigint | undefined;
  tick(context: DeviceContext): void;
  save(): unknown;
  load(saved: unknown): void;
}

/** The physical address space as the processor sees it outside RAM. */
export interface Bus {
  /** False in `ok`: nothing answers there; the processor raises an access fault. */
  read(address: number, size: AccessSize): { readonly ok: boolean; readonly value: bigint };
  write(address: number, size: AccessSize, value: bigint): boolean;
  /** External interrupt line of a hart's supervisor context, from the PLIC. */
  externalInterrupt(hart: number): boolean;
  nextTimerNs(): bigint | undefined;
  tick(): void;
}

export type StopReason =
  /** The instruction budget is used up. */
  | { readonly kind: "budget" }
  /** Every hart waits for an interrupt; `untilNs` is the next timer, if one is set. */
  | { readonly kind: "idle"; readonly untilNs?: bigint }
  | { readonly kind: "power"; readonly action: "off" | "reboot" | "crashed" }
  /** Effects are waiting that the shell should look at soon. */
  | { readonly kind: "effects" };
