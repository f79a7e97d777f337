import { expect, test, url } from "./console";

test("an error's logUrl leads to its request, and that to what the request changed", async ({ visit }) => {
  const account = await visit.account();
  const bearer = { authorization: `Bearer ${account.accessToken}` };
  const call = visit.context.request;
  const refused = await call.get(`${url}/v1/apis/abc123xyz0`, {
    headers: { ...bearer, "x-request-id": "deploy-42" },
  });
  const problem = (await refused.json()) as { logUrl: string; requestId: string };
  const made = await call.post(`${url}/v1/usage-plans`, { headers: bearer, data: { name: "gold" } });
  expect(made.status()).toBe(201);
  const madeId = made.headers()["x-request-id"] ?? "";
  const main = visit.page.getByRole("main");

  // At once: the page waits for what is not written yet.
  await visit.go(new URL(problem.logUrl).pathname);
  await main.getByText("GET /v1/apis/{apiId}").first().waitFor();
  await main.getByText("deploy-42").waitFor();
  await main.getByText(account.email).waitFor();
  await visit.isAccessible();
  expect(await main.getByRole("link", { name: "not_found" }).getAttribute("href")).toBe(
    "/docs/errors/not_found",
  );
  await visit.follow("What it changed");
  await visit.sees("No such change");
  expect(await visit.page.getByLabel("Request id", { exact: true }).inputValue()).toBe(problem.requestId);

  await visit.go(`/settings/requests/${madeId}`);
  await visit.follow("What it changed");
  await visit.page.getByRole("cell", { name: "usage_plan.create" }).waitFor();
  await visit.page.getByRole("row").filter({ hasText: account.email }).getByRole("link").click();
  await visit.follow("Its request");
  await main.getByText("POST /v1/usage-plans").first().waitFor();
});

test("the request log is searched by either id, by who, by status and by outcome", async ({ visit }) => {
  const account = await visit.account();
  const bearer = { authorization: `Bearer ${account.accessToken}` };
  const call = visit.context.request;
  for (const own of ["first", "second"]) {
    await call.get(`${url}/v1/apis/abc123xyz0`, { headers: { ...bearer, "x-request-id": own } });
  }
  await call.get(`${url}/v1/apis`, { headers: bearer });
  await visit.go("/settings");
  await visit.follow("Request log");
  const table = visit.page.getByRole("table", { name: "Request log" });
  await table.getByText("viewer").first().waitFor();
  await visit.isAccessible();

  const rows = table.locator("tbody tr");
  await visit.fill("Request id", "second");
  await visit.page.keyboard.press("Enter");
  await expect.poll(() => rows.count()).toBe(1);
  await rows.getByText("not_found").waitFor();
  await visit.fill("Request id", "");
  await visit.page.keyboard.press("Enter");
  await visit.page.getByLabel("Status").selectOption("404");
  await expect.poll(() => rows.count()).toBe(2);
  await visit.page.getByLabel("Who").selectOption({ label: account.email });
  await visit.page.getByLabel("Outcome").selectOption("true");
  await expect
    .poll(() => Object.keys(Object.fromEntries(new URL(visit.page.url()).searchParams)).sort())
    .toEqual(["actor", "failed", "status"]);
  await expect.poll(() => rows.count()).toBe(2);
  await visit.page.getByLabel("Outcome").selectOption("false");
  await visit.sees("No such request");
  await visit.isAccessible();
  await visit.click("Reset");
  await rows.getByRole("link").first().click();
  await visit.page.getByRole("link", { name: "What it changed" }).waitFor();
});

test("a request that is not there says why, and the palette finds one by its id", async ({ visit }) => {
  const account = await visit.account();
  await visit.go("/settings/requests/nowhere");
  await visit.sees("This request is not in the log");
  await visit.isAccessible();
  await visit.click("Look again");
  await visit.sees("This request is not in the log");

  const answer = await visit.context.request.get(`${url}/v1/apis`, {
    headers: { authorization: `Bearer ${account.accessToken}` },
  });
  const id = answer.headers()["x-request-id"] ?? "";
  await visit.page.keyboard.press("Control+k");
  await visit.page.getByRole("combobox", { name: /request id/ }).fill(id);
  await visit.page.getByRole("option", { name: id }).waitFor();
  await visit.page.keyboard.press("Enter");
  await visit.page.getByRole("main").getByText("GET /v1/apis").first().waitFor();
});
