import { expect, it } from "vitest";
import { changes } from "./diff";

it("names what changed, by its path", () => {
  const before = { name: "Gold", throttle: { rateLimit: 10, burstLimit: 20 }, stages: ["a"] };
  const after = { name: "Gold", throttle: { rateLimit: 50, burstLimit: 20 }, stages: ["a", "b"] };
  expect(changes(JSON.stringify(before), JSON.stringify(after))).toEqual([
    { field: "throttle.rateLimit", before: "10", after: "50" },
    { field: "stages[1]", before: undefined, after: "b" },
  ]);
});

it("shows all of what was made or deleted", () => {
  expect(changes(null, '{"name":"Gold","quota":null}')).toEqual([
    { field: "name", before: undefined, after: "Gold" },
    { field: "quota", before: undefined, after: "null" },
  ]);
  expect(changes('{"name":""}', null)).toEqual([{ field: "name", before: "", after: undefined }]);
});

it("tells of the fields of what had none", () => {
  expect(changes("{}", '{"apis":"0"}')).toEqual([{ field: "apis", before: undefined, after: "0" }]);
  expect(changes('{"quota":{}}', "{}")).toEqual([{ field: "quota", before: "{}", after: undefined }]);
});

it("keeps text as text", () => {
  const name = '<img src=x onerror="alert(1)">';
  expect(changes(null, JSON.stringify({ name }))).toEqual([
    { field: "name", before: undefined, after: name },
  ]);
  expect(changes(null, "not json")).toEqual([{ field: "", before: undefined, after: "not json" }]);
  expect(changes(undefined, undefined)).toEqual([]);
});
