import { expect, test, url } from "./console";

test("a page that needs a session sends to log-in, and log-in back to it", async ({ visit }) => {
  const account = await visit.account();
  await visit.context.clearCookies();
  await visit.go("/usage?interval=MINUTE");
  await visit.heading("Log in").waitFor();
  await visit.isAccessible();
  await visit.fill("Email", account.email);
  await visit.fill("Password", account.password);
  await visit.click("Log in");
  await visit.heading("Usage").waitFor();
  expect(visit.page.url()).toBe(`${url}/usage?interval=MINUTE`);
});

test("a wrong password is refused without saying which part was wrong", async ({ visit }) => {
  const account = await visit.account();
  await visit.context.clearCookies();
  await visit.go("/log-in");
  await visit.fill("Email", account.email);
  await visit.fill("Password", "not the password at all");
  await visit.click("Log in");
  await visit.page.getByRole("alert").waitFor();
  expect(new URL(visit.page.url()).pathname).toBe("/log-in");
});

test("a reload keeps the session by the cookie alone", async ({ visit }) => {
  await visit.account();
  await visit.go("/apis");
  await visit.heading("APIs").waitFor();
  await visit.page.reload();
  await visit.heading("APIs").waitFor();
  const stored = await visit.page.evaluate(() => [localStorage.length, document.cookie]);
  expect(stored).toEqual([0, ""]);
});

test("log-in never sends to another site", async ({ visit }) => {
  await visit.account();
  await visit.go("/log-in?next=%2F%2Fevil.example");
  await visit.heading("Overview").waitFor();
  expect(visit.page.url()).toBe(`${url}/`);
});
