import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng, utf8 } from "@blixard/std";
import { INPUT_BUFFER_BYTES, SERIAL_OUTPUT_BYTES, SERIAL_OUTPUT_WAIT_NS } from "../limits.ts";
import { Rig } from "../testing/rig.ts";
import { Uart16550 } from "./device.ts";

const [DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
const FCR = IIR;

function make() {
  const rig = new Rig();
  const uart = new Uart16550({ name: "uart0", base: 0 });
  rig.settle(uart);
  const announced = rig.take();
  const read = (register: number): number => Number(uart.read(register, 1, rig));
  const write = (register: number, value: number): void =>
    uart.write(register, 1, BigInt(value), rig);
  const type = (text: string): void => uart.input({ kind: "serialInput", data: utf8(text) }, rig);
  return { rig, uart, read, write, type, announced };
}

function output(rig: Rig): string[] {
  return rig
    .take()
    .flatMap((effect) =>
      effect.kind === "serialOutput" ? [String.fromCharCode(...effect.data)] : [],
    );
}

test("room for input is announced once", () => {
  const { announced, uart } = make();
  assert.deepEqual(announced, [
    { kind: "inputRoom", device: "uart0", port: 0, bytes: INPUT_BUFFER_BYTES },
  ]);
  assert.equal(uart.nextTimerNs(), undefined);
});

test("output is gathered to lines, to a length, or for a while", () => {
  const { rig, uart, write } = make();
  for (const byte of utf8("one\ntwo")) write(DATA, byte);
  assert.deepEqual(output(rig), ["one\n"]);
  assert.equal(uart.nextTimerNs(), SERIAL_OUTPUT_WAIT_NS);
  uart.tick(rig);
  assert.deepEqual(output(rig), []);
  rig.now = SERIAL_OUTPUT_WAIT_NS;
  rig.settle(uart);
  assert.deepEqual(output(rig), ["two"]);
  for (let i = 0; i < SERIAL_OUTPUT_BYTES; i++) write(DATA, 0x61);
  assert.deepEqual(output(rig), ["a".repeat(SERIAL_OUTPUT_BYTES)]);
  write(DATA, 0x62);
  uart.flush(rig);
  uart.flush(rig);
  assert.deepEqual(output(rig), ["b"]);
});

test("the transmitter is always empty", () => {
  const { read, write } = make();
  assert.equal(read(LSR), 0x60);
  write(DATA, 0x61);
  assert.equal(read(LSR), 0x60);
});

test("the 8250 driver's test of the transmit interrupt passes", () => {
  // serial8250_do_startup: enabling the interrupt raises it, reading IIR clears it, enabling anew raises it.
  const { rig, read, write } = make();
  write(IER, 2);
  assert.equal(rig.irq(), true);
  assert.equal(read(IIR), 2);
  assert.equal(rig.irq(), false);
  assert.equal(read(IIR), 1);
  write(IER, 0);
  write(IER, 2);
  assert.equal(read(IIR), 2);
  write(DATA, 0x61);
  assert.equal(rig.irq(), true, "empty again after each byte");
  write(IER, 0);
  assert.equal(rig.irq(), false);
});

test("receive: interrupt at the trigger level, timeout below it", () => {
  const { rig, read, write, type } = make();
  write(FCR, 0x41);
  write(IER, 1);
  type("abc");
  assert.equal(read(IIR), 0xcc, "character timeout");
  type("d");
  assert.equal(read(IIR), 0xc4, "trigger level 4");
  assert.equal(read(LSR), 0x61);
  assert.equal(String.fromCharCode(read(DATA), read(DATA), read(DATA), read(DATA)), "abcd");
  assert.equal(rig.irq(), false);
  assert.equal(read(LSR), 0x60);
  assert.equal(read(DATA), 0, "nothing to read");
  assert.deepEqual(rig.take(), [{ kind: "inputRoom", device: "uart0", port: 0, bytes: 4 }]);
});

test("without FIFO one byte is enough for the receive interrupt", () => {
  const { read, write, type } = make();
  write(IER, 1);
  type("ab");
  assert.equal(read(IIR), 0x04);
});

test("receive goes before transmit, line status before both", () => {
  const { uart, rig, read, write, type } = make();
  write(IER, 7);
  type("x");
  assert.equal(read(IIR), 4);
  uart.input({ kind: "serialInput", data: new Uint8Array(INPUT_BUFFER_BYTES) }, rig);
  assert.equal(read(IIR), 6, "overrun");
  assert.equal(read(LSR), 0x63);
  assert.equal(read(LSR), 0x61);
  assert.equal(read(IIR), 4);
});

test("clearing the FIFO loses only what a FIFO holds", () => {
  const { read, write, type } = make();
  write(FCR, 1);
  type("0123456789abcdefXY");
  write(FCR, 3);
  assert.equal(read(DATA), "X".charCodeAt(0));
  type("Z".repeat(20));
  write(FCR, 0);
  assert.equal(read(IIR) & 0xc0, 0);
});

test("room is granted in steps", () => {
  const { uart, rig, read } = make();
  uart.input({ kind: "serialInput", data: new Uint8Array(INPUT_BUFFER_BYTES) }, rig);
  let granted = 0;
  let effects = 0;
  for (let i = 0; i < INPUT_BUFFER_BYTES; i++) {
    read(DATA);
    for (const effect of rig.take()) {
      assert.ok(effect.kind === "inputRoom");
      granted += effect.bytes;
      effects++;
    }
  }
  assert.deepEqual([granted, effects], [INPUT_BUFFER_BYTES, 4]);
});

test("divisor latch, line control, scratch", () => {
  const { rig, read, write } = make();
  write(LCR, 0x80);
  write(DATA, 0x34);
  write(IER, 0x12);
  assert.deepEqual([read(DATA), read(IER)], [0x34, 0x12]);
  write(LCR, 0x03);
  assert.deepEqual([read(DATA), read(IER), read(LCR)], [0, 0, 3]);
  write(SCR, 0xa5);
  write(LSR, 0);
  write(MSR, 0);
  assert.equal(read(SCR), 0xa5);
  assert.deepEqual(rig.take(), []);
});

test("modem status: connected, deltas read once, interrupt", () => {
  const { rig, read, write } = make();
  assert.equal(read(MSR), 0xb0);
  write(IER, 8);
  write(MCR, 0x10);
  assert.equal(rig.irq(), true);
  assert.equal(read(IIR), 0);
  assert.equal(read(MSR), 0x0b);
  assert.equal(rig.irq(), false);
  write(MCR, 0x1f);
  assert.equal(read(MSR), 0xfb);
  write(MCR, 0x1b);
  assert.equal(read(MSR), 0xb4, "the ring indicator's falling edge");
});

test("loopback gives output back as input and keeps the host out", () => {
  const { uart, rig, read, write, type } = make();
  write(MCR, 0x10);
  write(DATA, 0x55);
  type("host");
  assert.equal(read(DATA), 0x55);
  assert.equal(read(LSR), 0x60);
  for (let i = 0; i <= INPUT_BUFFER_BYTES; i++) write(DATA, 1);
  assert.equal(read(LSR) & 2, 2);
  uart.flush(rig);
  assert.deepEqual(output(rig), []);
});

test("accesses that the device does not define do nothing", () => {
  const { uart, rig } = make();
  const before = uart.save();
  assert.equal(uart.read(8, 1, rig), 0n);
  assert.equal(uart.read(0, 4, rig), 0n);
  uart.write(8, 1, 1n, rig);
  uart.write(0, 8, 1n, rig);
  uart.input({ kind: "random", token: 1, data: new Uint8Array(1) }, rig);
  assert.deepEqual(uart.save(), before);
});

test("random traffic: never throws, and a loaded copy goes on alike", () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = new Prng(seed);
    const { uart, rig } = make();
    const step = (each: Uart16550, eachRig: Rig, kind: number, value: number): bigint => {
      eachRig.now += 1000n;
      if (kind < 8) each.write(kind, 1, BigInt(value), eachRig);
      else if (kind === 8) {
        each.input({ kind: "serialInput", data: new Uint8Array(value % 40).fill(value) }, eachRig);
      } else return each.read(value % 8, 1, eachRig);
      return 0n;
    };
    for (let i = 0; i < 300; i++) step(uart, rig, random.below(20), random.below(256));
    const copyRig = new Rig();
    const copy = new Uart16550({ name: "uart0", base: 0 });
    copy.load(structuredClone(uart.save()));
    assert.deepEqual(copy.save(), uart.save());
    copyRig.now = rig.now;
    copyRig.settle(copy);
    rig.settle(uart);
    assert.equal(copyRig.irq(), rig.irq());
    rig.take();
    copyRig.take();
    for (let i = 0; i < 300; i++) {
      const [kind, value] = [random.below(20), random.below(256)];
      assert.equal(step(copy, copyRig, kind, value), step(uart, rig, kind, value));
      assert.equal(copyRig.irq(), rig.irq());
    }
    assert.deepEqual(copy.save(), uart.save());
    const spoken = (effects: Rig): string => output(effects).join("");
    assert.equal(spoken(copyRig), spoken(rig));
  }
});
