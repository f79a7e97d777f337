import { expect, it } from "vitest";
import { series, sum } from "./series";

const HOUR_MS = 3_600_000;
const since = "2026-11-21T06:20:00Z";
const until = Date.parse("2026-11-21T09:10:00Z");

it("draws every interval, those without calls too", () => {
  const points = [
    { start: "2026-11-21T07:00:00Z", statusClass: 5, requests: 2 },
    { start: "2026-11-21T07:00:00Z", statusClass: 2, requests: 40 },
    { start: "2026-11-21T09:00:00Z", statusClass: 2, requests: 3 },
  ];
  const { starts, classes } = series(points, since, until, HOUR_MS);
  expect(starts.map((seconds) => new Date(seconds * 1000).toISOString().slice(11, 16))).toEqual([
    "06:00",
    "07:00",
    "08:00",
    "09:00",
  ]);
  expect(classes).toEqual([
    { statusClass: 2, requests: [0, 40, 0, 3] },
    { statusClass: 5, requests: [0, 2, 0, 0] },
  ]);
});

it("stands calls that were cut off last", () => {
  const at = { start: "2026-11-21T07:00:00Z", requests: 1 };
  const { classes } = series(
    [
      { ...at, statusClass: 0 },
      { ...at, statusClass: 4 },
    ],
    since,
    until,
    HOUR_MS,
  );
  expect(classes.map(({ statusClass }) => statusClass)).toEqual([4, 0]);
});

it("leaves out what lies beyond its ends", () => {
  const points = [
    { start: "2026-11-21T05:00:00Z", statusClass: 2, requests: 1 },
    { start: "2026-11-21T10:00:00Z", statusClass: 2, requests: 1 },
  ];
  expect(series(points, since, until, HOUR_MS).classes).toEqual([]);
  expect(sum([1, 2, 3])).toBe(6);
});
