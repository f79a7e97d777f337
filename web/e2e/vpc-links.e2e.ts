import { expect, test } from "./console";

test("a VPC link is made, changed and deleted", async ({ visit }) => {
  await visit.account();
  await visit.go("/settings/vpc-links");
  await visit.sees("No VPC links yet");
  await visit.isAccessible();
  await visit.click("Create VPC link");
  const dialog = visit.page.getByRole("dialog");
  await visit.fill("Name", "pets");
  await visit.fill("Targets", "pets.example.com");
  await dialog.getByRole("button", { name: "Create VPC link" }).click();
  await visit.sees("Enter a host and a port on each line");
  await visit.fill("Targets", "one.example.com:8080\ntwo.example.com:8080 3");
  await visit.fill(/^Path of health checks/, "/up");
  await visit.isAccessible();
  await dialog.getByRole("button", { name: "Create VPC link" }).click();
  await expect.poll(() => dialog.count()).toBe(0);
  await visit.sees("one.example.com:8080, two.example.com:8080");

  await visit.click("Change");
  expect(await dialog.getByLabel("Path of health checks").inputValue()).toBe("/up");
  await visit.fill("Name", "renamed");
  await dialog.getByRole("button", { name: "Save VPC link" }).click();
  await expect.poll(() => dialog.count()).toBe(0);
  await visit.sees("renamed");

  await visit.click("Delete renamed");
  await visit.fill("Type renamed to confirm", "renamed");
  await visit.click("Delete VPC link");
  await visit.sees("No VPC links yet");
});
