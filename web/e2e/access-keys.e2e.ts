import { expect, test } from "./console";

test("an access key's secret is shown once; the key is disabled, enabled and deleted", async ({ visit }) => {
  await visit.account();
  await visit.go("/settings/access-keys");
  await visit.sees("No access keys yet");
  await visit.isAccessible();
  await visit.click("Create access key");
  const dialog = visit.page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Create access key" }).click();
  await visit.sees("Name the key.");
  await visit.fill("Name", "Deploys");
  await dialog.getByRole("button", { name: "Create access key" }).click();
  const secret = await dialog.getByText(/^[A-Za-z0-9+/]{40}$/).innerText();
  await visit.isAccessible();
  await visit.click("I have copied it");
  expect(await visit.page.content()).not.toContain(secret);

  const enabled = visit.page.getByRole("switch", { name: "Deploys enabled" });
  await enabled.uncheck();
  await visit.sees("Deploys is disabled");
  await visit.page.reload();
  await expect.poll(() => enabled.isChecked()).toBe(false);
  await enabled.check();
  await visit.sees("Deploys is enabled");
  await visit.isAccessible();

  await visit.click("Delete Deploys");
  await visit.fill("Type Deploys to confirm", "Deploys");
  await visit.click("Delete access key");
  await visit.sees("No access keys yet");
});
