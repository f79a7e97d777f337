import { expect, test, workingApi } from "./console";

test("one click makes a sample API and leads to its first request", async ({ visit }) => {
  await visit.account();
  await visit.go("/");
  await visit.heading("Overview").waitFor();
  await visit.isAccessible();
  await visit.click("Create a sample API");
  await visit.heading("First request").waitFor();
  await visit.sees(/curl -i -H 'x-api-key: tg_live_/);
});

test("the checklist shows which step is next", async ({ visit }) => {
  const account = await visit.account();
  await workingApi(visit, account);
  await visit.go("/");
  await visit.page.getByRole("link", { name: /Issue an API key \(done\)/ }).waitFor();
  await visit.isAccessible();
});

test("any page is reached by keyboard alone", async ({ visit }) => {
  await visit.account();
  await visit.go("/");
  await visit.heading("Overview").waitFor();
  await visit.page.keyboard.press("Control+k");
  const box = visit.page.getByRole("combobox");
  await box.waitFor();
  await visit.isAccessible();
  await visit.page.keyboard.type("usage plan");
  await visit.page.keyboard.press("ArrowDown");
  await visit.page.keyboard.press("Enter");
  await visit.heading("Create a usage plan").waitFor();
});

test("the first stop of the tab key skips the navigation", async ({ visit }) => {
  await visit.account();
  await visit.go("/");
  await visit.heading("Overview").waitFor();
  await visit.page.keyboard.press("Tab");
  expect(await visit.page.evaluate(() => document.activeElement?.textContent)).toBe("Skip to the page");
});
