/** Counted calls over time: what the chart draws and its table lists. */
export type Point = { start: string; statusClass: number; requests: number };

export type Series = {
  /** Each interval's beginning, in seconds since 1970, without gaps. */
  starts: number[];
  /** The status classes that came, lowest first, with their requests in each interval. */
  classes: { statusClass: number; requests: number[] }[];
};

/** 0, a call cut off before a status, stands last. */
const rank = (statusClass: number) => (statusClass === 0 ? 9 : statusClass);

/** Puts the points on an even line of intervals from `since` to before `until`; where nothing came there is 0. */
export function series(points: readonly Point[], since: string, until: number, stepMs: number): Series {
  const first = Math.floor(Date.parse(since) / stepMs) * stepMs;
  const length = Math.max(1, Math.ceil((until - first) / stepMs));
  const starts = Array.from({ length }, (_, at) => (first + at * stepMs) / 1000);
  const byClass = new Map<number, number[]>();
  for (const { start, statusClass, requests } of points) {
    const at = Math.floor((Date.parse(start) - first) / stepMs);
    if (at < 0 || at >= length) continue;
    const row = byClass.get(statusClass) ?? new Array<number>(length).fill(0);
    row[at] = (row[at] ?? 0) + requests;
    byClass.set(statusClass, row);
  }
  const classes = [...byClass].map(([statusClass, requests]) => ({ statusClass, requests }));
  return { starts, classes: classes.sort((a, b) => rank(a.statusClass) - rank(b.statusClass)) };
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
