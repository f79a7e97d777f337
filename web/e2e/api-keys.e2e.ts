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
  await visit.fill("Extra calls", "some");
  await visit.click("Extend quota");
  await visit.sees("Enter a whole number, or nothing.");
  await visit.fill("Extra calls", "5");
  await visit.click("Extend quota");
  await visit.sees("Quota extended");
  await visit.sees("1,005");
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

test("a key is rotated with an overlap, which is ended early, and is good only where it says", async ({
  visit,
}) => {
  const account = await visit.account();
  const { apiKey } = await workingApi(visit, account);
  await visit.go("/api-keys");
  await visit.follow("Pet store key");
  await visit.click("Rotate");
  await visit.page.getByRole("dialog", { name: "Rotate Pet store key" }).waitFor();
  await visit.isAccessible();
  await visit.page.getByLabel("The present value works").selectOption("one more day");
  await visit.click("Rotate key");
  const shown = visit.page.getByRole("dialog", { name: "New value of Pet store key" });
  const value = await shown.getByText(/^tg_live_\w{38}$/).innerText();
  await visit.click("I have copied it");
  await visit.sees(`tg_live_…${value.slice(-4)}`);
  await visit.sees(/works until/);
  await visit.isAccessible();
  await visit.click("End it now");
  await visit.click("End overlap");
  const rotate = visit.page.getByRole("button", { name: "Rotate" });
  await rotate.waitFor();

  // Over by itself, the value before is kept until it is forgotten.
  const again =
    "mutation ($input: RotateApiKeyInput!) { rotateApiKey(input: $input) { userErrors { message } } }";
  const input = { id: apiKey.id, overlapEndsAt: new Date(Date.now() + 2000).toISOString() };
  await visit.graphql(again, { input }, account.accessToken);
  const forget = visit.page.getByRole("button", { name: "Forget the value before" });
  const kept = async () => {
    await visit.page.reload();
    await rotate.or(visit.page.getByRole("button", { name: "End it now" })).waitFor();
    return forget.count();
  };
  await expect.poll(kept, { timeout: 15_000 }).toBe(1);
  await forget.click();
  await visit.page.getByRole("dialog", { name: "Forget the value before" }).waitFor();
  await visit.isAccessible();
  await visit.click("Forget");
  await forget.waitFor({ state: "detached" });

  await visit.fill(/^Client networks/, "203.0.113.7/24");
  await visit.click("Save key");
  await visit.sees(/write 203\.0\.113\.0\/24/);
  await visit.fill(/^Client networks/, "203.0.113.0/24\n2001:db8::/32");
  await visit.fill(/^Origins/, "https://*.example.com");
  await visit.click("Save key");
  await visit.sees("API key saved");
  await visit.page.reload();
  const networks = visit.page.getByLabel(/^Client networks/);
  await expect.poll(() => networks.inputValue()).toBe("203.0.113.0/24\n2001:db8::/32");
});
