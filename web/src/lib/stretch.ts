import type { Interval } from "./paths";

export const STEP_MS: Record<Interval, number> = { MINUTE: 60_000, HOUR: 3_600_000, DAY: 86_400_000 };

export type Stretch = { since: string; until: string };

/** A stretch of time in whole intervals, and the one before it. */
export type Stretches = Stretch & {
  /** How many intervals it has. */
  length: number;
  /** As many intervals, up to where this one begins. */
  before: Stretch;
  /** As much of those as has passed of these: to compare sums. */
  soFar: Stretch;
};

/** From the interval that `since` lies in to the end of the one that `until` lies in; now where nothing is said. */
export function stretches(
  { since, until }: { since: string; until?: string | undefined },
  interval: Interval,
  now: number,
): Stretches {
  const step = STEP_MS[interval];
  const first = Math.floor(Date.parse(since) / step) * step;
  const asked = until ? Date.parse(until) : now;
  const end = Math.max(first + step, Math.ceil(asked / step) * step);
  const span = end - first;
  // To the minute; by hour and by day, whole hours: minutes are not kept for so long.
  const grain = interval === "MINUTE" ? 60_000 : 3_600_000;
  const passed = Math.max(grain, Math.floor((Math.min(asked, now, end) - first) / grain) * grain);
  const iso = (instant: number) => new Date(instant).toISOString();
  return {
    since: iso(first),
    until: iso(end),
    length: span / step,
    before: { since: iso(first - span), until: iso(first) },
    soFar: { since: iso(first - span), until: iso(first - span + passed) },
  };
}

export type GroupPoint = {
  start: string;
  group?: string | null | undefined;
  other: boolean;
  requests: number;
};

export type GroupLine = {
  /** None where calls have none of what they are told apart by. */
  group: string | undefined;
  other: boolean;
  /** In each interval. */
  requests: number[];
  total: number;
};

/** Puts points on an even line of intervals; where nothing came there is 0. Who was called most comes first, the rest last. */
export function lines(
  points: readonly GroupPoint[],
  since: string,
  length: number,
  stepMs: number,
): GroupLine[] {
  const first = Date.parse(since);
  const found = new Map<string, GroupLine>();
  for (const { start, group, other, requests } of points) {
    const at = Math.floor((Date.parse(start) - first) / stepMs);
    if (at < 0 || at >= length) continue;
    const key = other ? "other" : `group ${group ?? ""}`;
    const line = found.get(key) ?? {
      group: group ?? undefined,
      other,
      requests: new Array<number>(length).fill(0),
      total: 0,
    };
    line.requests[at] = (line.requests[at] ?? 0) + requests;
    line.total += requests;
    found.set(key, line);
  }
  return [...found.values()].sort((a, b) => Number(a.other) - Number(b.other) || b.total - a.total);
}

/** `+20 %`, `-5 %`; nothing to compare with is `new`. */
export function change(now: number, before: number): string {
  if (before === 0) return now === 0 ? "0 %" : "new";
  const percent = ((now - before) / before) * 100;
  const digits = Math.abs(percent) < 10 && percent !== 0 ? 1 : 0;
  return `${percent > 0 ? "+" : ""}${percent.toFixed(digits)} %`;
}
