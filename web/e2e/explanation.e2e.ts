import { expect, test, workingApi } from "./console";

test("who was limited learns by the request id which limit it was, and what it had left", async ({
  visit,
}) => {
  const account = await visit.account();
  const { api, stage, value } = await workingApi(visit, account);
  // No token comes back within the test.
  const input = { id: stage.id, throttle: { rateLimit: 0.001, burstLimit: 1 } };
  await visit.graphql(
    "mutation ($input: UpdateStageInput!) { updateStage(input: $input) { userErrors { message } } }",
    { input },
    account.accessToken,
  );
  const call = () =>
    fetch(`${stage.pathInvokeUrl}/hello?secret=planted`, { headers: { "x-api-key": value } });
  const status = async () => (await call()).status;
  await expect.poll(status, { timeout: 15_000 }).toBe(429);
  const refused = await call();
  const id = refused.headers.get("x-request-id") ?? "";

  await visit.go(`/apis/${encodeURIComponent(api.id)}/requests`);
  await visit.follow("Why was it limited?");
  await visit.heading("Why was it limited?").waitFor();
  await visit.sees("No request is chosen");
  await visit.isAccessible();
  await visit.fill("Request id", id);
  await visit.page.keyboard.press("Enter");
  await visit.sees("Refused by stage");
  await visit.sees("0.001 a second, 1 at once");
  await visit.sees("All calls of the stage together");
  const wait = Number(refused.headers.get("retry-after"));
  await visit.sees(`after ${wait.toLocaleString("en-GB")} s`);
  const main = visit.page.getByRole("main");
  await main.getByRole("link", { name: "Pet store key" }).waitFor();
  const row = visit.page.getByRole("table", { name: "Limits" }).getByRole("row").filter({ hasText: "stage" });
  await row.getByText("Refused it").waitFor();
  expect(await main.getByText("planted").count()).toBe(0);
  expect(new URL(visit.page.url()).searchParams.get("request")).toBe(id);
  await visit.isAccessible();

  // What is nobody's, or another's, says why it may be gone.
  const other = await visit.another();
  await other.account();
  await other.go(`/explanation?request=${id}`);
  await other.sees("No node knows this request");
  await other.sees(/They remember what ended since/);
  await other.isAccessible();
  await other.fill("Request id", "no-id");
  await other.page.keyboard.press("Enter");
  await other.sees(/must be the x-request-id of an answer/);
});

test("a watched request that was limited leads to why", async ({ visit }) => {
  const account = await visit.account();
  const { api, stage, value } = await workingApi(visit, account);
  const input = { id: stage.id, throttle: { rateLimit: 0.001, burstLimit: 1 } };
  await visit.graphql(
    "mutation ($input: UpdateStageInput!) { updateStage(input: $input) { userErrors { message } } }",
    { input },
    account.accessToken,
  );
  await visit.go(`/apis/${encodeURIComponent(api.id)}/requests`);
  await visit.sees("Waiting for a request");
  const by = visit.page.getByRole("link", { name: "by stage" });
  const callUntilShown = async () => {
    await fetch(`${stage.pathInvokeUrl}/hello`, { headers: { "x-api-key": value } });
    return by.count();
  };
  await expect.poll(callUntilShown, { timeout: 15_000 }).toBeGreaterThan(0);
  await by.first().click();
  await visit.sees("Refused by stage");
});
