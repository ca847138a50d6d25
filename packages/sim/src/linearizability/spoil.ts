/**
 * Spoils linearizable histories so that they certainly are not any more, as real faults would:
 * stale and invented reads, lost and doubled updates, two winners. Every spoiler relies on values
 * that are written once in a history and, for counters, on additions of one or more.
 */

import { present, type Prng, unreachable } from "@blixard/std";
import type { History } from "./history.ts";
import type { Operation } from "./model.ts";
import type {
  CounterInput,
  CounterOutput,
  KvInput,
  KvOutput,
  ListInput,
  ListOutput,
  RegisterInput,
  RegisterOutput,
} from "./models.ts";
import type { VmInput, VmOutput } from "./vm-model.ts";

type Ops<Input, Output> = readonly Operation<Input, Output>[];
/** Undefined when the history has no place for this fault. */
type Spoiler<Input, Output> = (
  ops: Ops<Input, Output>,
  random: Prng,
) => Ops<Input, Output> | undefined;

const FAR = 1_000_000;

function answered<Input, Output>(operation: Operation<Input, Output>): boolean {
  return operation.return !== undefined;
}

/** Whether `a` was answered before `b` was sent. */
function precedes(a: Operation<unknown, unknown>, b: Operation<unknown, unknown>): boolean {
  return (a.return ?? Infinity) < b.call;
}

/** One of the operations that `change` can spoil, with the output that it then gives. */
function spoilOne<Input, Output>(
  ops: Ops<Input, Output>,
  random: Prng,
  change: (operation: Operation<Input, Output>) => Output | undefined,
): Ops<Input, Output> | undefined {
  const possible = ops.flatMap((operation, at) => {
    const output = answered(operation) ? change(operation) : undefined;
    return output === undefined ? [] : [{ at, output }];
  });
  if (possible.length === 0) return undefined;
  const { at, output } = present(possible[random.below(possible.length)], "a place");
  return ops.map((operation, index) => (index === at ? { ...operation, output } : operation));
}

/** What the model-independent read faults need to know of a model. */
interface Shape<Input, Output> {
  isRead(input: Input): boolean;
  /** Writes of the same part with the value that a read would then answer; none: undefined. */
  written(operation: Operation<Input, Output>): Output | undefined;
  /** Operations of other parts never count. */
  part(input: Input): string;
  readonly invented: Output;
}

function readSpoilers<Input, Output>(shape: Shape<Input, Output>) {
  const writesOf = (ops: Ops<Input, Output>, read: Operation<Input, Output>) =>
    ops.filter(
      (one) => shape.part(one.input) === shape.part(read.input) && shape.written(one) !== undefined,
    );
  const inventedRead: Spoiler<Input, Output> = (ops, random) =>
    spoilOne(ops, random, ({ input }) => (shape.isRead(input) ? shape.invented : undefined));
  const futureRead: Spoiler<Input, Output> = (ops, random) =>
    spoilOne(ops, random, (read) => {
      if (!shape.isRead(read.input)) return undefined;
      const later = writesOf(ops, read).find((write) => precedes(read, write));
      return later === undefined ? undefined : shape.written(later);
    });
  const staleRead: Spoiler<Input, Output> = (ops, random) =>
    spoilOne(ops, random, (read) => {
      if (!shape.isRead(read.input)) return undefined;
      const before = writesOf(ops, read).filter((write) => precedes(write, read));
      const stale = before.find((old) => before.some((newer) => precedes(old, newer)));
      return stale === undefined ? undefined : shape.written(stale);
    });
  return { inventedRead, futureRead, staleRead };
}

/** Beside a conditional change that won, a second one that won on the same condition. */
function twoWinners<Input, Output>(
  rival: (input: Input) => Input | undefined,
): Spoiler<Input, Output> {
  return (ops, random) => {
    const won = ops.filter((one) => one.output === true && rival(one.input) !== undefined);
    const winner = won[random.below(Math.max(1, won.length))];
    if (winner === undefined) return undefined;
    const input = present(rival(winner.input), "a rival");
    return [...ops, { ...winner, client: FAR, input }].sort((a, b) => a.call - b.call);
  };
}

export const REGISTER_SPOILERS: Readonly<Record<string, Spoiler<RegisterInput, RegisterOutput>>> = {
  ...readSpoilers<RegisterInput, RegisterOutput>({
    isRead: ({ f }) => f === "read",
    written: ({ input }) => (input.f === "write" ? input.value : undefined),
    part: () => "",
    invented: FAR,
  }),
  twoWinners: twoWinners((input) => (input.f === "cas" ? { ...input, to: FAR } : undefined)),
};

export const KV_SPOILERS: Readonly<Record<string, Spoiler<KvInput, KvOutput>>> = {
  ...readSpoilers<KvInput, KvOutput>({
    isRead: ({ f }) => f === "get",
    written: ({ input }) => (input.f === "put" ? input.value : undefined),
    part: ({ key }) => key,
    invented: "never written",
  }),
  twoWinners: twoWinners((input) => (input.f === "cas" ? { ...input, to: "rival" } : undefined)),
};

export const LIST_SPOILERS: Readonly<Record<string, Spoiler<ListInput, ListOutput>>> = {
  inventedRead: (ops, random) =>
    spoilOne(ops, random, ({ output }) => (Array.isArray(output) ? [...output, FAR] : undefined)),
  doubleApply: (ops, random) =>
    spoilOne(ops, random, ({ output }) => {
      const last = Array.isArray(output) ? output.at(-1) : undefined;
      // A list of numbers, as Array.isArray and the type say.
      return last === undefined ? undefined : [...(output as number[]), last as number];
    }),
  lostUpdate: (ops, random) =>
    spoilOne(ops, random, (read) => {
      if (!Array.isArray(read.output)) return undefined;
      const gone = ops.find(
        ({ input, ...rest }) =>
          input.f === "append" &&
          input.key === read.input.key &&
          precedes({ input, ...rest }, read),
      );
      if (gone?.input.f !== "append") return undefined;
      const { value } = gone.input;
      return read.output.filter((one) => one !== value);
    }),
  reordered: (ops, random) =>
    spoilOne(ops, random, (read) => {
      if (!Array.isArray(read.output)) return undefined;
      // Of numbers, as Array.isArray and the type say.
      const values = read.output as number[];
      const appendOf = (value: number | undefined) =>
        ops.find(({ input }) => input.f === "append" && input.value === value);
      const at = values.findIndex((value, index) => {
        const [first, second] = [appendOf(value), appendOf(values[index + 1])];
        return first !== undefined && second !== undefined && precedes(first, second);
      });
      if (at < 0) return undefined;
      const [first, second] = [values[at] ?? 0, values[at + 1] ?? 0];
      return values.with(at, second).with(at + 1, first);
    }),
};

export const COUNTER_SPOILERS: Readonly<Record<string, Spoiler<CounterInput, CounterOutput>>> = {
  inventedRead: (ops, random) => {
    const all = ops.reduce((sum, { input }) => sum + (input.f === "add" ? input.value : 0), 0);
    return spoilOne(ops, random, ({ input }) => (input.f === "read" ? all + 1 : undefined));
  },
  staleRead: (ops, random) =>
    spoilOne(ops, random, (read) => {
      if (read.input.f !== "read") return undefined;
      const before = ops.filter((add) => add.input.f === "add" && precedes(add, read));
      const sum = before.reduce(
        (total, { input }) => total + (input.f === "add" ? input.value : 0),
        0,
      );
      return sum === 0 ? undefined : sum - 1;
    }),
  lostUpdate: (ops, random) => {
    const adds = ops.filter((one) => one.input.f === "add" && answered(one));
    return spoilOne(ops, random, (add) => {
      if (add.input.f !== "add") return undefined;
      return adds.find((other) => other !== add)?.output;
    });
  },
};

export const VM_SPOILERS: Readonly<Record<string, Spoiler<VmInput, VmOutput>>> = {
  inventedRead: (ops, random) =>
    spoilOne(ops, random, ({ input }) => (input.f === "get" ? { value: "never" } : undefined)),
  /** A record of before a change whose answer was there already. */
  staleRead: (ops, random) =>
    spoilOne(ops, random, (read) => {
      if (read.input.f !== "get") return undefined;
      const before = ops.filter(
        ({ input, output, ...rest }) =>
          input.vm === read.input.vm &&
          (input.f === "create" || input.f === "set") &&
          typeof output === "object" &&
          precedes({ input, output, ...rest }, read),
      );
      return before.find((old) => before.some((newer) => precedes(old, newer)))?.output;
    }),
  /** Answers "missing" after a create, though nobody ever asked for a delete. */
  vanished: (ops, random) =>
    spoilOne(ops, random, (read) => {
      const { input } = read;
      if (input.f !== "get") return undefined;
      const same = ops.filter((one) => one.input.vm === input.vm);
      if (same.some((one) => one.input.f === "delete" && one.call <= (read.return ?? 0))) {
        return undefined;
      }
      const created = same.some((one) => one.input.f === "create" && precedes(one, read));
      return created ? "missing" : undefined;
    }),
  /** The create is answered as done a second time while nobody deletes. */
  doubleCreate: (ops, random) =>
    spoilOne(ops, random, (create) => {
      const { input, output } = create;
      if (input.f !== "create" || output !== "exists") return undefined;
      const same = ops.filter((one) => one.input.vm === input.vm);
      const isDeleted = same.some(
        (one) => one.input.f === "delete" && one.call <= (create.return ?? 0),
      );
      const earlier = same.some(
        (one) => one.input.f === "create" && one !== create && precedes(one, create),
      );
      return isDeleted || !earlier ? undefined : true;
    }),
};

function each<Input, Output>(
  spoilers: Readonly<Record<string, Spoiler<Input, Output>>>,
  ops: Ops<Input, Output>,
  random: Prng,
): { kind: string; operations: Ops<Input, Output> }[] {
  return Object.entries(spoilers).flatMap(([kind, spoiler]) => {
    const operations = spoiler(ops, random);
    return operations === undefined ? [] : [{ kind, operations }];
  });
}

interface Spoiled {
  readonly kind: string;
  readonly history: History;
}

/** Every spoiled history that `history`, which must be linearizable, has a place for. */
export function spoil(history: History, random: Prng): Spoiled[] {
  const { model, operations: ops } = history;
  switch (model) {
    case "register":
      return each(REGISTER_SPOILERS, ops, random).map(({ kind, operations }): Spoiled => ({
        kind,
        history: { model, operations },
      }));
    case "kv":
      return each(KV_SPOILERS, ops, random).map(({ kind, operations }): Spoiled => ({
        kind,
        history: { model, operations },
      }));
    case "vm":
      return each(VM_SPOILERS, ops, random).map(({ kind, operations }): Spoiled => ({
        kind,
        history: { model, operations },
      }));
    case "list":
      return each(LIST_SPOILERS, ops, random).map(({ kind, operations }): Spoiled => ({
        kind,
        history: { model, operations },
      }));
    case "counter":
      return each(COUNTER_SPOILERS, ops, random).map(({ kind, operations }): Spoiled => ({
        kind,
        history: { model, operations },
      }));
    default:
      return unreachable(model);
  }
}
