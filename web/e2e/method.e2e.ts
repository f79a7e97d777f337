import { expect, test, url, workingApi } from "./console";

test("the way of a call is drawn, and each box leads to the part of the form that sets it", async ({
  visit,
}) => {
  const { accessToken } = await visit.account();
  const { api } = await workingApi(visit, { accessToken, email: "", password: "", tenant: "" });
  const { page } = visit;
  const { createRoute } = await visit.graphql<{ createRoute: { route: { id: string } } }>(
    "mutation ($input: CreateRouteInput!) { createRoute(input: $input) { route { id } } }",
    {
      input: {
        apiId: api.id,
        method: "GET",
        path: "/pets/{id}",
        apiKeyRequired: true,
        integration: { type: "HTTP_PROXY", uri: "https://backend.example.com/pets/{id}" },
      },
    },
    accessToken,
  );
  await visit.go(`/apis/${encodeURIComponent(api.id)}/resources`);
  await page.getByRole("link", { name: "GET /pets/{id}" }).click();
  const flow = page.getByRole("list", { name: "The way of a call to GET /pets/{id}" });
  await flow.waitFor();
  expect(await flow.getByRole("heading", { level: 3 }).allTextContents()).toEqual([
    "Client",
    "Method request",
    "Integration request",
    "Backend",
    "Integration response",
    "Method response",
  ]);
  const box = (title: string) =>
    flow.getByRole("listitem").filter({ has: page.getByRole("heading", { name: title }) });
  await box("Integration request").getByText("30 s to the first byte (default)").waitFor();
  await box("Backend").getByText("https://backend.example.com/pets/{id}").waitFor();
  await visit.isAccessible();

  // By the keyboard: what a box leads to opens, and takes the focus.
  await box("Integration request")
    .getByRole("link", { name: /to the first byte/ })
    .focus();
  await page.keyboard.press("Enter");
  const whole = page.getByLabel("Timeout in milliseconds");
  await expect.poll(() => whole.evaluate((field) => field === document.activeElement)).toBe(true);
  expect(page.url()).toMatch(/#timeouts$/);
  await whole.fill("5000");
  await visit.click("Save route");
  await box("Integration request").getByText("5 s in all", { exact: true }).waitFor();
  await visit.sees("Draft differs from live");

  // A box is clicked anywhere; the same again opens what was folded away.
  const answers = page.getByLabel("Answers", { exact: true });
  const summary = page.locator("summary").filter({ hasText: "How answers reach callers" });
  for (const _ of ["once", "again"]) {
    await box("Integration response").click({ position: { x: 4, y: 4 } });
    await answers.waitFor();
    await summary.click();
    await answers.waitFor({ state: "hidden" });
  }
  // And its address is one.
  await page.goto(
    `${url}/apis/${encodeURIComponent(api.id)}/resources/${encodeURIComponent(createRoute.route.id)}#documents`,
  );
  const name = page.getByLabel(/^Operation name/);
  await expect.poll(() => name.evaluate((field) => field === document.activeElement)).toBe(true);

  await visit.click("Delete method");
  await visit.fill("Type GET /pets/{id} to confirm", "GET /pets/{id}");
  await visit.click("Delete route");
  await page.getByRole("link", { name: "GET /pets/{id}" }).waitFor({ state: "detached" });
  await page.getByRole("link", { name: "GET /hello" }).click();
  await page
    .getByRole("list", { name: "The way of a call to GET /hello" })
    .getByText("mock", { exact: true })
    .waitFor();
});

test("on a telephone the diagram stands upright, and nothing sticks out", async ({ visit }) => {
  const account = await visit.account();
  const { api, stage } = await workingApi(visit, account);
  await visit.graphql(
    "mutation ($input: UpdateStageInput!) { updateStage(input: $input) { userErrors { message } } }",
    { input: { id: stage.id, routeThrottles: [{ routeKey: "GET /hello", rateLimit: 10, burstLimit: 20 }] } },
    account.accessToken,
  );
  await visit.go(`/apis/${encodeURIComponent(api.id)}/resources`);
  await visit.page.getByRole("link", { name: "GET /hello" }).click();
  const flow = visit.page.getByRole("list", { name: "The way of a call to GET /hello" });
  await flow.waitFor();
  const tops = () =>
    flow.evaluate((list) => [...list.children].map((box) => Math.round(box.getBoundingClientRect().top)));
  expect(new Set(await tops()).size).toBeLessThan(6);
  await visit.page.setViewportSize({ width: 360, height: 800 });
  await expect.poll(async () => new Set(await tops()).size).toBe(6);
  expect(await tops()).toEqual([...(await tops())].sort((a, b) => a - b));
  expect(await visit.page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
  await flow.getByRole("link", { name: "10/s, burst 20" }).click();
  await visit.page.getByRole("heading", { name: "Stage prod" }).waitFor();
});
