/**
 * The search for one order of a partition's operations that its model allows and that respects real
 * time: Wing & Gong's algorithm with Lowe's memory of configurations (set of operations placed,
 * state), as porcupine has it. Six prunings are ours, each with why it loses nothing:
 *
 *   - a read that fits now is placed now: where it would fit later it changes nothing, and leaving
 *     it out of the way later only removes a constraint;
 *   - an operation without an answer is not placed where it changes nothing: never does the same;
 *   - nor before one that does not need it: that one may go first, or do without it;
 *   - of several equal operations without an answer, the one sent first is placed first: it may
 *     stand wherever the others may;
 *   - of several equal operations with equal answers, all called by now, the one that returned
 *     first is placed first: the two may change places;
 *   - a configuration is left where one was seen with the same state, the same answered operations
 *     and only some of the operations without an answer: what is not placed yet still may be.
 *
 * So that the last one finds small sets first, operations without an answer are tried only after
 * those with one.
 */

import { present, Prng } from "@blixard/std";
import type { Model, Operation } from "./model.ts";

export interface SearchLimits {
  /** Placements tried. */
  readonly stepsMax: number;
  /** Configurations remembered, which bounds memory. */
  readonly configurationsMax: number;
}

export type SearchResult<State> =
  | { readonly kind: "ok"; readonly steps: number; readonly order: readonly number[] }
  | {
      readonly kind: "illegal";
      readonly steps: number;
      /** The operation at whose answer the last hope ended. */
      readonly offender: number;
      /** The longest order of those placed before it, and the state that it leads to. */
      readonly order: readonly number[];
      readonly state: State;
    }
  | {
      readonly kind: "unknown";
      readonly steps: number;
      readonly limit: "steps" | "configurations";
    };

interface Configuration {
  readonly placed: Uint32Array;
  readonly state: number;
  readonly next: Configuration | undefined;
}

interface Frame<State> {
  readonly op: number;
  /** Before the operation. */
  readonly state: State;
  readonly stateId: number;
  /** Another choice instead of it need not be tried. */
  readonly isForced: boolean;
}

const END = -1;

/** Calls and returns of `operations` by time; a call at the time of a return counts as before it. */
function entriesOf(operations: readonly Operation<unknown, unknown>[]) {
  const entries: { op: number; at: number; isReturn: boolean }[] = [];
  operations.forEach((operation, op) => {
    entries.push({ op, at: operation.call, isReturn: false });
    if (operation.return !== undefined) entries.push({ op, at: operation.return, isReturn: true });
  });
  return entries.sort((a, b) => a.at - b.at || Number(a.isReturn) - Number(b.isReturn));
}

export class Search<State, Input, Output> {
  readonly #model: Model<State, Input, Output>;
  readonly #ops: readonly Operation<Input, Output>[];
  readonly #limits: SearchLimits;
  /** Doubly linked list of entries; what is placed is lifted out. Position 0 is the head. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #opAt: Int32Array;
  readonly #isReturnAt: Uint8Array;
  readonly #callEntry: Int32Array;
  /** 0 for operations without an answer. */
  readonly #returnEntry: Int32Array;
  /**
   * The operation equal to this one, in its answer too, that is next before it: by the time of its
   * call where they have no answer, else by that of the answer; END when there is none.
   */
  readonly #twin: Int32Array;
  readonly #placed: Uint32Array;
  /** 0 for operations without an answer: configurations that differ in them share a hash. */
  readonly #mark: Uint32Array;
  /** The bits of `#placed` of the operations with an answer. */
  readonly #answered: Uint32Array;
  #placedHash = 0;
  #returnsLeft: number;
  readonly #stateIds = new Map<string | number, number>();
  readonly #seen = new Map<number, Configuration>();
  #configurations = 0;
  readonly #stack: Frame<State>[] = [];
  #steps = 0;
  #state: State;
  #stateId: number;
  /** The furthest return that could not be passed, and how far the placing had come then. */
  #furthest = 0;
  #bestOrder: readonly number[] = [];
  #bestState: State;

  constructor(
    model: Model<State, Input, Output>,
    operations: readonly Operation<Input, Output>[],
    limits: SearchLimits,
  ) {
    this.#model = model;
    this.#ops = operations;
    this.#limits = limits;
    const entries = entriesOf(operations);
    const size = entries.length + 1;
    this.#next = Int32Array.from({ length: size }, (_, at) => (at + 1 < size ? at + 1 : END));
    this.#previous = Int32Array.from({ length: size }, (_, at) => at - 1);
    this.#opAt = new Int32Array(size);
    this.#isReturnAt = new Uint8Array(size);
    this.#callEntry = new Int32Array(operations.length);
    this.#returnEntry = new Int32Array(operations.length);
    entries.forEach(({ op, isReturn }, index) => {
      this.#opAt[index + 1] = op;
      this.#isReturnAt[index + 1] = isReturn ? 1 : 0;
      (isReturn ? this.#returnEntry : this.#callEntry)[op] = index + 1;
    });
    this.#returnsLeft = size - 1 - operations.length;
    this.#twin = this.#twins();
    this.#placed = new Uint32Array(Math.ceil(operations.length / 32));
    const random = new Prng(operations.length);
    this.#answered = new Uint32Array(this.#placed.length);
    this.#mark = Uint32Array.from({ length: operations.length }, (_, op) => {
      if (this.#isOpen(op)) return 0;
      this.#answered[op >> 5] = (this.#answered[op >> 5] ?? 0) | (1 << (op & 31));
      return random.u32();
    });
    this.#state = model.initial();
    this.#stateId = this.#idOf(this.#state);
    this.#bestState = this.#state;
  }

  #twins(): Int32Array {
    const last = new Map<string, number>();
    const twin = new Int32Array(this.#ops.length).fill(END);
    for (let at = this.#next[0] ?? END; at !== END; at = this.#next[at] ?? END) {
      const op = this.#opAt[at] ?? 0;
      if (this.#isOpen(op) === (this.#isReturnAt[at] === 1)) continue;
      const { input, output } = present(this.#ops[op], "an operation");
      const equal = JSON.stringify([input, output]);
      twin[op] = last.get(equal) ?? END;
      last.set(equal, op);
    }
    return twin;
  }

  #idOf(state: State): number {
    const key = this.#model.key(state);
    let id = this.#stateIds.get(key);
    if (id === undefined) {
      id = this.#stateIds.size;
      this.#stateIds.set(key, id);
    }
    return id;
  }

  #isOpen(op: number): boolean {
    return this.#returnEntry[op] === 0;
  }

  #isPlaced(op: number): boolean {
    return (((this.#placed[op >> 5] ?? 0) >>> (op & 31)) & 1) === 1;
  }

  #flip(op: number): void {
    this.#placed[op >> 5] = (this.#placed[op >> 5] ?? 0) ^ (1 << (op & 31));
    this.#placedHash ^= this.#mark[op] ?? 0;
  }

  #unlink(at: number): void {
    const [before, after] = [this.#previous[at] ?? 0, this.#next[at] ?? END];
    this.#next[before] = after;
    if (after !== END) this.#previous[after] = before;
  }

  #relink(at: number): void {
    const [before, after] = [this.#previous[at] ?? 0, this.#next[at] ?? END];
    this.#next[before] = at;
    if (after !== END) this.#previous[after] = at;
  }

  #place(op: number, state: State, stateId: number, isForced: boolean): void {
    this.#stack.push({ op, state: this.#state, stateId: this.#stateId, isForced });
    this.#flip(op);
    this.#unlink(this.#callEntry[op] ?? 0);
    const returns = this.#returnEntry[op] ?? 0;
    if (returns !== 0) {
      this.#unlink(returns);
      this.#returnsLeft--;
    }
    this.#state = state;
    this.#stateId = stateId;
  }

  #takeBack(frame: Frame<State>): void {
    const { op } = frame;
    // In the reverse order of the unlinking.
    const returns = this.#returnEntry[op] ?? 0;
    if (returns !== 0) {
      this.#relink(returns);
      this.#returnsLeft++;
    }
    this.#relink(this.#callEntry[op] ?? 0);
    this.#flip(op);
    this.#state = frame.state;
    this.#stateId = frame.stateId;
  }

  /** Whether `placed` is the same as what is placed now but for open operations that it lacks. */
  #isWithin(placed: Uint32Array): boolean {
    return placed.every((word, at) => {
      const now = this.#placed[at] ?? 0;
      return (word & ~now) === 0 && (now & ~word & (this.#answered[at] ?? 0)) === 0;
    });
  }

  /** Remembers the configuration after placing `op`; false when it leads nowhere new. */
  #remember(op: number, stateId: number): boolean {
    this.#flip(op);
    const hash = (this.#placedHash ^ Math.imul(stateId + 1, 0x9e3779b1)) >>> 0;
    const first = this.#seen.get(hash);
    let isNew = true;
    for (let one = first; one !== undefined && isNew; one = one.next) {
      isNew = one.state !== stateId || !this.#isWithin(one.placed);
    }
    if (isNew) {
      this.#seen.set(hash, { placed: this.#placed.slice(), state: stateId, next: first });
      this.#configurations++;
    }
    this.#flip(op);
    return isNew;
  }

  /** Places every read that fits now. */
  #placeReads(): void {
    let at = this.#next[0] ?? END;
    while (at !== END && this.#isReturnAt[at] === 0) {
      const op = this.#opAt[at] ?? 0;
      at = this.#next[at] ?? END;
      const { input, output } = present(this.#ops[op], "an operation");
      if (!this.#model.isRead(input)) continue;
      this.#steps++;
      const next = this.#model.step(this.#state, input, output);
      if (next === undefined || this.#idOf(next) !== this.#stateId) continue;
      this.#place(op, this.#state, this.#stateId, true);
      // Its return may have been what ended the calls that are open together.
      at = this.#next[0] ?? END;
    }
  }

  /**
   * Whether an operation without an answer was placed last, and `op` does not need it: it leads to
   * the same state without it, or it changes nothing with or without it, and so may as well go first.
   */
  #isUnneeded(op: number, stateId: number): boolean {
    const last = this.#stack.at(-1);
    if (last === undefined || !this.#isOpen(last.op)) return false;
    const { input, output } = present(this.#ops[op], "an operation");
    const without = this.#model.step(last.state, input, output);
    if (without === undefined) return false;
    const withoutId = this.#idOf(without);
    return withoutId === stateId || (withoutId === last.stateId && stateId === this.#stateId);
  }

  /** Whether an equal operation is to be placed before `op`. */
  #isAfterTwin(op: number): boolean {
    let twin = this.#twin[op] ?? END;
    if (this.#isOpen(op)) return twin !== END && !this.#isPlaced(twin);
    let first = this.#next[0] ?? END;
    while (this.#isReturnAt[first] === 0) first = this.#next[first] ?? END;
    // What returned before that is placed.
    while (twin !== END && (this.#returnEntry[twin] ?? 0) >= first) {
      if (!this.#isPlaced(twin) && (this.#callEntry[twin] ?? 0) < first) return true;
      twin = this.#twin[twin] ?? END;
    }
    return false;
  }

  /** Tries the operation called at `at`, if it is open or not as asked; whether it was placed. */
  #try(at: number, isOpen: boolean): boolean {
    const op = this.#opAt[at] ?? 0;
    if (this.#isOpen(op) !== isOpen) return false;
    if (this.#isAfterTwin(op)) return false;
    const { input, output } = present(this.#ops[op], "an operation");
    this.#steps++;
    const next = this.#model.step(this.#state, input, output);
    if (next === undefined) return false;
    const stateId = this.#idOf(next);
    if (isOpen && stateId === this.#stateId) return false;
    if (this.#isUnneeded(op, stateId)) return false;
    if (!this.#remember(op, stateId)) return false;
    this.#place(op, next, stateId, false);
    return true;
  }

  /** Notes how far it came; the choice to replace, or undefined when every one is used up. */
  #backtrack(stuckAt: number): Frame<State> | undefined {
    const isFurther = stuckAt > this.#furthest;
    const isLonger = stuckAt === this.#furthest && this.#stack.length > this.#bestOrder.length;
    if (isFurther || isLonger) {
      this.#furthest = stuckAt;
      this.#bestOrder = this.#stack.map(({ op }) => op);
      this.#bestState = this.#state;
    }
    for (let frame = this.#stack.pop(); frame !== undefined; frame = this.#stack.pop()) {
      this.#takeBack(frame);
      if (!frame.isForced) return frame;
    }
    return undefined;
  }

  run(): SearchResult<State> {
    const { stepsMax, configurationsMax } = this.#limits;
    this.#placeReads();
    let at = this.#next[0] ?? END;
    let isOpen = false;
    while (this.#returnsLeft > 0) {
      const steps = this.#steps;
      if (steps > stepsMax) return { kind: "unknown", steps, limit: "steps" };
      if (this.#configurations > configurationsMax) {
        return { kind: "unknown", steps, limit: "configurations" };
      }
      if (this.#isReturnAt[at] === 0) {
        if (this.#try(at, isOpen)) {
          this.#placeReads();
          at = this.#next[0] ?? END;
          isOpen = false;
        } else at = this.#next[at] ?? END;
        continue;
      }
      if (!isOpen) {
        at = this.#next[0] ?? END;
        isOpen = true;
        continue;
      }
      const frame = this.#backtrack(at);
      if (frame !== undefined) {
        at = this.#next[this.#callEntry[frame.op] ?? 0] ?? END;
        isOpen = this.#isOpen(frame.op);
        continue;
      }
      const offender = this.#opAt[this.#furthest] ?? 0;
      const [order, state] = [this.#bestOrder, this.#bestState];
      return { kind: "illegal", steps: this.#steps, offender, order, state };
    }
    const order = this.#stack.map(({ op }) => op);
    return { kind: "ok", steps: this.#steps, order };
  }
}
