import { expect, test } from "./console";

test("a client certificate is generated, changed, downloaded and deleted", async ({ visit }) => {
  await visit.account();
  await visit.go("/settings/client-certificates");
  await visit.sees("No client certificates yet");
  await visit.isAccessible();
  await visit.click("Generate");
  const dialog = visit.page.getByRole("dialog");
  await visit.fill(/^Description/, "to pets");
  await visit.fill(/^Tags/, "no tag");
  await dialog.getByRole("button", { name: "Generate certificate" }).click();
  await visit.sees("Enter a key, = and a value on each line");
  await visit.fill(/^Tags/, "team = payments");
  await visit.isAccessible();
  await dialog.getByRole("button", { name: "Generate certificate" }).click();
  await expect.poll(() => dialog.count()).toBe(0);
  await visit.sees("to pets");
  await visit.sees("team = payments");

  const stored = visit.page.waitForEvent("download");
  await visit.page.getByRole("button", { name: /^Download / }).click();
  expect((await stored).suggestedFilename()).toMatch(/^client-certificate-.*\.pem$/);

  await visit.click("Change");
  await visit.fill(/^Description/, "to cats");
  await dialog.getByRole("button", { name: "Save certificate" }).click();
  await expect.poll(() => dialog.count()).toBe(0);
  await visit.sees("to cats");

  await visit.click("Upload");
  await visit.fill("Certificate chain", "no PEM");
  await visit.fill("Private key", "no PEM");
  await dialog.getByRole("button", { name: "Upload certificate" }).click();
  await visit.sees("certificates in PEM");
  await dialog.getByRole("button", { name: "Cancel" }).click();

  const remove = visit.page.getByRole("button", { name: /^Delete / });
  const id = (await remove.getAttribute("aria-label"))?.replace("Delete ", "") ?? "";
  await remove.click();
  await visit.fill(`Type ${id} to confirm`, id);
  await visit.click("Delete client certificate");
  await visit.sees("No client certificates yet");
});
