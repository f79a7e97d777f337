import { expect, test, workingApi } from "./console";

test("a deployment's page shows each node, as it answers", async ({ visit }) => {
  const { api } = await workingApi(visit, await visit.account());
  await visit.go(`/apis/${encodeURIComponent(api.id)}`);
  await visit.click("Deploy");
  await visit.page.getByLabel("Stage").fill("beta");
  await visit.page.getByLabel("Description").fill("Second");
  await visit.page.getByRole("dialog").getByRole("button", { name: "Deploy" }).click();
  await visit.follow("Deployments");
  await visit.page.getByRole("row").filter({ hasText: "Second" }).getByRole("link").click();
  await visit.page.getByRole("heading", { name: /^Deployment / }).waitFor();
  await visit.sees(/^Live on \d+ of \d+ node/);
  await visit.page.getByRole("table", { name: "Nodes" }).getByText("Live", { exact: true }).first().waitFor();
  await visit.sees(/^Live after$/);
  await visit.isAccessible();
});

test("calls are counted on the overview as they come, by the socket or without it", async ({ visit }) => {
  const account = await visit.account();
  const { stage, value } = await workingApi(visit, account);
  const call = () =>
    fetch(`${stage.pathInvokeUrl}/hello`, { headers: { "x-api-key": value } }).then(({ status }) => status);
  await expect.poll(call).toBe(200);
  await visit.go("/");
  const number = (name: string) =>
    visit.page.locator("dl > div").filter({ hasText: name }).locator("dd").innerText().then(Number);
  // The first calls may have come to the node before the key did.
  const served = async () => (await number("Requests")) - (await number("Answered 4xx"));
  await visit.page.getByText("Live", { exact: true }).first().waitFor();
  await expect.poll(served, { timeout: 15_000 }).toBe(1);
  await visit.isAccessible();
  await call();
  await expect.poll(served, { timeout: 15_000 }).toBe(2);

  // A proxy that lets no WebSocket through, and then does.
  let blocks = true;
  await visit.page.routeWebSocket(/graphql/, (socket) => {
    if (blocks) void socket.close({ code: 1011 });
    else socket.connectToServer();
  });
  await visit.page.reload();
  await visit.sees("Not live, asked every 5 s");
  await expect.poll(served, { timeout: 15_000 }).toBe(2);
  await visit.isAccessible();
  blocks = false;
  await visit.page.getByText("Not live, asked every 5 s").waitFor({ state: "detached" });
  await call();
  await expect.poll(served, { timeout: 15_000 }).toBe(3);
});

test("a request that a throttle in shadow would have refused is marked", async ({ visit }) => {
  const { api, stage, value } = await workingApi(visit, await visit.account());
  const path = `/apis/${encodeURIComponent(api.id)}`;
  await visit.go(`${path}/stages/${encodeURIComponent(stage.id)}`);
  await visit.page.getByLabel("Requests a second").fill("0.001");
  await visit.page.getByLabel("Burst").fill("1");
  await visit.page.getByLabel("Beyond the throttle").selectOption("Calls pass and are reported");
  await visit.click("Save settings");
  await visit.sees("Stage saved");

  await visit.follow("Requests");
  await visit.sees("Waiting for a request");
  const marked = visit.page.getByRole("row").filter({ hasText: "Would be throttled: stage" });
  const callUntilMarked = async () => {
    await fetch(`${stage.pathInvokeUrl}/hello`, { headers: { "x-api-key": value } });
    return marked.getByText("200", { exact: true }).count();
  };
  await expect.poll(callUntilMarked, { timeout: 15_000 }).toBeGreaterThan(0);
  await visit.isAccessible();
});

test("requests are shown as they end, by their stage and status, and counted where the socket is down", async ({
  visit,
}) => {
  const { api, stage, value } = await workingApi(visit, await visit.account());
  const call = (key: string) =>
    fetch(`${stage.pathInvokeUrl}/hello`, { headers: { "x-api-key": key } }).then(({ status }) => status);
  await expect.poll(() => call(value), { timeout: 15_000 }).toBe(200);

  await visit.go(`/apis/${encodeURIComponent(api.id)}`);
  await visit.page.getByRole("navigation", { name: "Pages of this API" }).getByText("Requests").click();
  await visit.sees("Waiting for a request");
  await visit.page.getByRole("main").getByText("Live", { exact: true }).last().waitFor();
  await visit.isAccessible();
  const rows = visit.page.getByRole("table", { name: "Requests" }).getByRole("row");
  // Exactly: a request id may hold the digits of a status too.
  const ended = (status: string) => rows.filter({ has: visit.page.getByText(status, { exact: true }) });
  // A socket does not tell when it has subscribed: who calls right after is not always seen.
  const callUntilShown = (key: string, status: string) =>
    expect
      .poll(
        async () => {
          await call(key);
          return ended(status).filter({ hasText: "GET /hello" }).count();
        },
        { timeout: 15_000 },
      )
      .toBeGreaterThan(0);
  await callUntilShown(value, "200");
  await ended("200").getByText("Pet store key").first().waitFor();
  await callUntilShown("nobody's", "403");
  await visit.isAccessible();

  await visit.page.getByLabel("Status").selectOption("4xx");
  await visit.sees("Waiting for a request");
  await visit.page.getByRole("main").getByText("Live", { exact: true }).last().waitFor();
  await call(value);
  await callUntilShown("nobody's", "403");
  expect(await ended("200").count()).toBe(0);
  await visit.click("Pause");
  await visit.sees("Paused");
  await visit.click("Clear");
  await visit.sees("Nothing was seen");

  await visit.page.routeWebSocket(/graphql/, (socket) => void socket.close({ code: 1011 }));
  await visit.page.reload();
  await visit.sees("Not live, asked every 5 s");
  const counted = visit.page.getByRole("table", { name: "Calls by the minute" });
  await counted.getByRole("row").filter({ hasText: "4xx" }).first().waitFor();
  await visit.isAccessible();
});
