import { expect } from "vitest";
import { test, workingApi } from "./console";

test("the page waits, and offers both addresses", async ({ visit }) => {
  const account = await visit.account();
  const { api, apiKey } = await workingApi(visit, account);
  await visit.go(`/first-request?apiKey=${encodeURIComponent(apiKey.id)}`);
  await visit.heading("First request").waitFor();
  await visit.sees("Listening. A call shows here within seconds.");
  await visit.sees(/execute-api\.localhost.*\/prod\/hello/);
  await visit.isAccessible();
  await visit.page.getByRole("switch", { name: "Address by path" }).check();
  await visit.sees(/\/_api\/.*\/prod\/hello/);

  // What is not deployed yet may not be what the stage answers.
  const notDeployed = visit.page.getByText(/has changes that this stage does not have yet/);
  expect(await notDeployed.count()).toBe(0);
  const move = "mutation ($input: UpdateApiInput!) { updateApi(input: $input) { userErrors { message } } }";
  const input = { id: api.id, apiKeyLocations: ["$request.header.x-other"] };
  await visit.graphql(move, { input }, account.accessToken);
  await visit.page.reload();
  await notDeployed.waitFor();
  await visit.isAccessible();
});
