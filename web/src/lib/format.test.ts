import { expect, it } from "vitest";
import * as format from "./format";

it("keeps every digit of money", () => {
  expect(format.money("1234567.000000001", "USD")).toBe("1,234,567.000000001 USD");
  expect(format.money("0", "EUR")).toBe("0.00 EUR");
  expect(format.money("3.5000", "USD")).toBe("3.50 USD");
  expect(format.money("-0.1", "USD")).toBe("-0.10 USD");
  expect(format.money("99999999999999999999.99", "USD")).toBe("99,999,999,999,999,999,999.99 USD");
});

it("does not guess at what is not a decimal", () => {
  expect(format.decimal("1e9")).toBe("1e9");
});

it("drops decimals that say nothing from quantities", () => {
  expect(format.decimal("1500.000")).toBe("1,500");
});

it("writes sizes in decimal units, as they are billed", () => {
  expect(format.bytes(0)).toBe("0 B");
  expect(format.bytes(999)).toBe("999 B");
  expect(format.bytes(999_999)).toBe("1.0 MB");
  expect(format.bytes(1500)).toBe("1.5 kB");
  expect(format.bytes(2_340_000_000)).toBe("2.3 GB");
});

it("writes instants in UTC whatever the machine's zone", () => {
  expect(format.minute("2026-11-20T23:05:59Z")).toBe("20 Nov 2026, 23:05 UTC");
  expect(format.day("2026-11-20T23:59:59Z")).toBe("20 Nov 2026");
  expect(format.month("2026-11")).toBe("November 2026");
});

it("counts months back over the turn of the year", () => {
  expect(format.monthsBack(new Date("2026-02-28T00:00:00Z"), 4)).toEqual([
    "2026-02",
    "2026-01",
    "2025-12",
    "2025-11",
  ]);
});

it("counts months back from the last day of a long month", () => {
  expect(format.monthsBack(new Date("2026-03-31T23:59:59Z"), 2)).toEqual(["2026-03", "2026-02"]);
});

it("says how long ago in the largest whole unit", () => {
  const now = new Date("2026-11-20T12:00:00Z");
  expect(format.ago("2026-11-20T11:59:30Z", now)).toBe("just now");
  expect(format.ago("2026-11-20T11:59:00Z", now)).toBe("1 minute ago");
  expect(format.ago("2026-11-18T11:59:00Z", now)).toBe("2 days ago");
  expect(format.ago("2026-11-20T12:00:09Z", now)).toBe("just now");
});

it("says of a throttle that only reports that it is in shadow", () => {
  const limit = { rateLimit: 1000, burstLimit: 20, enforcement: "HARD" };
  expect(format.throttle(limit)).toBe("1,000/s, burst 20");
  expect(format.throttle({ ...limit, enforcement: "SHADOW" })).toBe("1,000/s, burst 20, shadow");
  expect(format.throttle(null)).toBe("No throttle");
});

it("names status classes, and calls cut off before one", () => {
  expect(format.statusClass(4)).toBe("4xx");
  expect(format.statusClass(0)).toBe("cut off");
});

it("cuts an instant to the minute it is counted in", () => {
  expect(format.floorToMinute(Date.parse("2026-11-20T23:05:59.999Z"))).toBe("2026-11-20T23:05:00.000Z");
});

it("writes a duration in the unit that it is read in", () => {
  expect(format.milliseconds(0.84)).toBe("0.8 ms");
  expect(format.milliseconds(120.4)).toBe("120 ms");
  expect(format.milliseconds(2345)).toBe("2.35 s");
});
