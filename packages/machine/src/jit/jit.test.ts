/** Whole programs with and without the compiler: the same state at every boundary of a budget. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "@blixard/std";
import { RAM_BASE } from "../limits.ts";
import type { JitStats, RegionReport } from "./jit.ts";
import { JIT_LIMITS, type JitLimits } from "./limits.ts";
import { asm, EAGER, machineOf, type Program } from "./testing/programs.ts";
import { regionText } from "./text.ts";

const PAGE = 4096;
const DATA = RAM_BASE + 16 * PAGE;
const BUDGET_MAX = 900;

/** Too small for a loop, so that it is made again. */
const TWO = { ...JIT_LIMITS.first, instructionsMax: 2 };

interface Ran {
  readonly jit: JitStats;
  readonly regions: readonly RegionReport[];
}

/** Runs both side by side in random budgets, and compares their state after each. */
function compare(program: Program, instructions: number, limits: Partial<JitLimits> = {}): Ran {
  const random = new Prng(instructions);
  const regions: RegionReport[] = [];
  const onRegion = (region: RegionReport): void => void regions.push(region);
  const plain = machineOf(program, "off");
  const compiled = machineOf(program, { limits: { ...EAGER, ...limits }, onRegion });
  while (plain.instructions < instructions) {
    const budget = 1 + random.below(BUDGET_MAX);
    assert.deepEqual(plain.run(budget), compiled.run(budget));
    assert.equal(compiled.instructions, plain.instructions);
    assert.equal(compiled.stateHash(), plain.stateHash(), `after ${plain.instructions}`);
  }
  const { jit } = compiled.stats();
  assert.ok(jit !== undefined);
  return { jit, regions };
}

const program = (...code: readonly number[]): Program => ({ at: new Map([[RAM_BASE, code]]) });
/** x1 = DATA, then `body` for ever. */
function looping(...body: readonly number[]): Program {
  return program(asm.auipc(1, (DATA - RAM_BASE) >> 12), ...body, asm.jal(0, -4 * body.length));
}

test("a loop becomes a region that holds all of it", () => {
  const { jit, regions } = compare(
    looping(
      asm.addi(6, 6, 3),
      asm.sd(6, 1, 8),
      asm.ld(7, 1, 8),
      asm.addw(8, 7, 6),
      asm.sllw(9, 8, 6),
      asm.xor(9, 9, 8),
      asm.add(10, 9, 10),
      asm.mulhsu(11, 9, 6),
      asm.sw(8, 1, 16),
      asm.lw(12, 1, 16),
      asm.amoaddD(13, 1, 6),
    ),
    20_000,
  );
  assert.ok(jit.made > 0 && jit.regions > 0);
  const text = regions.map(regionText).join("\n");
  assert.match(text, /^region 1: \d+ instructions, 1 pages\nblock 0, budget \d+/);
  assert.match(text, /amoadd\.d x13, x1, x6/);
});

test("called functions are inlined, in other pages too, and returns go back to their callers", () => {
  const twice = RAM_BASE + 3 * PAGE;
  const leaf = RAM_BASE + 5 * PAGE;
  const { regions } = compare(
    {
      at: new Map([
        [
          RAM_BASE,
          [
            asm.addi(5, 5, 1),
            asm.jal(1, twice - RAM_BASE - 4),
            asm.auipc(1, 5),
            asm.jalr(1, 1, -8),
            asm.jal(0, -16),
          ],
        ],
        [
          twice,
          [
            asm.addi(20, 1, 0),
            asm.jal(1, leaf - twice - 4),
            asm.jal(1, leaf - twice - 8),
            asm.jalr(0, 20),
          ],
        ],
        [leaf, [asm.addi(6, 6, 7), asm.jalr(0, 1)]],
      ]),
    },
    30_000,
    { first: JIT_LIMITS.again },
  );
  assert.ok(regions.some(({ plan }) => plan.pages.length === 3));
  assert.ok(regions.some(({ plan }) => plan.blocks.some(({ end }) => end.kind === "indirect")));
});

test("a loop with two entrances goes through a dispatch block", () => {
  // Rarely past the first three, and then into the middle of the second loop every other time.
  const { jit, regions } = compare(
    program(
      asm.addi(5, 5, 1),
      asm.slli(11, 5, 57),
      asm.bne(11, 0, -8),
      asm.slli(6, 5, 56),
      asm.addi(7, 0, 5),
      asm.bne(6, 0, 12),
      asm.addi(8, 8, 1),
      asm.addi(9, 9, 1),
      asm.addi(8, 8, 2),
      asm.addi(7, 7, -1),
      asm.bne(7, 0, -16),
      asm.jal(0, -44),
    ),
    30_000,
    // Made again when all of that has been seen.
    { samples: 12, first: TWO },
  );
  assert.ok(jit.dispatches > 0, JSON.stringify(jit) + regions.map(regionText).join("\n"));
});

test("code that changes takes its regions with it", () => {
  const target = RAM_BASE + 2 * PAGE;
  // x1 = the function, x3 = DATA's instruction; each round plants another immediate and calls it.
  const { jit } = compare(
    {
      at: new Map([
        [
          RAM_BASE,
          [
            asm.auipc(1, 2),
            asm.lw(3, 1, 64),
            asm.addi(5, 5, 1),
            asm.addi(7, 0, 40),
            asm.jalr(9, 1),
            asm.addi(7, 7, -1),
            asm.bne(7, 0, -8),
            asm.slli(6, 5, 20),
            asm.add(6, 6, 3),
            asm.sw(6, 1, 0),
            asm.jal(0, -32),
          ],
        ],
        [target, [asm.addi(10, 10, 1), asm.jalr(0, 9)]],
        [target + 64, [asm.addi(10, 10, 0)]],
      ]),
    },
    40_000,
  );
  assert.ok(jit.invalidated > 0);
});

test("a cache with room for three regions keeps starting afresh", () => {
  const hops = Array.from({ length: 8 }, (_, n) => RAM_BASE + n * 64);
  const at = new Map(
    hops.map((address, n) => {
      const next = hops[(n + 1) % hops.length] ?? RAM_BASE;
      const code = [asm.addi(5, 5, 1), asm.addi(6, 6, n), asm.jal(0, next - address - 8)];
      return [address, code] as const;
    }),
  );
  const tiny = { instructionsMax: 3, inlineDepthMax: 0, pagesMax: 1 };
  const { jit } = compare({ at }, 6000, { first: tiny, again: tiny, regionsMax: 3 });
  assert.ok(jit.flushes > 0 && jit.regions <= 3);
  const few = compare({ at }, 6000, { first: tiny, again: tiny, bytesMax: 3000 });
  assert.ok(few.jit.flushes > 0);
});

test("an instruction that crosses into the next page is part of its region", () => {
  // Two c.nop, "addi x5, x5, 1" over the boundary, and back to the first of the three.
  const code = new Map([
    [RAM_BASE, [asm.jal(0, PAGE - 6)]],
    [RAM_BASE + PAGE - 6, [0x0001_0001, asm.addi(5, 5, 1), asm.jal(0, -8)]],
  ]);
  const { regions } = compare({ at: code }, 10_000);
  assert.ok(regions.some(({ plan }) => plan.pages.length === 2));
});

test("floating point: flags saved and restored, quotients, fused products, zeros", () => {
  const FLOAT_ON = [asm.lui(3, 6), asm.csrrs(0, 0x100, 3)];
  const body = [
    asm.addi(5, 5, 1),
    asm.fcvtDL(1, 5),
    asm.fdivD(2, 1, 3),
    asm.fmaddD(3, 1, 2, 1),
    asm.csrrs(6, 1, 0),
    asm.csrrci(7, 1, 8),
    asm.csrrw(0, 1, 6),
    asm.fmaddD(4, 0, 1, 0),
    asm.auipc(8, 4),
    asm.fsd(3, 8, 0),
    asm.fld(5, 8, 0),
  ];
  const clear = asm.csrrci(0, 1, 31);
  for (const tail of [[], [clear]]) {
    const loop = [...body, ...tail];
    compare(program(...FLOAT_ON, ...loop, asm.jal(0, -4 * loop.length)), 20_000);
  }
});

test("a region that stays hot is made again, larger; one that cannot be made is not asked for again", () => {
  const { jit } = compare(program(asm.addi(5, 5, 1), asm.addi(6, 6, 2), asm.jal(0, -8)), 200_000, {
    samples: 1,
    batch: 4,
    batchInstructions: 100,
    first: TWO,
  });
  assert.ok(jit.again > 0);
  // Every round is a system call of the console's extension: nothing to compile at its start.
  const calls = compare(program(asm.ecall, asm.jal(0, -4)), 5000);
  assert.ok(calls.jit.refused > 0);
});

test("bounds that make no sense are refused", () => {
  const make = (limits: Partial<JitLimits>): void => {
    machineOf(program(asm.jal(0, 0)), { limits });
  };
  assert.throws(() => make({ threshold: 0 }), /threshold/);
  assert.throws(() => make({ first: { ...JIT_LIMITS.first, instructionsMax: 0 } }), /size/);
});
