/**
 * The definition, spelled out: tries every order of every choice of the operations. For histories of
 * a few operations; shares nothing with the search that it judges but the models.
 */

import type { Model, Operation } from "../model.ts";

export function isLinearizable<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
): boolean {
  const extend = (state: State, rest: readonly Operation<Input, Output>[]): boolean => {
    if (rest.every((operation) => operation.return === undefined)) return true;
    return rest.some((chosen) => {
      // Real time: nothing that was answered before this was sent may come after it.
      const isTooLate = rest.some((other) => (other.return ?? Infinity) < chosen.call);
      if (isTooLate) return false;
      const next = model.step(state, chosen.input, chosen.output);
      if (next === undefined) return false;
      return extend(
        next,
        rest.filter((other) => other !== chosen),
      );
    });
  };
  return extend(model.initial(), operations);
}
