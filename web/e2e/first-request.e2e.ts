import { test, workingApi } from "./console";

test("the page waits, and offers both addresses", async ({ visit }) => {
  const { apiKey } = await workingApi(visit, await visit.account());
  await visit.go(`/first-request?apiKey=${encodeURIComponent(apiKey.id)}`);
  await visit.heading("First request").waitFor();
  await visit.sees("Listening. A call shows here within seconds.");
  await visit.sees(/execute-api\.localhost.*\/prod\/hello/);
  await visit.isAccessible();
  await visit.page.getByRole("switch", { name: "Address by path" }).check();
  await visit.sees(/\/_api\/.*\/prod\/hello/);
});
