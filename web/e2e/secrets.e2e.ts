import { expect, test } from "./console";

test("a secret is made, changed and deleted, and its value shown to nobody", async ({ visit }) => {
  await visit.account();
  await visit.go("/settings/secrets");
  await visit.sees("No secrets yet");
  await visit.isAccessible();
  await visit.click("Create secret");
  const dialog = visit.page.getByRole("dialog");
  await visit.fill("Name", "functions");
  await visit.fill("Access key id", "AKIDEXAMPLE");
  await dialog.getByRole("button", { name: "Create secret" }).click();
  await visit.sees("must have from 1 to 128 characters, visible ASCII without spaces");
  await visit.fill("Secret access key", "canary-of-a-secret");
  await visit.isAccessible();
  await dialog.getByRole("button", { name: "Create secret" }).click();
  await expect.poll(() => dialog.count()).toBe(0);
  await visit.sees("AWS credentials");

  await visit.click("Change");
  await visit.fill("Name", "renamed");
  await dialog.getByRole("button", { name: "Save secret" }).click();
  await expect.poll(() => dialog.count()).toBe(0);
  await visit.sees("renamed");
  await visit.page.reload();
  await visit.sees("renamed");
  expect(await visit.page.content()).not.toMatch(/canary-of-a-secret|AKIDEXAMPLE/);
  await visit.isAccessible();

  await visit.click("Delete renamed");
  await visit.fill("Type renamed to confirm", "renamed");
  await visit.click("Delete secret");
  await visit.sees("No secrets yet");
});
