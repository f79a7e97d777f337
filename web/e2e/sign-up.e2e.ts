import { expect, password, test, unique } from "./console";

test("signing up leads to the overview with the first steps", async ({ visit }) => {
  await visit.go("/sign-up");
  await visit.heading("Create your account").waitFor();
  await visit.isAccessible();
  const tenant = unique("Acme");
  await visit.fill("Organisation", tenant);
  await visit.fill("Email", `${unique("ada")}@example.com`);
  await visit.fill("Password", password);
  await visit.click("Sign up");
  await visit.heading("Overview").waitFor();
  await visit.sees(tenant);
  await visit.page.getByRole("link", { name: "Create an API" }).waitFor();
});

test("what is wrong is said at its field", async ({ visit }) => {
  await visit.go("/sign-up");
  await visit.fill("Email", "nobody");
  await visit.fill("Password", "short");
  await visit.click("Sign up");
  await visit.sees("Name your organisation.");
  await visit.sees("This is not an email address.");
  const field = visit.page.getByLabel("Password");
  expect(await field.getAttribute("aria-invalid")).toBe("true");
  expect(
    await field.evaluate(
      (input) =>
        document.getElementById(input.getAttribute("aria-describedby")?.split(" ")[1] ?? "")?.textContent,
    ),
  ).toContain("15 characters");
  await visit.isAccessible();
});

test("an email that is taken is refused in words", async ({ visit }) => {
  const { email } = await visit.account();
  await visit.context.clearCookies();
  await visit.go("/sign-up");
  await visit.fill("Organisation", "Again");
  await visit.fill("Email", email);
  await visit.fill("Password", password);
  await visit.click("Sign up");
  await visit.sees(/exists|taken|in use/);
});
