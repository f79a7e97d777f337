import { afterAll, beforeAll } from "vitest";
import { expect, password, test, unique, type Visit } from "../console";
import { Mailbox } from "./mailbox";

const mailbox = new Mailbox();
beforeAll(async () => {
  const port = Number(process.env.TOLLGATE_MAIL_PORT);
  if (!port) throw new Error("TOLLGATE_MAIL_PORT must be set to run the tests of letters");
  await mailbox.listen(port);
});
afterAll(() => mailbox.close());

/** Signs up through the page and the letter; ends on the overview. */
async function signUp(visit: Visit): Promise<string> {
  const email = `${unique("ada")}@example.com`;
  await visit.go("/sign-up");
  await visit.fill("Organisation", unique("acme"));
  await visit.fill("Email", email);
  await visit.fill("Password", password);
  await visit.click("Sign up");
  await visit.heading("Look into your mail").waitFor();
  await visit.isAccessible();
  await visit.go(await mailbox.link(email, "/verify-email"));
  await visit.click("This address is mine");
  await visit.heading("Overview").waitFor();
  return email;
}

test("an account begins when the link in the letter is opened", async ({ visit }) => {
  const email = await signUp(visit);
  await visit.go("/settings/profile");
  await visit.sees(email);
  await visit.page.getByText("Verified", { exact: true }).waitFor();
  await visit.isAccessible();
  // The link works once.
  const stranger = await visit.another();
  await stranger.go(await mailbox.link(email, "/verify-email"));
  await stranger.click("This address is mine");
  await stranger.page.getByRole("alert").waitFor();
});

test("a forgotten password is set anew by a link", async ({ visit }) => {
  const email = await signUp(await visit.another());
  const another = "eleven amber harbours at noon";
  await visit.go("/reset-password");
  await visit.fill("Email", email);
  await visit.click("Send the link");
  await visit.heading("Look into your mail").waitFor();
  await visit.isAccessible();
  await visit.go(await mailbox.link(email, "/reset-password"));
  await visit.fill("New password", another);
  await visit.click("Set password");
  await visit.heading("Your password is set").waitFor();
  await visit.isAccessible();
  await visit.follow("Log in");
  await visit.fill("Email", email);
  await visit.fill("Password", another);
  await visit.click("Log in");
  await visit.heading("Overview").waitFor();
});

test("a new address is one's own when its link is opened", async ({ visit }) => {
  const before = await signUp(visit);
  const email = `${unique("grace")}@example.com`;
  await visit.go("/settings/profile");
  await visit.fill("New email", email);
  await visit.fill("Password", password);
  await visit.click("Change email");
  await visit.sees(/It is your address once you open the link/);
  await visit.page.getByRole("definition").getByText(before).waitFor();
  await visit.go(await mailbox.link(email, "/verify-email"));
  await visit.click("This address is mine");
  await visit.heading("Your address is verified").waitFor();
  await visit.isAccessible();
  await visit.go("/settings/profile");
  await visit.page.getByRole("definition").getByText(email).waitFor();
  expect(await visit.page.getByText(before).count()).toBe(0);
});
