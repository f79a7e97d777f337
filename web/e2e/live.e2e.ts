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
