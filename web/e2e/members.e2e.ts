import { expect, password, test, unique, type Visit, workingApi } from "./console";

/** Invites by the form; gives the path of the link, since no mail goes out here. */
async function invite(visit: Visit, email: string, role: string): Promise<string> {
  await visit.go("/settings/members");
  await visit.click("Invite a member");
  const dialog = visit.page.getByRole("dialog");
  await dialog.getByLabel("Email").fill(email);
  await dialog.getByLabel("Role").selectOption({ label: role });
  await dialog.getByRole("button", { name: "Invite" }).click();
  const link = await visit.page.getByText(/\/invitation\?token=/).innerText();
  await visit.isAccessible();
  await visit.click("I have copied it");
  const { pathname, search } = new URL(link);
  return pathname + search;
}

test("who is invited joins with the role given, and sees only what it may do", async ({ visit }) => {
  const account = await visit.account();
  const { api } = await workingApi(visit, account);
  const email = `${unique("grace")}@example.com`;
  const link = await invite(visit, email, "Developer");
  await visit.page.getByRole("cell", { name: email, exact: true }).waitFor();
  await visit.isAccessible();

  const grace = await visit.another();
  await grace.go(link);
  await grace.heading(`Join ${account.tenant}`).waitFor();
  await expect.poll(() => grace.page.url()).not.toContain("token");
  await grace.isAccessible();
  await grace.fill("Password", "short");
  await grace.click("Create account and join");
  await grace.sees(/at least 15 characters/);
  await grace.fill("Password", password);
  await grace.click("Create account and join");
  await grace.heading("Overview").waitFor();
  const navigation = grace.page.getByRole("navigation", { name: "Main" });
  await navigation.getByRole("link", { name: "Settings" }).waitFor();
  expect(await navigation.getByRole("link", { name: "Billing" }).count()).toBe(0);
  await grace.go("/billing");
  await grace.sees("You may not see this");
  await grace.go("/settings/members");
  await grace.page.getByRole("cell", { name: account.email }).waitFor();
  expect(await grace.page.getByLabel(`Role of ${account.email}`).count()).toBe(0);
  expect(await grace.page.getByText("Invitations").count()).toBe(0);

  await visit.page.reload();
  await visit.page.getByLabel(`Role of ${email}`).selectOption("VIEWER");
  await visit.sees(`${email} is now viewer`);
  await grace.go("/apis/new");
  await grace.sees(/^You may look, not change/);
  await grace.isAccessible();
  await grace.go(`/apis/${encodeURIComponent(api.id)}`);
  await grace.heading("Pet store").waitFor();
  for (const name of ["Deploy", "Add route", /^Edit/, /^Delete/])
    expect(await grace.page.getByRole("button", { name }).count()).toBe(0);

  await visit.click(`Remove ${email}`);
  await visit.fill(`Type ${email} to confirm`, email);
  await visit.click("Remove member");
  await visit.page.getByRole("cell", { name: email, exact: true }).waitFor({ state: "detached" });
  await grace.go("/settings/members");
  await grace.heading("Log in").waitFor();
});

test("who has an account joins with it, and moves to the organisation", async ({ visit }) => {
  const account = await visit.account();
  const other = await visit.another();
  const { email } = await other.account();
  const link = await invite(visit, email, "Viewer");
  await other.go(link);
  await other.click(`Join as ${email}`);
  await other.sees(`You joined ${account.tenant}`);
  await other.page.getByRole("banner").getByText(account.tenant).waitFor();
});

test("a revoked invitation opens nothing, and the last owner stays", async ({ visit }) => {
  const { email } = await visit.account();
  const guest = `${unique("guest")}@example.com`;
  const link = await invite(visit, guest, "Billing");
  await visit.click(`Revoke the invitation of ${guest}`);
  await visit.sees("Nobody is invited");
  const other = await visit.another();
  await other.go(link);
  await other.sees(/was accepted or revoked, or has expired/);
  await visit.click("Leave");
  await visit.fill(`Type ${email} to confirm`, email);
  await visit.click("Leave organisation");
  await visit.sees(/last owner/);
});
