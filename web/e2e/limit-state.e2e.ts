import { expect, test, workingApi } from "./console";

test("a key's page shows what its limits have left, as it is called", async ({ visit }) => {
  const { stage, apiKey, value } = await workingApi(visit, await visit.account());
  const call = () =>
    fetch(`${stage.pathInvokeUrl}/hello`, { headers: { "x-api-key": value } }).then(({ status }) => status);
  await visit.go(`/api-keys/${encodeURIComponent(apiKey.id)}`);
  await visit.page.getByRole("heading", { name: "Limits right now" }).waitFor();
  await visit.sees("No limit is in use");
  await visit.sees(/node answered/);
  await visit.isAccessible();

  await expect.poll(call, { timeout: 15_000 }).toBe(200);
  const row = (name: string) =>
    visit.page.getByRole("table", { name: "Limits right now" }).getByRole("row").filter({ hasText: name });
  await row("quota").getByText("999", { exact: true }).waitFor();
  await row("quota").getByText("1,000 calls in a period of").waitFor();
  await row("The key on its usage plan").getByText("10 a second, 20 at once").waitFor();
  await visit.isAccessible();
  expect(await call()).toBe(200);
  await row("quota").getByText("998", { exact: true }).waitFor();

  // What was shown stays, and is said to be old.
  const graphql = /\/graphql$/;
  await visit.page.route(graphql, (route) => route.abort());
  await visit.sees("Not up to date");
  await row("quota").getByText("998", { exact: true }).waitFor();
  await visit.isAccessible();
  await visit.page.unroute(graphql);
  await visit.click("Try again");
  await visit.page.getByText("Not up to date").waitFor({ state: "detached" });
});
