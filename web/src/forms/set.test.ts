import { expect, it } from "vitest";
import { isSet } from "./set";

it("takes what is typed, chosen or switched on for set", () => {
  for (const value of ["x", "0", true, 1, ["a"], { a: "", b: { c: "x" } }]) expect(isSet(value)).toBe(true);
});

it("takes what is empty or off for the default", () => {
  for (const value of ["", "  ", false, 0, [], {}, [""], null, undefined, { a: "", b: { c: false } }])
    expect(isSet(value)).toBe(false);
});
