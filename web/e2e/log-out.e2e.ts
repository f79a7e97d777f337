import { test } from "./console";

test("logging out ends the session here and in other tabs", async ({ visit }) => {
  await visit.account();
  await visit.go("/");
  await visit.heading("Overview").waitFor();
  const other = await visit.context.newPage();
  await other.goto(visit.page.url());
  await other.getByRole("heading", { level: 1, name: "Overview" }).waitFor();

  await visit.follow("Log out");
  await visit.heading("You are logged out").waitFor();
  await visit.isAccessible();
  await other.getByRole("heading", { level: 1, name: "Log in" }).waitFor();

  await visit.go("/apis");
  await visit.heading("Log in").waitFor();
});
