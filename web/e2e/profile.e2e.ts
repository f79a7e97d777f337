import { expect, test, unique } from "./console";

const another = "eleven amber harbours at noon";

test("a password is changed, which ends the other sessions", async ({ visit }) => {
  const account = await visit.account();
  const elsewhere = await visit.another();
  await elsewhere.go("/log-in");
  await elsewhere.fill("Email", account.email);
  await elsewhere.fill("Password", account.password);
  await elsewhere.click("Log in");
  await elsewhere.heading("Overview").waitFor();

  await visit.go("/settings/profile");
  await visit.sees(account.email);
  await visit.isAccessible();
  await visit.fill("Present password", "this is not my password");
  await visit.fill("New password", another);
  await visit.click("Change password");
  await visit.sees("this is not your password");
  await visit.isAccessible();
  await visit.fill("Present password", account.password);
  await visit.click("Change password");
  await visit.sees("Password changed. Your other sessions have ended.");

  await elsewhere.page.reload();
  await elsewhere.heading("Log in").waitFor();
  await elsewhere.fill("Email", account.email);
  await elsewhere.fill("Password", another);
  await elsewhere.click("Log in");
  await elsewhere.heading("Overview").waitFor();
});

test("an address is changed, and one that is taken refused", async ({ visit }) => {
  const other = await (await visit.another()).account();
  const account = await visit.account();
  const email = `${unique("grace")}@example.com`;
  await visit.go("/settings/profile");
  await visit.fill("New email", other.email);
  await visit.fill("Password", account.password);
  await visit.click("Change email");
  await visit.page.locator("[aria-invalid]").first().waitFor();
  await visit.fill("New email", email);
  await visit.click("Change email");
  await visit.sees(`Your address is now ${email}`);
  await visit.page.getByRole("definition").getByText(email).waitFor();
});

test("the last owner of an organisation keeps the account", async ({ visit }) => {
  const account = await visit.account();
  await visit.go("/settings/profile");
  await visit.click("Delete account");
  const dialog = visit.page.getByRole("dialog");
  await dialog.getByText("This cannot be undone").waitFor();
  await visit.isAccessible();
  await dialog.getByLabel("Password").fill(account.password);
  await dialog.getByRole("button", { name: "Delete my account" }).click();
  await dialog.getByText(/owner/).waitFor();
});

test("where no mail goes out, a forgotten password is the operator's to reset", async ({ visit }) => {
  await visit.go("/log-in");
  await visit.follow("Forgot your password?");
  await visit.heading("Reset your password").waitFor();
  await visit.isAccessible();
  await visit.fill("Email", "ada@example.com");
  await visit.click("Send the link");
  await visit.page.getByRole("alert").getByText("its operator can make a link").waitFor();
});

test("a link that does not work says so, and leaves the address bar at once", async ({ visit }) => {
  await visit.go("/reset-password?token=nobody-made-this");
  await visit.heading("Set a new password").waitFor();
  await expect.poll(() => visit.page.url()).not.toContain("token");
  await visit.isAccessible();
  await visit.fill("New password", another);
  await visit.click("Set password");
  await visit.page.getByRole("alert").getByText("this link was used").waitFor();
  await visit.go("/verify-email?token=nobody-made-this");
  await expect.poll(() => visit.page.url()).not.toContain("token");
  await visit.isAccessible();
  await visit.click("This address is mine");
  await visit.page.getByRole("alert").waitFor();
  await visit.isAccessible();
});
