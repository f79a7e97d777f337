/** What something is called, and what tells it from others of the same name. */
export type Named = { label: string; id?: string | undefined };

/** What each id is called, told apart where two have one name. */
export function namesOf(named: readonly (Named & { id: string })[]): Map<string, string> {
  const labels = distinct(named);
  return new Map(named.map(({ id, label }, at) => [id, labels[at] ?? label]));
}

/** The labels, each with the id behind it where it repeats, or is the name of something else that stands beside them. */
export function distinct(named: readonly Named[], taken: readonly string[] = []): string[] {
  const times = new Map(taken.map((label) => [label, 1]));
  for (const { label } of named) times.set(label, (times.get(label) ?? 0) + 1);
  return named.map(({ label, id }) => (id && (times.get(label) ?? 0) > 1 ? `${label} (${id})` : label));
}
