/** What is asked of the generator's model of the API (its JSON), beyond its own warnings. */

/** A part of the model: only what is looked at here has a name. */
interface Part {
  readonly name?: string;
  readonly kind?: unknown;
  readonly type?: unknown;
  readonly target?: unknown;
  readonly package?: string;
  readonly refersToTypeParameter?: boolean;
  readonly types?: readonly unknown[];
  readonly elementSummaries?: readonly unknown[];
  readonly tag?: string;
  readonly content?: readonly { readonly text: string }[];
}

/** Bits of the model's `kind`. */
const KIND = { variable: 32, function: 64, class: 128 } as const;

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** Calls `visit` for each part, outermost first, with the names of what it stands in. */
function walk(
  value: unknown,
  path: readonly string[],
  visit: (part: Part, path: string) => void,
): void {
  if (Array.isArray(value)) {
    for (const item of value) walk(item, path, visit);
  } else if (isObject(value)) {
    // Safe: each field of a part is optional; what is looked at is compared before it is used.
    const part = value as Part;
    visit(part, path.slice(1).join("."));
    const here = typeof part.name === "string" ? [...path, part.name] : path;
    for (const child of Object.values(value)) walk(child, here, visit);
  }
}

/** Types of this repository that the API mentions and the documentation lacks. */
export function unreachable(model: unknown): string[] {
  const found = new Set<string>();
  walk(model, [], (part, path) => {
    if (part.type !== "reference" || !isObject(part.target)) return;
    if (part.refersToTypeParameter === true || part.package?.startsWith("@blixard/") !== true)
      return;
    found.add(`${path} mentions ${part.name} of ${part.package}, which is not exported`);
  });
  return [...found];
}

/** Unions of objects, by name, in which every member has a comment of its own. */
export function describedUnions(model: unknown): Set<string> {
  const names = new Set<string>();
  walk(model, [], ({ name, type }) => {
    if (name === undefined || !isObject(type)) return;
    // Safe: as in walk.
    const { types = [], elementSummaries = [] } = type as Part;
    const all = types.every((_, i) => {
      const summary = elementSummaries[i];
      return Array.isArray(summary) && summary.length > 0;
    });
    if (types.length > 0 && all) names.add(name);
  });
  return names;
}

export interface Example {
  /** Name of the item that it explains. */
  readonly of: string;
  /** TypeScript. */
  readonly text: string;
}

/** The examples in the comments. */
export function examples(model: unknown): Example[] {
  const found: Example[] = [];
  walk(model, [], ({ tag, content = [] }, path) => {
    if (tag !== "@example") return;
    const text = content.map((piece) => piece.text).join("");
    found.push(...codeBlocks(text).map((block) => ({ of: path, text: block })));
  });
  return found;
}

/** The TypeScript blocks of a Markdown text. */
export function codeBlocks(markdown: string): string[] {
  return [...markdown.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] ?? "");
}

export interface Exports {
  readonly values: readonly string[];
  readonly types: readonly string[];
}

/** What the documented package exports. */
export function exportsOf(model: unknown): Exports {
  const [values, types]: [string[], string[]] = [[], []];
  const { children } = model as { children: { name: string; kind: number }[] };
  for (const { name, kind } of children) {
    const isValue = (kind & (KIND.variable | KIND.function | KIND.class)) !== 0;
    (isValue ? values : types).push(name);
  }
  return { values, types };
}
