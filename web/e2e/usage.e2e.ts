import { readFile } from "node:fs/promises";
import { expect, test, type Visit, workingApi } from "./console";

/** For whoever wants to look: the page in both themes, and on a telephone. */
async function shoot(visit: Visit, name: string) {
  const directory = process.env.SCREENSHOTS;
  if (!directory) return;
  const size = visit.page.viewportSize();
  for (const [kind, colorScheme, width] of [
    ["light", "light", 1280],
    ["dark", "dark", 1280],
    ["narrow", "light", 375],
  ] as const) {
    await visit.page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await visit.page.setViewportSize({ width, height: 800 });
    await visit.page.screenshot({ path: `${directory}/${name}-${kind}.png`, fullPage: true });
  }
  if (size) await visit.page.setViewportSize(size);
}

test("every filter is a part of the URL", async ({ visit }) => {
  const { api, apiKey, usagePlan } = await workingApi(visit, await visit.account());
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
  await visit.page.getByLabel("Usage plan").selectOption({ label: "Pet store plan" });
  await visit.page.getByLabel("Status", { exact: true }).selectOption({ label: "4xx" });
  await visit.page.getByLabel("Group by").selectOption({ label: "API key" });
  await visit.page.getByLabel("Compare with").selectOption({ label: "Time before" });
  await visit.fill("Route", "GET /hello");
  await visit.page.getByLabel("Route").press("Enter");
  await expect.poll(search).toMatchObject({
    stage: "prod",
    usagePlan: usagePlan.id,
    status: "4",
    by: "API_KEY",
    compare: "true",
    route: "GET /hello",
  });
  await visit.page.reload();
  await expect.poll(() => visit.page.getByLabel("Group by").inputValue()).toBe("API_KEY");
  expect(await visit.page.getByLabel("Route").inputValue()).toBe("GET /hello");
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

test("usage is told apart, compared with the time before, and taken away", async ({ visit }) => {
  const account = await visit.account();
  const { stage, value } = await workingApi(visit, account);
  const call = (key: string) =>
    fetch(`${stage.pathInvokeUrl}/hello`, { headers: { "x-api-key": key } }).then(({ status }) => status);
  await expect.poll(() => call(value)).toBe(200);
  expect(await call(value)).toBe(200);
  const filter = { since: new Date(Date.now() - 3_600_000).toISOString() };
  const counted = async () => {
    const { usageGroups } = await visit.graphql<{ usageGroups: { nodes: { apiKeyId: string | null }[] } }>(
      "query ($filter: UsageGroupFilter!) { usageGroups(filter: $filter, groupBy: [API_KEY], first: 5) { nodes { apiKeyId requests } } }",
      { filter },
      account.accessToken,
    );
    return usageGroups.nodes.filter(({ apiKeyId }) => apiKeyId).length;
  };
  await expect.poll(counted, { timeout: 10_000 }).toBe(1);

  await visit.go("/usage?by=API_KEY&compare=true");
  await visit.page
    .getByRole("img", { name: /^Bars of requests by hour: .*Pet store key.*; 0 in the time before/ })
    .waitFor();
  await visit.page.locator("canvas").waitFor();
  const groups = visit.page.getByRole("table", { name: "Usage by API key" });
  const row = groups.getByRole("row", { name: /Pet store key/ });
  await row.waitFor();
  expect(await row.getByRole("cell", { name: "new" }).count()).toBe(1);
  await visit.isAccessible();
  await shoot(visit, "usage-explorer");
  // The bars follow the theme while the page is open.
  const draws = (token: string) =>
    visit.page.evaluate((token) => {
      const probe = document.createElement("canvas").getContext("2d");
      const drawn = document.querySelector("canvas");
      if (!probe || !drawn) return false;
      probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(token).trim();
      probe.fillRect(0, 0, 1, 1);
      const pixels = (from: CanvasRenderingContext2D | null, width: number, height: number) =>
        new Uint32Array(from?.getImageData(0, 0, width, height).data.buffer ?? new ArrayBuffer(0));
      const [wanted] = pixels(probe, 1, 1);
      return pixels(drawn.getContext("2d"), drawn.width, drawn.height).some((pixel) => pixel === wanted);
    }, token);
  for (const colorScheme of ["dark", "light"] as const) {
    await visit.page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await expect.poll(() => draws("--line-1"), { message: colorScheme }).toBe(true);
  }
  await visit.page.getByRole("navigation", { name: "View" }).getByRole("link", { name: "Table" }).click();
  await visit.page.getByRole("columnheader", { name: "Pet store key" }).waitFor();
  await visit.page.getByRole("columnheader", { name: "Before" }).first().waitFor();
  await visit.isAccessible();

  const [download] = await Promise.all([visit.page.waitForEvent("download"), visit.click("CSV")]);
  expect(download.suggestedFilename()).toMatch(/^tollgate-usage-.*\.csv$/);
  const [header, ...rows] = (await readFile(await download.path(), "utf8")).trimEnd().split("\r\n");
  expect(header).toBe("start,api_key_id,requests,billed_requests,bytes_in,bytes_out,duration_ms");
  expect(rows.length).toBeGreaterThanOrEqual(1);
  const { file, lines } = await visit.downloads("NDJSON");
  expect(file).toMatch(/\.ndjson$/);
  expect(lines.reduce((all, line) => all + Number(line.requests), 0)).toBeGreaterThanOrEqual(2);
  expect(Object.keys(lines[0] ?? {})).toEqual(header?.split(","));
});

test("keys of one name are told apart, and a time that is not kept is not compared with", async ({
  visit,
}) => {
  const account = await visit.account();
  const { usagePlan } = await workingApi(visit, account);
  const another = { input: { name: "Pet store key", usagePlanIds: [usagePlan.id] } };
  const create =
    "mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { apiKey { apiKeyId } userErrors { message } } }";
  const made = await visit.graphql<{ createApiKey: { apiKey: { apiKeyId: string } } }>(
    create,
    another,
    account.accessToken,
  );
  const { apiKeyId } = made.createApiKey.apiKey;
  const ago = (days: number) =>
    encodeURIComponent(new Date(Date.now() - days * 24 * 3_600_000).toISOString());

  await visit.go(`/usage?interval=MINUTE&compare=true&since=${ago(35.5)}&until=${ago(34.8)}`);
  await visit.sees("The time before is not shown: usage by minute is kept for 35 days");
  await visit.isAccessible();
  const options = visit.page.getByLabel("API key").getByRole("option");
  await expect.poll(() => options.allTextContents()).toContain(`Pet store key (${apiKeyId})`);
  expect(new Set(await options.allTextContents()).size).toBe(3);

  await visit.go(`/usage-plans/${usagePlan.id}`);
  const used = visit.page.getByRole("table", { name: "Usage by key and day" });
  await used
    .getByRole("cell", { name: `Pet store key (${apiKeyId})` })
    .first()
    .waitFor();
});
