import { expect, it } from "vitest";
import { distinct, namesOf } from "./labels";

it("tells two of one name apart by their ids, and leaves the others as they are", () => {
  const named = [
    { label: "mobile", id: "k1" },
    { label: "web", id: "k2" },
    { label: "mobile", id: "k3" },
    { label: "All", id: "k4" },
    { label: "all others" },
  ];
  expect(distinct(named, ["Hour", "All"])).toEqual([
    "mobile (k1)",
    "web",
    "mobile (k3)",
    "All (k4)",
    "all others",
  ]);
});

it("finds by an id what is told from others of the same name", () => {
  const names = namesOf([
    { label: "mobile", id: "k1" },
    { label: "mobile", id: "k2" },
    { label: "web", id: "k3" },
  ]);
  expect([...names.values()]).toEqual(["mobile (k1)", "mobile (k2)", "web"]);
  expect(names.get("k2")).toBe("mobile (k2)");
});
