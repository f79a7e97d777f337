import { expect, test, workingApi } from "./console";

test("every filter is a part of the URL", async ({ visit }) => {
  const { api, apiKey } = await workingApi(visit, await visit.account());
  await visit.go("/usage");
  await visit.heading("Usage").waitFor();
  await visit.sees("No calls in this stretch of time");
  await visit.isAccessible();
  const search = () => Object.fromEntries(new URL(visit.page.url()).searchParams);
  await visit.page.getByLabel("API", { exact: true }).selectOption({ label: "Pet store" });
  await visit.page.getByLabel("Stage").selectOption("prod");
  await visit.page.getByLabel("API key").selectOption({ label: "Pet store key" });
  await visit.page.getByLabel("Rows by").selectOption("MINUTE");
  await visit.page.getByLabel("Since").fill("2026-11-01T10:30");
  await expect.poll(search).toEqual({
    api: api.id,
    stage: "prod",
    apiKey: apiKey.id,
    interval: "MINUTE",
    since: "2026-11-01T10:30:00.000Z",
  });
  await visit.page.reload();
  await expect.poll(() => visit.page.getByLabel("Stage").inputValue()).toBe("prod");
  expect(await visit.page.getByLabel("Since").inputValue()).toBe("2026-11-01T10:30");
  await visit.click("Reset");
  await expect.poll(search).toEqual({});
});

test("requests are drawn by hour, and listed in a table beside it", async ({ visit }) => {
  const account = await visit.account();
  const { stage, value } = await workingApi(visit, account);
  const call = (key: string) =>
    fetch(`${stage.pathInvokeUrl}/hello`, { headers: { "x-api-key": key } }).then(({ status }) => status);
  // The node hears of the key within moments.
  await expect.poll(() => call(value)).toBe(200);
  expect(await call("wrong")).toBe(403);

  const filter = { interval: "HOUR", since: new Date(Date.now() - 3_600_000).toISOString() };
  const counted = () =>
    visit.graphql<{ usageSeries: unknown[] }>(
      "query ($filter: UsageFilter!) { usageSeries(filter: $filter) { statusClass } }",
      { filter },
      account.accessToken,
    );
  await expect.poll(async () => (await counted()).usageSeries.length, { timeout: 20_000 }).toBe(2);

  await visit.go("/usage?view=table");
  await visit.page.getByRole("table", { name: /^Requests by hour/ }).waitFor();
  await visit.isAccessible();
  await visit.page.getByRole("navigation", { name: "View" }).getByRole("link", { name: "Chart" }).click();
  await visit.page.getByRole("img", { name: /^Bars of requests by hour: .*2xx/ }).waitFor();
  await visit.page.locator("canvas").waitFor();
  await visit.isAccessible();

  await visit.go("/?range=7d");
  await visit.page.getByRole("img", { name: /^Bars of requests by hour/ }).waitFor();
  await visit.follow("30 days");
  await expect.poll(() => new URL(visit.page.url()).search).toBe("?range=30d");
  await visit.isAccessible();
});
