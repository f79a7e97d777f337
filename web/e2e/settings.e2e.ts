import { test } from "./console";

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
  const row = visit.page
    .getByRole("row")
    .filter({ hasText: account.email })
    .filter({ hasText: /api/i })
    .first();
  await row.getByText("Show").click();
  await row.getByText(/Audited/).waitFor();
  await visit.isAccessible();
});
