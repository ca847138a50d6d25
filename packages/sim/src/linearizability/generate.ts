/**
 * Histories of executions that are linearizable by construction: a server that takes each operation
 * at one instant between its call and its answer, and clients that see only call and answer.
 */

import { present, type Prng, unreachable } from "@blixard/std";
import type { Model, Operation } from "./model.ts";
import {
  type CounterInput,
  type CounterOutput,
  counterModel,
  type KvInput,
  type KvOutput,
  kvModel,
  type ListInput,
  type ListOutput,
  listModel,
  type RegisterInput,
  type RegisterOutput,
  registerModel,
} from "./models.ts";
import { type VmInput, type VmOutput, vmModel } from "./vm-model.ts";
import type { History } from "./history.ts";
import type { ModelName } from "./models.ts";

export interface Shape {
  readonly operations: number;
  readonly clients: number;
  readonly keys: number;
  /** How many of the operations never get an answer, 0 to 1. */
  readonly lost: number;
  /** The longest that an operation takes; a client waits up to as long between two. */
  readonly longest: number;
}

/** One kind of server: draws what a client asks, and answers as the real thing would. */
interface Server<State, Input, Output> {
  readonly model: Model<State, Input, Output>;
  /** `serial` is unique in the history: values that are written once tell most. */
  draw(random: Prng, key: number, serial: number): Input;
  /** `now` rises with each change: what a server would use as a revision. */
  answer(state: State, input: Input, now: number): Output;
}

const register: Server<number | null, RegisterInput, RegisterOutput> = {
  model: registerModel,
  draw(random, _, serial) {
    const kind = random.below(10);
    if (kind < 4) return { f: "read" };
    if (kind < 8) return { f: "write", value: serial };
    return { f: "cas", from: Math.max(0, serial - random.between(1, 6)), to: serial };
  },
  answer(state, input) {
    if (input.f === "write") return true;
    return input.f === "read" ? state : state === input.from;
  },
};

const kv: Server<string | null, KvInput, KvOutput> = {
  model: kvModel,
  draw(random, at, serial) {
    const key = `k${at}`;
    const kind = random.below(10);
    if (kind < 4) return { f: "get", key };
    if (kind < 7) return { f: "put", key, value: `${serial}` };
    if (kind < 8) return { f: "append", key, value: `+${serial}` };
    if (kind < 9) return { f: "delete", key };
    return {
      f: "cas",
      key,
      from: `${Math.max(0, serial - random.between(1, 6))}`,
      to: `${serial}`,
    };
  },
  answer(state, input) {
    if (input.f === "get") return state;
    if (input.f === "delete") return state !== null;
    return input.f === "cas" ? state === input.from : true;
  },
};

type VmRecord = NonNullable<ReturnType<(typeof vmModel)["initial"]>>;
const vm: Server<VmRecord, VmInput, VmOutput> = {
  model: vmModel,
  draw(random, at, serial) {
    const name = `vm${at}`;
    const value = `s${serial}`;
    const kind = random.below(10);
    if (kind < 4) return { f: "get", vm: name };
    if (kind < 6) return { f: "create", vm: name, value };
    if (kind < 8) return { f: "set", vm: name, value };
    return { f: "delete", vm: name };
  },
  answer({ value, revision }, input, now) {
    if (input.f === "create") return value === null ? { revision: now } : "exists";
    if (value === null) return "missing";
    if (input.f === "delete") return true;
    if (input.f === "set") return { revision: now };
    return { value, revision: present(revision, "the revision") };
  },
};

const list: Server<readonly number[], ListInput, ListOutput> = {
  model: listModel,
  draw(random, at, serial) {
    const key = `l${at}`;
    return random.chance(0.5) ? { f: "read", key } : { f: "append", key, value: serial };
  },
  answer: (state, input) => (input.f === "read" ? state : true),
};

const counter: Server<number, CounterInput, CounterOutput> = {
  model: counterModel,
  draw: (random) =>
    random.chance(0.4) ? { f: "read" } : { f: "add", value: random.between(1, 3) },
  answer: (state, input) => (input.f === "add" ? state + input.value : state),
};

interface Planned<Input> {
  readonly client: number;
  readonly call: number;
  /** When the server takes it; Infinity: never. */
  readonly taken: number;
  readonly return: number | undefined;
  readonly input: Input;
}

function plan<State, Input, Output>(
  server: Server<State, Input, Output>,
  random: Prng,
  shape: Shape,
): Planned<Input>[] {
  const free = Array.from({ length: shape.clients }, () => random.below(shape.longest));
  const planned: Planned<Input>[] = [];
  for (let serial = 1; serial <= shape.operations; serial++) {
    const client = free.indexOf(Math.min(...free));
    const call = present(free[client], "a client");
    const end = call + random.between(1, shape.longest);
    const input = server.draw(random, random.below(shape.keys), serial);
    const isLost = random.chance(shape.lost);
    const isTaken = !isLost || random.chance(0.5);
    // What is lost may be taken long after the client gave up.
    const span = isLost ? 4 * shape.longest : end - call;
    const taken = isTaken ? call + (random.below(1000) / 1000) * span : Infinity;
    planned.push({ client, call, taken, return: isLost ? undefined : end, input });
    free[client] = end + random.below(shape.longest);
  }
  return planned;
}

function serve<State, Input, Output>(
  server: Server<State, Input, Output>,
  random: Prng,
  shape: Shape,
): Operation<Input, Output>[] {
  const { model } = server;
  const planned = plan(server, random, shape);
  const states = new Map<string, State>();
  const outputs = new Map<Planned<Input>, Output>();
  let now = 0;
  for (const one of planned
    .filter(({ taken }) => taken < Infinity)
    .sort((a, b) => a.taken - b.taken)) {
    const part = model.partition(one.input);
    const known = states.get(part);
    const state = known === undefined ? model.initial() : known;
    const output = server.answer(state, one.input, ++now);
    const next = model.step(state, one.input, output);
    if (next === undefined) throw new Error(`the ${model.name} server answers what it may not`);
    states.set(part, next);
    outputs.set(one, output);
  }
  return planned.map((one) => {
    const { client, call, input } = one;
    const isAnswered = one.return !== undefined;
    const output = isAnswered ? outputs.get(one) : undefined;
    return { client, call, return: one.return, input, output };
  });
}

/** A linearizable history of the model; the same seed gives the same one. */
export function generate(model: ModelName, random: Prng, shape: Shape): History {
  switch (model) {
    case "register":
      return { model, operations: serve(register, random, { ...shape, keys: 1 }) };
    case "kv":
      return { model, operations: serve(kv, random, shape) };
    case "vm":
      return { model, operations: serve(vm, random, shape) };
    case "list":
      return { model, operations: serve(list, random, shape) };
    case "counter":
      return { model, operations: serve(counter, random, { ...shape, keys: 1 }) };
    default:
      return unreachable(model);
  }
}
