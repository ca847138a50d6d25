/** What a model is: the sequential specification that a concurrent history is held against. */

/**
 * States are immutable values. `step` must be a function of its arguments alone: the checker calls it
 * in any order, and keeps states by `key`.
 */
export interface Model<State, Input, Output> {
  readonly name: string;
  initial(): State;
  /**
   * The state after `input` took effect in `state` and answered `output`; undefined when it cannot
   * have answered that. An absent `output` is an operation whose answer never came: any is possible.
   */
  step(state: State, input: Input, output: Output | undefined): State | undefined;
  /** Equal for equal states only. */
  key(state: State): string | number;
  /** Whether an operation with this input never changes a state: it can be placed as soon as it fits. */
  isRead(input: Input): boolean;
  /** Operations of different partitions are independent, and are checked apart. */
  partition(input: Input): string;
  /** The same model, with orders ruled out that these operations, all of one partition, rule out. */
  refine?(operations: readonly Operation<Input, Output>[]): Model<State, Input, Output>;
  /** What `input` would answer in `state`, in words for a report. */
  answer(state: State, input: Input): string;
  parseInput(value: unknown): Input | undefined;
  parseOutput(input: Input, value: unknown): Output | undefined;
}

/** One client operation, as it was seen from outside. */
export interface Operation<Input, Output> {
  readonly client: number;
  /** When it was sent; any clock or counter that all clients share. */
  readonly call: number;
  /** When its answer came; undefined: never, so that it may take effect at any later time, or not. */
  readonly return: number | undefined;
  readonly input: Input;
  /** Present exactly when `return` is. */
  readonly output: Output | undefined;
}
