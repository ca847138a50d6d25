/**
 * What generates code, by its sources: regions that another generator has made are not used. `node
 * --conditions=source packages/machine/src/jit/testing/generator.ts --write` renews it.
 */
export const GENERATOR = "5fddad0548d8ce88";
