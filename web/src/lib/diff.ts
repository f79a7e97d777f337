/** One field of a noun that changed; absent where it was not there before, or is not any more. */
export type Change = { field: string; before: string | undefined; after: string | undefined };

/** What differs between two JSON texts, field by field: `throttle.rateLimit`, `variables[0].name`. */
export function changes(before: string | null | undefined, after: string | null | undefined): Change[] {
  const was = fields(before);
  const is = fields(after);
  return [...new Set([...was.keys(), ...is.keys()])]
    .filter((field) => was.get(field) !== is.get(field))
    .map((field) => ({ field, before: was.get(field), after: is.get(field) }));
}

function fields(json: string | null | undefined): Map<string, string> {
  const found = new Map<string, string>();
  if (json == null) return found;
  try {
    collect(JSON.parse(json), "", found);
  } catch {
    found.set("", json);
  }
  return found;
}

function collect(value: unknown, path: string, into: Map<string, string>) {
  const inner = typeof value === "object" && value !== null ? Object.entries(value) : [];
  if (inner.length === 0) {
    // A noun without a field has nothing to tell of.
    if (path !== "" || typeof value !== "object") {
      into.set(path, typeof value === "string" ? value : JSON.stringify(value));
    }
    return;
  }
  for (const [name, part] of inner) {
    const own = Array.isArray(value) ? `[${name}]` : path === "" ? name : `.${name}`;
    collect(part, path + own, into);
  }
}
