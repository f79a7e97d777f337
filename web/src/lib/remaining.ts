import { count } from "./format";

/** The periods of a plan's quota, as far as they matter here. */
export type Periods = { anchor: string; timeZone: string };

/** Whether the ledger can say what such a quota left: its days are those of UTC. */
export function isTold({ anchor, timeZone }: Periods): boolean {
  return anchor === "CALENDAR" && timeZone === "UTC";
}

/** What a quota left on a day: `12,345`, or why there is no number. */
export function remaining(
  value: number | null | undefined,
  quota: Periods | null | undefined,
): { text: string; known: boolean } {
  if (value !== null && value !== undefined) return { text: count(value), known: true };
  return { text: quota && !isTold(quota) ? "not told" : "no quota", known: false };
}
