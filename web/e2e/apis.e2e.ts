import { expect, test, workingApi } from "./console";

test("an API is created, listed, renamed and deleted by its name", async ({ visit }) => {
  await visit.account();
  await visit.go("/apis");
  await visit.sees("No APIs yet");
  await visit.isAccessible();
  await visit.page.getByRole("link", { name: "Create API" }).first().click();
  await visit.heading("Create an API").waitFor();
  await visit.isAccessible();
  await visit.fill("Name", "Pet store");
  await visit.click("Create API");
  await visit.heading("Pet store").waitFor();
  await visit.sees("No routes yet");

  await visit.page
    .getByRole("navigation", { name: "Pages of this API" })
    .getByRole("link", { name: "Settings" })
    .click();
  await visit.fill("Name", "Pet shop");
  await visit.click("Save");
  await visit.heading("Pet shop").waitFor();
  await visit.isAccessible();

  await visit.page.reload(); // the word that the name was saved is gone
  const slash = visit.page.getByLabel("A slash at a path's end");
  const segments = visit.page.getByLabel("Dot segments and doubled slashes");
  await slash.waitFor();
  expect([await slash.inputValue(), await segments.inputValue()]).toEqual(["", ""]);
  await slash.selectOption("Callers are sent to the path without it");
  await segments.selectOption("They are taken out");
  await visit.click("Save");
  await visit.sees("API saved");
  await visit.page.reload();
  await slash.waitFor();
  expect([await slash.inputValue(), await segments.inputValue()]).toEqual(["REDIRECT", "NORMALIZE"]);

  await visit.click("Delete API");
  const dialog = visit.page.getByRole("dialog");
  const confirm = dialog.getByRole("button", { name: "Delete API" });
  expect(await confirm.isDisabled()).toBe(true);
  await visit.isAccessible();
  await visit.fill("Type Pet shop to confirm", "Pet shop");
  await confirm.click();
  await visit.sees("No APIs yet");
});

test("what tenants write is text, never markup", async ({ visit }) => {
  await workingApi(visit, await visit.account(), "<img src=x onerror=alert(1)>");
  await visit.go("/apis");
  await visit.page.getByRole("link", { name: "<img src=x onerror=alert(1)>" }).waitFor();
  expect(await visit.page.locator("main img").count()).toBe(0);
});
