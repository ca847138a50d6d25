/**
 * Supervisor Binary Interface 2.0, served here instead of by firmware in machine mode. One call is a pure
 * step on the hart and on the ports below. Source: RISC-V SBI specification 2.0.
 */

import type { Hart } from "./hart.ts";

export interface SbiPorts {
  consoleWrite(data: Uint8Array): void;
  /** At most `max` bytes that have been typed and not yet read. */
  consoleRead(max: number): Uint8Array;
  /** RAM by physical address; false when any byte is outside. */
  readMemory(address: number, into: Uint8Array): boolean;
  writeMemory(address: number, from: Uint8Array): boolean;
  power(action: "off" | "reboot" | "crashed"): void;
}

const SUCCESS = 0n;
const FAILED = -1n;
const NOT_SUPPORTED = -2n;
const INVALID_PARAM = -3n;
const ALREADY_AVAILABLE = -6n;

const EXTENSION = {
  base: 0x10,
  time: 0x54494d45,
  ipi: 0x735049,
  rfence: 0x52464e43,
  hsm: 0x48534d,
  reset: 0x53525354,
  console: 0x4442434e,
} as const;
/** Legacy extensions 0..8 are there too; see `legacy`. */
const LEGACY_LAST = 8;
/** Not registered with the SBI specification; Linux prints it and nothing more. */
const IMPLEMENTATION_ID = 0xb17a;
const CONSOLE_BYTES_MAX = 4096;

interface Answer {
  readonly error: bigint;
  readonly value: bigint;
}
const answer = (error: bigint, value = 0n): Answer => ({ error, value });
const unsupported = answer(NOT_SUPPORTED);

function base(functionId: number, argument: bigint): Answer {
  switch (functionId) {
    case 0:
      return answer(SUCCESS, 0x02000000n);
    case 1:
      return answer(SUCCESS, BigInt(IMPLEMENTATION_ID));
    case 2:
      return answer(SUCCESS, 1n);
    case 3: {
      const known = Object.values(EXTENSION).some((id) => BigInt(id) === argument);
      return answer(SUCCESS, known || argument <= BigInt(LEGACY_LAST) ? 1n : 0n);
    }
    case 4:
    case 5:
    case 6:
      return answer(SUCCESS, 0n);
    default:
      return unsupported;
  }
}

/** Whether a hart mask and its base name hart 0; undefined if they name harts that do not exist. */
function selectsHart0(mask: bigint, maskBase: bigint): boolean | undefined {
  if (maskBase === 0xffffffffffffffffn) return true;
  const harts = mask << maskBase;
  if (maskBase > 63n || (harts & ~1n) !== 0n) return undefined;
  return (harts & 1n) === 1n;
}

function toHarts(mask: bigint, maskBase: bigint, act: () => void): Answer {
  const selected = selectsHart0(mask, maskBase);
  if (selected === undefined) return answer(INVALID_PARAM);
  if (selected) act();
  return answer(SUCCESS);
}

const FENCE_PAGES_MAX = 64n;

/** sfence.vma over a range; a wide one, or one of size zero or all ones, forgets everything. */
function remoteFence(hart: Hart, start: bigint, size: bigint): void {
  const changed = (address: bigint): void =>
    hart.ports.translationChanged({ kind: "address", address });
  if (size === 0n || size > FENCE_PAGES_MAX * 4096n) {
    hart.ports.translationChanged({ kind: "all" });
    return;
  }
  const first = start & ~4095n;
  for (let at = first; at < start + size; at += 4096n) changed(BigInt.asUintN(64, at));
}

function hsm(hart: Hart, functionId: number, a: bigint[]): Answer {
  const [id = 0n] = a;
  switch (functionId) {
    case 0:
      return id === 0n ? answer(ALREADY_AVAILABLE) : answer(INVALID_PARAM);
    case 1:
      hart.stopped = true;
      return answer(FAILED);
    case 2:
      return id === 0n ? answer(SUCCESS, 0n) : answer(INVALID_PARAM);
    case 3:
      // Only the default retentive suspend, which is a wfi; the others are platform specific.
      if ((id & 0xffffffffn) !== 0n) return answer(NOT_SUPPORTED);
      hart.waiting = true;
      return answer(SUCCESS);
    default:
      return unsupported;
  }
}

function debugConsole(ports: SbiPorts, functionId: number, a: bigint[]): Answer {
  const [count = 0n, low = 0n, high = 0n] = a;
  if (functionId === 2) {
    ports.consoleWrite(Uint8Array.of(Number(count & 0xffn)));
    return answer(SUCCESS);
  }
  if (functionId !== 0 && functionId !== 1) return unsupported;
  const length = Number(count < BigInt(CONSOLE_BYTES_MAX) ? count : BigInt(CONSOLE_BYTES_MAX));
  if (high !== 0n || low >= 2n ** 53n) return answer(INVALID_PARAM);
  if (functionId === 0) {
    const data = new Uint8Array(length);
    if (!ports.readMemory(Number(low), data)) return answer(INVALID_PARAM);
    if (length > 0) ports.consoleWrite(data);
    return answer(SUCCESS, BigInt(length));
  }
  const probe = new Uint8Array(length);
  if (!ports.readMemory(Number(low), probe)) return answer(INVALID_PARAM);
  const data = ports.consoleRead(length);
  ports.writeMemory(Number(low), data);
  return answer(SUCCESS, BigInt(data.length));
}

function reset(ports: SbiPorts, type: bigint, reason: bigint): Answer {
  if (type > 2n || reason > 1n) return answer(INVALID_PARAM);
  ports.power(type !== 0n ? "reboot" : reason === 0n ? "off" : "crashed");
  return answer(SUCCESS);
}

/** Extensions 0..8 of SBI 0.1: the result is in a0 alone. */
function legacy(hart: Hart, ports: SbiPorts, extension: number, argument: bigint): bigint {
  switch (extension) {
    case 0:
      hart.stimecmp = argument;
      return 0n;
    case 1:
      ports.consoleWrite(Uint8Array.of(Number(argument & 0xffn)));
      return 0n;
    case 2: {
      const [byte] = ports.consoleRead(1);
      return byte === undefined ? -1n : BigInt(byte);
    }
    case 3:
      hart.softwarePending = false;
      return 0n;
    case 4:
      // The mask lies in guest memory, by virtual address; the only hart it can name is this one.
      hart.softwarePending = true;
      return 0n;
    case 8:
      ports.power("off");
      return 0n;
    default:
      hart.ports.translationChanged({ kind: "all" });
      return 0n;
  }
}

function extended(
  hart: Hart,
  ports: SbiPorts,
  extension: bigint,
  fid: number,
  a: bigint[],
): Answer {
  const [a0 = 0n, a1 = 0n, a2 = 0n, a3 = 0n] = a;
  switch (Number(extension)) {
    case EXTENSION.base:
      return base(fid, a0);
    case EXTENSION.time:
      if (fid !== 0) return unsupported;
      hart.stimecmp = a0;
      return answer(SUCCESS);
    case EXTENSION.ipi:
      if (fid !== 0) return unsupported;
      return toHarts(a0, a1, () => {
        hart.softwarePending = true;
      });
    case EXTENSION.rfence:
      if (fid > 2) return unsupported;
      return toHarts(a0, a1, () => {
        if (fid > 0) remoteFence(hart, a2, a3);
      });
    case EXTENSION.hsm:
      return hsm(hart, fid, a);
    case EXTENSION.reset:
      return fid === 0 ? reset(ports, a0 & 0xffffffffn, a1 & 0xffffffffn) : unsupported;
    case EXTENSION.console:
      return debugConsole(ports, fid, a);
    default:
      return unsupported;
  }
}

/** Serves the call whose arguments are in a0..a7 and leaves the answer in a0 and a1. */
export function serveSbi(hart: Hart, ports: SbiPorts): void {
  const { registers } = hart;
  const a = [10, 11, 12, 13, 14, 15].map((index) => registers.getX(index));
  const extension = registers.getX(17);
  const functionId = Number(registers.getX(16) & 0xffffffffn);
  if (extension <= BigInt(LEGACY_LAST)) {
    const result = legacy(hart, ports, Number(extension), a[0] ?? 0n);
    registers.setX(10, BigInt.asUintN(64, result));
    return;
  }
  const result = extended(hart, ports, extension, functionId, a);
  registers.setX(10, BigInt.asUintN(64, result.error));
  registers.setX(11, BigInt.asUintN(64, result.value));
}
