import { expect, it } from "vitest";
import { type Branch, deletion, subtree, tree } from "./tree";

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

it("tells what a resource's deletion takes along, and which routes stay", () => {
  const on = { id: "r" };
  const routes = [
    { key: "GET /pets", path: "/pets", resource: on },
    { key: "GET /pets/{id}", path: "/pets/{id}", resource: on },
    { key: "GET /pets/{id}/toys", path: "/pets/{id}/toys", resource: null },
    { key: "GET /petshop", path: "/petshop", resource: on },
  ];
  const resources = ["/", "/pets", "/pets/{id}", "/petshop"].map((path) => ({ id: path, path }));
  const pets = subtree(tree(resources, routes)).find(({ path }) => path === "/pets");
  if (!pets) throw new Error("no /pets in the tree");
  const gone = deletion(pets);
  expect(gone.resources).toEqual(["/pets", "/pets/{id}"]);
  expect(gone.routes.map(({ key }) => key)).toEqual(["GET /pets", "GET /pets/{id}"]);
  expect(gone.stays.map(({ key }) => key)).toEqual(["GET /pets/{id}/toys"]);
});
