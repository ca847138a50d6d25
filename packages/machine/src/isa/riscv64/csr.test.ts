import assert from "node:assert/strict";
import { test } from "node:test";
import { ReferenceMachine } from "../../ref/machine.ts";
import { CAUSE, GuestTrap } from "./causes.ts";
import { accessCsr, CSR } from "./csr.ts";
import type { Hart } from "./hart.ts";

const sbi = {
  consoleWrite: () => {},
  consoleRead: () => new Uint8Array(0),
  readMemory: () => false,
  writeMemory: () => false,
  power: () => {},
};
const newHart = (): Hart => new ReferenceMachine({ ramBase: 0x80000000, ramBytes: 4096, sbi }).hart;

const read = (hart: Hart, number: number): bigint => accessCsr(hart, number, 2, 0n, 0, 0n);
function write(hart: Hart, number: number, value: bigint): bigint {
  accessCsr(hart, number, 1, value, 1, 0n);
  return read(hart, number);
}
function illegal(act: () => void): void {
  assert.throws(act, (error: unknown) => {
    return (
      error instanceof GuestTrap && error.exception === CAUSE.illegal && error.value === 0xabcn
    );
  });
}

const ONES = 0xffffffffffffffffn;

test("fields that may hold only some values keep a legal one", () => {
  const hart = newHart();
  assert.equal(write(hart, CSR.sstatus, ONES), 0x80000002000c6122n);
  assert.equal(write(hart, CSR.sstatus, 0n), 0x0000000200000000n);
  assert.equal(write(hart, CSR.sie, ONES), 0x222n);
  assert.equal(write(hart, CSR.stvec, 0x80000003n), 0x80000001n);
  assert.equal(write(hart, CSR.sepc, ONES), ONES - 1n);
  assert.equal(write(hart, CSR.scounteren, ONES), 7n);
  assert.equal(write(hart, CSR.senvcfg, ONES), 0xf1n);
  assert.equal(write(hart, CSR.senvcfg, 0xe0n), 0xc0n);
  assert.equal(write(hart, CSR.sscratch, 0x1234n), 0x1234n);
  assert.equal(write(hart, CSR.stimecmp, ONES), ONES);
  assert.equal(write(hart, CSR.sip, ONES), 2n);
});

test("satp keeps its value when the mode is not supported", () => {
  const hart = newHart();
  const sv39 = (8n << 60n) | (5n << 44n) | 0x80000n;
  assert.equal(write(hart, CSR.satp, sv39), sv39);
  assert.equal(write(hart, CSR.satp, 11n << 60n), sv39);
  for (const mode of [9n, 10n, 0n]) assert.equal(write(hart, CSR.satp, mode << 60n), mode << 60n);
});

test("set and clear change bits; from a source of zero they do not write", () => {
  const hart = newHart();
  write(hart, CSR.sscratch, 0xf0n);
  assert.equal(accessCsr(hart, CSR.sscratch, 2, 0x0fn, 3, 0n), 0xf0n);
  assert.equal(accessCsr(hart, CSR.sscratch, 3, 0x81n, 3, 0n), 0xffn);
  assert.equal(read(hart, CSR.sscratch), 0x7en);
  // Reading a read-only register by setting no bits is permitted; by writing it is not.
  read(hart, CSR.time);
  illegal(() => accessCsr(hart, CSR.time, 2, 0n, 1, 0xabcn));
  illegal(() => accessCsr(hart, CSR.time, 1, 0n, 0, 0xabcn));
});

test("registers of a higher privilege, unknown ones and disabled counters are illegal", () => {
  const hart = newHart();
  for (const number of [0x300, 0x7a0, 0xf14, 0x105 + 0x100, 0xc03, 0x5a8]) {
    illegal(() => accessCsr(hart, number, 2, 0n, 0, 0xabcn));
  }
  hart.privilege = 0;
  illegal(() => accessCsr(hart, CSR.sstatus, 2, 0n, 0, 0xabcn));
  illegal(() => accessCsr(hart, CSR.time, 2, 0n, 0, 0xabcn));
  hart.scounteren = 2;
  assert.equal(read(hart, CSR.time), 0n);
  illegal(() => accessCsr(hart, CSR.cycle, 2, 0n, 0, 0xabcn));
});

test("floating-point registers need floating point, and writing one makes it dirty", () => {
  const hart = newHart();
  illegal(() => accessCsr(hart, CSR.fcsr, 2, 0n, 0, 0xabcn));
  hart.registers.fs = 1;
  assert.equal(write(hart, CSR.fcsr, ONES), 0xffn);
  assert.equal(hart.registers.fs, 3);
  assert.equal(write(hart, CSR.frm, 0x12n), 2n);
  assert.equal(write(hart, CSR.fflags, 0x3fn), 0x1fn);
  assert.equal(read(hart, CSR.fcsr), 0x5fn);
});

test("interrupts come by priority, and only where they are enabled", () => {
  const hart = newHart();
  hart.softwarePending = true;
  hart.stimecmp = 0n;
  hart.privilege = 1;
  hart.enabled = 0x222;
  assert.equal(hart.interrupt(), undefined);
  hart.sie = true;
  assert.equal(hart.interrupt(), 1);
  hart.softwarePending = false;
  assert.equal(hart.interrupt(), 5);
  hart.sie = false;
  hart.privilege = 0;
  assert.equal(hart.interrupt(), 5);
  hart.enabled = 0x202;
  assert.equal(hart.interrupt(), undefined);
});

test("traps and returns move privilege and the interrupt enable", () => {
  const hart = newHart();
  hart.privilege = 0;
  hart.sie = true;
  hart.stvec = 0x1001n;
  hart.registers.pc = 0x500n;
  hart.takeInterrupt(5);
  assert.equal(hart.registers.pc, 0x1000n + 20n);
  assert.equal(hart.scause, (1n << 63n) | 5n);
  assert.deepEqual([hart.privilege, hart.sie, hart.spie, hart.spp], [1, false, true, 0]);
  const trap = new GuestTrap();
  trap.exception = CAUSE.loadPage;
  trap.value = 0x77n;
  hart.takeException(trap);
  assert.equal(hart.registers.pc, 0x1000n);
  assert.deepEqual([hart.spp, hart.spie, hart.stval, hart.sepc], [1, false, 0x77n, 0x1014n]);
  assert.equal(hart.returnFromTrap(0n), 0x1014n);
  assert.deepEqual([hart.privilege, hart.spp, hart.spie], [1, 0, true]);
  hart.returnFromTrap(0n);
  illegal(() => hart.returnFromTrap(0xabcn));
  illegal(() => hart.waitForInterrupt(0xabcn));
  illegal(() => hart.fence(0xabcn, 0n, true));
});
