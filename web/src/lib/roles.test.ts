import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { may, whyNot } from "./roles";

it("knows every action that the server asks permission for", () => {
  const table = readFileSync(new URL("../../../control-plane/src/access/role.rs", import.meta.url), "utf8");
  const actions = /pub enum Action \{([^}]*)\}/.exec(table)?.[1]?.match(/^ {4}[A-Z]\w+/gm) ?? [];
  expect(actions.length).toBeGreaterThan(5);
  for (const action of actions) {
    const name = action.trim().replace(/^./, (letter) => letter.toLowerCase());
    expect(may("OWNER", name as Parameters<typeof may>[1]), name).toBe(true);
  }
});

it("lets a viewer look and a developer build", () => {
  expect(may("VIEWER", "manageApis")).toBe(false);
  expect(may("VIEWER", "readBilling")).toBe(true);
  expect(may("DEVELOPER", "deploy")).toBe(true);
  expect(may("DEVELOPER", "manageMembers")).toBe(false);
  expect(may("DEVELOPER", "readBilling")).toBe(false);
  expect(may("BILLING", "readAudit")).toBe(false);
  expect(may("ADMIN", "manageOwners")).toBe(false);
  expect(may(null, "readAudit")).toBe(false);
});

it("says which roles may", () => {
  expect(whyNot("VIEWER", "deploy")).toBe(
    "You may look, not change: that takes the role of owner, admin or developer. Yours is viewer.",
  );
  expect(whyNot("ADMIN", "manageOwners")).toContain("the role of owner. Yours is admin.");
});
