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
