import { expect, test, workingApi } from "./console";

test("a key's value is shown once, and never again", async ({ visit }) => {
  await workingApi(visit, await visit.account());
  await visit.go("/api-keys");
  await visit.page.getByRole("link", { name: "Create API key" }).click();
  await visit.heading("Create an API key").waitFor();
  await visit.fill("Name", "Mobile app");
  await visit.click("Create API key");
  await visit.sees("Choose a plan: a key without one opens nothing.");
  await visit.isAccessible();
  await visit.page.getByLabel(/Pet store plan/).check();
  await visit.click("Create API key");
  await visit.heading("First request").waitFor();
  const line = await visit.page.getByText(/^curl /).innerText();
  expect(line).toMatch(/x-api-key: tg_live_\w{38}'/);
  expect(visit.page.url()).not.toContain("tg_live_");

  await visit.page.reload();
  await visit.sees(/x-api-key: YOUR_API_KEY/);
  expect(await visit.page.content()).not.toContain(/tg_live_\w{38}/.exec(line)?.[0]);
});

test("a key is disabled, enabled and deleted by its name", async ({ visit }) => {
  await workingApi(visit, await visit.account());
  await visit.go("/api-keys");
  await visit.page.getByRole("link", { name: "Pet store key" }).waitFor();
  await visit.isAccessible();
  const enabled = visit.page.getByRole("switch", { name: "Pet store key enabled" });
  await enabled.uncheck();
  await visit.sees("Pet store key is disabled");
  await visit.page.reload();
  await expect.poll(() => enabled.isChecked()).toBe(false);

  await visit.follow("Pet store key");
  await visit.sees("Disabled");
  await visit.isAccessible();
  await enabled.check();
  await visit.sees("Pet store key is enabled");
  await visit.page.getByLabel(/Pet store plan/).uncheck();
  await visit.click("Save key");
  await visit.sees("Nothing: it is on no usage plan.");
  await visit.click("Delete");
  await visit.fill("Type Pet store key to confirm", "Pet store key");
  await visit.click("Delete API key");
  await visit.sees("No API keys yet");
  await visit.isAccessible();
});
