import { expect, it } from "vitest";
import { change, lines, STEP_MS, stretches } from "./stretch";

const now = Date.parse("2026-11-21T09:10:30Z");

it("compares with as many intervals before, and sums with as much of them as has passed", () => {
  expect(stretches({ since: "2026-11-20T09:20:00Z" }, "HOUR", now)).toEqual({
    since: "2026-11-20T09:00:00.000Z",
    until: "2026-11-21T10:00:00.000Z",
    length: 25,
    before: { since: "2026-11-19T08:00:00.000Z", until: "2026-11-20T09:00:00.000Z" },
    soFar: { since: "2026-11-19T08:00:00.000Z", until: "2026-11-20T08:00:00.000Z" },
  });
  const past = stretches({ since: "2026-11-01T00:00:00Z", until: "2026-11-11T00:00:00Z" }, "DAY", now);
  expect(past.length).toBe(10);
  expect(past.soFar).toEqual(past.before);
  expect(past.before).toEqual({ since: "2026-10-22T00:00:00.000Z", until: "2026-11-01T00:00:00.000Z" });
});

it("has an interval even where until is before since", () => {
  expect(
    stretches({ since: "2026-11-21T09:00:00Z", until: "2026-11-20T00:00:00Z" }, "HOUR", now).length,
  ).toBe(1);
});

it("draws a line for each group, the most called first and the rest last", () => {
  const at = (hour: number, requests: number, group?: string, other = false) => ({
    start: `2026-11-21T0${hour}:00:00Z`,
    group: group ?? null,
    other,
    requests,
  });
  const points = [at(6, 90, undefined, true), at(6, 1, "a"), at(7, 5, "b"), at(8, 2, "a"), at(8, 1)];
  const drawn = lines(points, "2026-11-21T06:00:00Z", 3, STEP_MS.HOUR);
  expect(drawn.map(({ group, other, requests }) => [group, other, requests])).toEqual([
    ["b", false, [0, 5, 0]],
    ["a", false, [1, 0, 2]],
    [undefined, false, [0, 0, 1]],
    [undefined, true, [90, 0, 0]],
  ]);
});

it("says how much more or less it is", () => {
  expect([
    change(12, 10),
    change(101, 100),
    change(95, 100),
    change(5, 0),
    change(0, 0),
    change(7, 7),
  ]).toEqual(["+20 %", "+1.0 %", "-5.0 %", "new", "0 %", "0 %"]);
});
