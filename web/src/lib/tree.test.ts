import { expect, it } from "vitest";
import { type Branch, tree } from "./tree";

const lines = (branch: Branch<{ path: string; method: string }>, depth = 0): string[] => [
  `${"  ".repeat(depth)}${branch.part}${branch.resource ? "*" : ""} ${branch.routes.map((route) => route.method).join(" ")}`.trimEnd(),
  ...branch.children.flatMap((child) => lines(child, depth + 1)),
];

it("joins resources and routes into one tree, variables last", () => {
  const resources = [
    { id: "r", path: "/" },
    { id: "p", path: "/pets" },
  ];
  const routes = [
    { method: "GET", path: "/pets/{id}" },
    { method: "GET", path: "/pets" },
    { method: "POST", path: "/pets" },
    { method: "GET", path: "/pets/new" },
    { method: "ANY", path: "/files/{proxy+}" },
  ];
  expect(lines(tree(resources, routes))).toEqual([
    "/*",
    "  files",
    "    {proxy+} ANY",
    "  pets* GET POST",
    "    new GET",
    "    {id} GET",
  ]);
});

it("stands $default at the root", () => {
  expect(lines(tree([], [{ method: "$default", path: "$default" }]))).toEqual(["/ $default"]);
});

it("is a bare root for an Api without anything", () => {
  expect(lines(tree([], []))).toEqual(["/"]);
});
