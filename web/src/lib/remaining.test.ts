import { expect, it } from "vitest";
import { remaining } from "./remaining";

it("says what a quota left, or whether there is none or one of other days", () => {
  const utc = { anchor: "CALENDAR", timeZone: "UTC" };
  expect(remaining(12_345, utc)).toEqual({ text: "12,345", known: true });
  expect(remaining(0, utc).text).toBe("0");
  expect(remaining(null, null).text).toBe("no quota");
  expect(remaining(null, { ...utc, timeZone: "Europe/Berlin" }).text).toBe("not told");
  expect(remaining(undefined, { ...utc, anchor: "ANNIVERSARY" })).toEqual({ text: "not told", known: false });
});
