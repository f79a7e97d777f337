import { expect, it } from "vitest";
import {
  managementRequestsSearch,
  quarantineSearch,
  reconciliationSearch,
  requestsSearch,
  safeNext,
  tenantsSearch,
  texts,
  usageSearch,
} from "./paths";

it("goes back only to paths of this origin after log-in", () => {
  expect(safeNext("/usage?api=x")).toBe("/usage?api=x");
  for (const elsewhere of [
    undefined,
    "",
    "https://evil.example",
    "//evil.example",
    "/\\evil.example",
    "usage",
  ]) {
    expect(safeNext(elsewhere)).toBe("/");
  }
});

it("drops what a URL does not know", () => {
  expect(texts("after", "month")({ after: "abc", month: 202611, other: "x", nested: {} })).toEqual({
    after: "abc",
    month: "202611",
  });
});

it("keeps only filters that parse", () => {
  expect(
    usageSearch({
      api: "A",
      interval: "SECOND",
      since: "2026-11-20T00:00:00.000Z",
      until: "tomorrow",
      after: "",
    }),
  ).toEqual({ api: "A", since: "2026-11-20T00:00:00.000Z" });
});

it("drops from an address what no filter is", () => {
  expect(requestsSearch({ stage: "prod", status: 4 })).toEqual({ stage: "prod", status: 4 });
  expect(requestsSearch({ stage: "", status: "9" })).toEqual({});
  expect(
    managementRequestsSearch({ requestId: 42, actor: "A", status: "404", failed: true, more: "x" }),
  ).toEqual({ requestId: "42", actor: "A", status: 404, failed: true });
  expect(managementRequestsSearch({ status: "99", failed: "yes" })).toEqual({});
  expect(tenantsSearch({ search: "acme", status: "CLOSED" })).toEqual({ search: "acme", status: "CLOSED" });
  expect(tenantsSearch({ status: "GONE", more: "x" })).toEqual({});
  expect(quarantineSearch({ node: "n", state: "SETTLED" })).toEqual({ node: "n", state: "SETTLED" });
  expect(quarantineSearch({ state: "OPEN", more: "x" })).toEqual({});
  const drifting = { tenant: "t", kind: "QUOTA", drifting: true } as const;
  expect(reconciliationSearch({ ...drifting })).toEqual(drifting);
  expect(reconciliationSearch({ kind: "MEMORY", drifting: "yes" })).toEqual({});
});
