import { expect, test, unique } from "./console";
import { becomeOperator } from "./operator";

test("what the operator does stands in a log of its own, to filter, check and take away", async ({
  visit,
}) => {
  const name = unique("rack");
  await becomeOperator(visit);
  await visit.follow("Join tokens");
  await visit.click("Create join token");
  await visit.fill(/^Name/, name);
  await visit.fill("Cells", "default");
  await visit.click("Create");
  await visit.click("I have copied it");
  await visit.page.getByRole("row").filter({ hasText: name }).waitFor();

  await visit.follow("Audit log");
  await visit.heading("Audit log").waitFor();
  const table = visit.page.getByRole("table", { name: "Audit log" });
  await table.getByRole("cell", { name: "operator@example.com" }).first().waitFor();
  // By the one-time link or by logging in.
  const came = table.getByRole("cell", { name: /^(operator|session)\.create$/ });
  await came.first().waitFor();
  await visit.isAccessible();
  expect(await visit.page.getByLabel("Who").count()).toBe(0);
  await visit.page.getByLabel("Thing").selectOption("join_token");
  await visit.page.getByLabel("Action").selectOption("join_token.create");
  await expect.poll(() => came.count()).toBe(0);
  await expect
    .poll(() => Object.fromEntries(new URL(visit.page.url()).searchParams))
    .toEqual({ noun: "join_token", action: "join_token.create" });
  const made = table.getByRole("row").filter({ hasText: "join_token.create" }).first();
  await made.getByRole("button", { name: "UTC" }).click();
  const dialog = visit.page.getByRole("dialog", { name: "join_token.create" });
  await dialog.getByText("Place in the log").waitFor();
  await dialog.getByRole("row").filter({ hasText: "name" }).getByText(name).waitFor();
  await visit.isAccessible();
  await visit.click("Close");
  await visit.click("Reset");
  await came.first().waitFor();

  await visit.click("Verify");
  await visit.click("Verify now");
  await visit.sees("Whole");
  const head = await visit.page.getByText(/^\d+:[0-9a-f]{64}$/).innerText();
  await visit.fill(/Head noted before/, head.replace(/.{8}$/, "00000000"));
  await visit.click("Verify again");
  await visit.sees("Broken");
  await visit.isAccessible();
  await visit.click("Close");
  const { file, lines } = await visit.downloads("Export");
  expect(file).toBe("tollgate-audit-installation.ndjson");
  expect(JSON.stringify(lines)).toContain(name);
});

test("what the operator does to a tenant stands in both logs", async ({ visit }) => {
  const member = await visit.another();
  const account = await member.account();
  await becomeOperator(visit);
  await visit.go(`/operator/tenants?search=${account.tenant}`);
  await visit.follow(account.tenant);
  await visit.click("Suspend tenant");
  const dialog = visit.page.getByRole("dialog");
  await dialog.getByLabel("Reason").fill("Your invoice is open");
  await dialog.getByRole("button", { name: "Suspend" }).click();
  await visit.sees(`Suspended ${account.tenant}`);

  await visit.go("/operator/audit?noun=tenant&action=tenant.suspend");
  const rows = visit.page.getByRole("row").filter({ hasText: "tenant.suspend" });
  await rows.filter({ hasText: "operator@example.com" }).first().getByRole("button", { name: "UTC" }).click();
  await visit.page.getByRole("dialog").getByText("Your invoice is open").waitFor();

  await member.go("/settings/audit?noun=tenant&action=tenant.suspend");
  const told = member.page.getByRole("row").filter({ hasText: "tenant.suspend" });
  await told.getByText("the operator or a former member").waitFor();
  await told.getByRole("link").click();
  await member.page.getByRole("row").filter({ hasText: "Your invoice is open" }).waitFor();
  await member.isAccessible();
});
