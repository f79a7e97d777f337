/** How numbers, sizes, instants and money are written. Times are shown in UTC, as the ledger counts them. */
const LOCALE = "en-GB";

const wholeFormat = new Intl.NumberFormat(LOCALE);
const minuteFormat = new Intl.DateTimeFormat(LOCALE, {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  timeZone: "UTC",
});
const dayFormat = new Intl.DateTimeFormat(LOCALE, {
  day: "numeric",
  month: "short",
  year: "numeric",
  timeZone: "UTC",
});
const monthFormat = new Intl.DateTimeFormat(LOCALE, { month: "long", year: "numeric", timeZone: "UTC" });

/** `12,345` */
export function count(value: number): string {
  return wholeFormat.format(value);
}

/** `1.5 MB`; decimal units, as traffic is billed. */
export function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let size = value;
  let unit = 0;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || size >= 100 ? 0 : 1;
  return `${size.toFixed(digits)} ${units[unit]}`;
}

/** `20 Nov 2026, 23:05 UTC` */
export function minute(instant: string): string {
  return `${minuteFormat.format(new Date(instant))} UTC`;
}

/** `23:05 UTC` */
export function time(instant: string): string {
  return `${new Date(instant).toISOString().slice(11, 16)} UTC`;
}

/** `23:05:59 UTC` */
export function second(instant: string): string {
  return `${new Date(instant).toISOString().slice(11, 19)} UTC`;
}

/** `0.8 ms`, `120 ms`, `2.35 s` */
export function milliseconds(value: number): string {
  if (value >= 1000) return `${(value / 1000).toFixed(2)} s`;
  return `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

/** `20 Nov 2026` */
export function day(instant: string): string {
  return dayFormat.format(new Date(instant));
}

/** `2026-11` as `November 2026`. */
export function month(yearMonth: string): string {
  return monthFormat.format(new Date(`${yearMonth}-01T00:00:00Z`));
}

/** The given month and those before it, newest first: `2026-11`, `2026-10`, … */
export function monthsBack(from: Date, howMany: number): string[] {
  return Array.from({ length: howMany }, (_, back) =>
    new Date(Date.UTC(from.getUTCFullYear(), from.getUTCMonth() - back, 1)).toISOString().slice(0, 7),
  );
}

/** How long ago, in the largest whole unit: `just now`, `4 minutes ago`, `3 days ago`. */
export function ago(instant: string, now: Date): string {
  const seconds = Math.max(0, Math.floor((now.getTime() - Date.parse(instant)) / 1000));
  const steps: [number, string][] = [
    [86_400, "day"],
    [3600, "hour"],
    [60, "minute"],
  ];
  for (const [size, unit] of steps) {
    const whole = Math.floor(seconds / size);
    if (whole >= 1) return `${whole} ${unit}${whole === 1 ? "" : "s"} ago`;
  }
  return "just now";
}

/**
 * A decimal string as money, every digit kept: `USD 1,234.5000` is never rounded through a float. At least two
 * decimals are shown and trailing zeros beyond them are dropped.
 */
export function money(amount: string, currency: string): string {
  return `${decimal(amount, 2)} ${currency}`;
}

/** A decimal string with grouped thousands and at least `decimals` decimals, not rounded. */
export function decimal(value: string, decimals = 0): string {
  const match = /^(-?)(\d+)(?:\.(\d+))?$/.exec(value);
  if (!match) return value;
  const [, sign, whole = "0", fraction = ""] = match;
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  const kept = fraction.replace(/0+$/, "").padEnd(decimals, "0");
  return `${sign}${grouped}${kept && `.${kept}`}`;
}

/** `2` as `2xx`; 0 stands for a call cut off before a status. */
export function statusClass(value: number): string {
  return value === 0 ? "cut off" : `${value}xx`;
}

/** `10/s, burst 20`; one that only reports is in shadow. */
export function throttle(
  value: { rateLimit: number; burstLimit: number; enforcement: string } | null | undefined,
): string {
  if (!value) return "No throttle";
  const shadow = value.enforcement === "SHADOW" ? ", shadow" : "";
  return `${wholeFormat.format(value.rateLimit)}/s, burst ${count(value.burstLimit)}${shadow}`;
}

/** `10,000 per month`; one that refuses nothing is soft. */
export function quota(
  value: { limit: number; period: string; enforcement: string } | null | undefined,
): string {
  if (!value) return "No quota";
  const soft = value.enforcement === "SOFT" ? ", soft" : "";
  return `${count(value.limit)} per ${value.period.toLowerCase()}${soft}`;
}

/** The instant, cut to the hour. */
export function floorToHour(instant: number): string {
  return new Date(Math.floor(instant / 3_600_000) * 3_600_000).toISOString();
}

/** The instant, cut to the minute that the ledger counts it in. */
export function floorToMinute(instant: number): string {
  return new Date(Math.floor(instant / 60_000) * 60_000).toISOString();
}
