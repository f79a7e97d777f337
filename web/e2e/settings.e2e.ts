import { readFile } from "node:fs/promises";
import { expect, test } from "./console";

test("settings show the organisation, its members and what was changed by whom", async ({ visit }) => {
  const account = await visit.account();
  await visit.go("/apis/new");
  await visit.fill("Name", "Audited");
  await visit.click("Create API");
  await visit.heading("Audited").waitFor();

  await visit.go("/settings");
  await visit.heading("Settings").waitFor();
  await visit.page.getByRole("main").getByText(account.tenant).waitFor();
  await visit.isAccessible();
  await visit.follow("Members");
  await visit.page.getByRole("cell", { name: account.email }).waitFor();
  await visit.isAccessible();
  await visit.follow("Audit log");
  await visit.page.getByRole("cell", { name: "api.create" }).waitFor();
  await visit.isAccessible();
  await visit.page.getByLabel("Thing").selectOption("api");
  await visit.page.getByLabel("Action").selectOption("api.update");
  await visit.sees("No such change");
  await expect
    .poll(() => Object.fromEntries(new URL(visit.page.url()).searchParams))
    .toEqual({ noun: "api", action: "api.update" });
  await visit.page.getByLabel("Action").selectOption("api.create");
  await visit.page.getByLabel("Who").selectOption({ label: account.email });
  const row = visit.page.getByRole("row").filter({ hasText: account.email });
  await row.getByRole("link").click();
  await visit.page.getByRole("row").filter({ hasText: "name" }).getByText("Audited").waitFor();
  await visit.isAccessible();

  await visit.go("/settings/audit");
  await visit.click("Verify");
  await visit.click("Verify now");
  await visit.sees("Whole");
  const head = await visit.page.getByText(/^\d+:[0-9a-f]{64}$/).innerText();
  await visit.isAccessible();
  await visit.fill(/Head noted before/, head.replace(/.{8}$/, "00000000"));
  await visit.click("Verify again");
  await visit.sees("Broken");
  await visit.click("Close");
  const [download] = await Promise.all([visit.page.waitForEvent("download"), visit.click("Export")]);
  expect(await readFile(await download.path(), "utf8")).toContain("api.create");
});
