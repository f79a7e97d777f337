import { expect, test, workingApi } from "./console";

test("a route is added, edited and deleted, and the badge tells the draft from what is live", async ({
  visit,
}) => {
  const { api } = await workingApi(visit, await visit.account());
  await visit.go(`/apis/${encodeURIComponent(api.id)}`);
  await visit.heading("Pet store").waitFor();
  await visit.page.getByText("Live", { exact: true }).waitFor();
  await visit.isAccessible();

  await visit.click("Add route");
  await visit.page.getByRole("dialog").waitFor();
  await visit.isAccessible();
  await visit.page.getByLabel("Method").selectOption("POST");
  await visit.fill("Path", "/pets");
  await visit.fill("Backend URL", "ftp://nowhere");
  await visit.page.getByRole("dialog").getByRole("button", { name: "Add route" }).click();
  await visit.sees(/starting with http/);
  await visit.fill("Backend URL", "https://backend.example.com/pets");
  await visit.page.getByLabel("Protocol version").selectOption("HTTP2");
  await visit.page.getByRole("dialog").getByRole("button", { name: "Add route" }).click();
  await visit.page.getByRole("button", { name: "Edit POST /pets" }).waitFor();
  await visit.sees("Draft differs from live");

  await visit.click("Edit POST /pets");
  expect(await visit.page.getByLabel("Protocol version").inputValue()).toBe("HTTP2");
  await visit.page.getByLabel("Answered by").selectOption("MOCK");
  await visit.page.getByLabel("Status", { exact: true }).fill("201");
  await visit.page.getByRole("switch", { name: "API key required" }).uncheck();
  await visit.click("Save route");
  await visit.sees("Fixed answer, status 201");
  await visit.sees("Open");

  await visit.click("Delete POST /pets");
  await visit.fill("Type POST /pets to confirm", "POST /pets");
  await visit.click("Delete route");
  await visit.page.getByRole("button", { name: "Edit POST /pets" }).waitFor({ state: "detached" });
});

test("a route that there is already is refused in the form, which keeps what was typed", async ({
  visit,
}) => {
  const { api } = await workingApi(visit, await visit.account());
  await visit.go(`/apis/${encodeURIComponent(api.id)}`);
  await visit.click("Add route");
  await visit.fill("Path", "/hello");
  await visit.fill("Backend URL", "https://backend.example.com/");
  const dialog = visit.page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Add route" }).click();
  await dialog.getByText(/already/).waitFor();
  expect(await dialog.getByLabel("Backend URL").inputValue()).toBe("https://backend.example.com/");
});

test("deploying makes a stage, and its deployment shows what the nodes acknowledged", async ({ visit }) => {
  const { api } = await workingApi(visit, await visit.account());
  await visit.go(`/apis/${encodeURIComponent(api.id)}`);
  await visit.click("Deploy");
  await visit.page.getByRole("dialog").waitFor();
  await visit.isAccessible();
  await visit.page.getByLabel("Stage").fill("beta");
  await visit.page.getByLabel("Description").fill("Second");
  await visit.page.getByRole("dialog").getByRole("button", { name: "Deploy" }).click();
  await visit.sees("Deployed to beta");

  await visit.follow("Deployments");
  const row = visit.page.getByRole("row").filter({ hasText: "Second" });
  await row.getByText(/^Live on \d+ of \d+ node/).waitFor();
  await visit.isAccessible();

  await visit.follow("Stages");
  await visit.page.getByRole("link", { name: "beta" }).waitFor();
  await visit.isAccessible();
});

test("a stage's settings are kept, and it can be rolled back", async ({ visit }) => {
  const { api, stage } = await workingApi(visit, await visit.account());
  const path = `/apis/${encodeURIComponent(api.id)}/stages/${encodeURIComponent(stage.id)}`;
  await visit.go(path);
  await visit.page.getByRole("heading", { name: "Stage prod" }).waitFor();
  await visit.isAccessible();
  await visit.page.getByLabel("Requests a second").fill("50");
  await visit.click("Save settings");
  await visit.sees("Enter a whole number, at least 1.");
  await visit.page.getByLabel("Burst").fill("100");
  await visit.page.getByLabel("Beyond the throttle").selectOption("Calls pass and are reported");
  await visit.click("Add throttle of a route");
  await visit.fill("Route of throttle 1", "GET /hello");
  await visit.fill("Requests a second of throttle 1", "5");
  await visit.fill("Burst of throttle 1", "9");
  expect(await visit.page.getByLabel("Beyond throttle 1").inputValue()).toBe("HARD");
  await visit.page.getByLabel("Beyond throttle 1").selectOption("Calls pass and are reported");
  await visit.page.getByLabel("Counted of throttle 1").selectOption("Call by call, over all nodes");
  await visit.page.getByLabel("While Redis is away of throttle 1").selectOption("Calls are refused");
  await visit.page.getByLabel("Requests in progress").first().fill("8");
  await visit.click("Add limit of a route");
  await visit.fill("Route of limit 1", "GET /hello");
  await visit.fill("Requests in progress of limit 1", "2");
  await visit.page.getByLabel("Beyond limit 1").selectOption("Calls pass and are reported");
  await visit.click("Add variable");
  await visit.fill("Name of variable 1", "colour");
  await visit.fill("Value of variable 1", "blue");
  await visit.click("Save settings");
  await visit.sees("Stage saved");
  await visit.page.reload();
  await expect.poll(() => visit.page.getByLabel("Requests a second").first().inputValue()).toBe("50");
  expect(await visit.page.getByLabel("Beyond the throttle").inputValue()).toBe("SHADOW");
  expect(await visit.page.getByLabel("Beyond throttle 1").inputValue()).toBe("SHADOW");
  expect(await visit.page.getByLabel("Counted of throttle 1").inputValue()).toBe("EXACT");
  expect(await visit.page.getByLabel("While Redis is away of throttle 1").inputValue()).toBe("FAIL_CLOSED");
  expect(await visit.page.getByLabel("Requests in progress").first().inputValue()).toBe("8");
  expect(await visit.page.getByLabel("Beyond those in progress").inputValue()).toBe("HARD");
  expect(await visit.page.getByLabel("Requests in progress of limit 1").inputValue()).toBe("2");
  expect(await visit.page.getByLabel("Beyond limit 1").inputValue()).toBe("SHADOW");
  expect(await visit.page.getByLabel("Value of variable 1").inputValue()).toBe("blue");
  await visit.isAccessible();
});

test("a part of a stage's calls goes to a canary until that is promoted or ended", async ({ visit }) => {
  const { api, stage } = await workingApi(visit, await visit.account());
  await visit.go(`/apis/${encodeURIComponent(api.id)}/stages/${encodeURIComponent(stage.id)}`);
  await visit.page.getByRole("heading", { name: "Stage prod" }).waitFor();
  await visit.page.getByLabel("Canary deployment").selectOption({ index: 1 });
  await visit.fill("Percent of calls", "101");
  await visit.click("Begin canary");
  await visit.sees("Enter a percentage from 0 to 100.");
  await visit.fill("Percent of calls", "12.5");
  await visit.page.getByLabel("Callers stay by").selectOption("A header");
  await visit.fill("Header callers stay by", "x user");
  await visit.click("Begin canary");
  await visit.sees(/must be a header's name/);
  await visit.fill("Header callers stay by", "X-User");
  await visit.click("Add canary's variable");
  await visit.fill("Name of canary's variable 1", "colour");
  await visit.fill("Value of canary's variable 1", "green");
  await visit.click("Begin canary");
  await visit.sees("12.5 % of calls");
  expect(await visit.page.getByLabel("Header callers stay by").inputValue()).toBe("x-user");
  await visit.isAccessible();

  await visit.click("Promote canary");
  await visit.page.getByText("12.5 % of calls").waitFor({ state: "detached" });
  expect(await visit.page.getByLabel("Value of variable 1").inputValue()).toBe("green");
  await visit.page.getByLabel("Canary deployment").selectOption({ index: 1 });
  await visit.click("Begin canary");
  await visit.sees("10 % of calls");
  await visit.click("End canary");
  await visit.page.getByText("10 % of calls").waitFor({ state: "detached" });
});

test("a stage limits each of its clients", async ({ visit }) => {
  const { api, stage } = await workingApi(visit, await visit.account());
  await visit.go(`/apis/${encodeURIComponent(api.id)}/stages/${encodeURIComponent(stage.id)}`);
  await visit.sees("None. Each address, or each value of a header, can have a limit of its own.");
  await visit.click("Add throttle of clients");
  await visit.fill("Name of clients' throttle 1", "per-ip");
  await visit.fill("Requests a second of clients' throttle 1", "5");
  await visit.fill("Burst of clients' throttle 1", "9");
  await visit.click("Add throttle of clients");
  await visit.page.getByLabel("Client of clients' throttle 2").selectOption("A header's value");
  await visit.fill("Name of clients' throttle 2", "per-user");
  await visit.fill("Requests a second of clients' throttle 2", "1");
  await visit.fill("Burst of clients' throttle 2", "2");
  await visit.fill(/^Route of clients' throttle 2/, "GET /hello");
  await visit.click("Save clients' throttles");
  await visit.sees("Enter a header such as x-user.");
  await visit.fill("Header of clients' throttle 2", "X-User");
  await visit.page.getByLabel("Beyond clients' throttle 2").selectOption("Calls pass and are reported");
  await visit.isAccessible();
  await visit.click("Save clients' throttles");
  await visit.sees("Clients' throttles saved");
  await visit.page.reload();
  const kept = (label: string) => visit.page.getByLabel(label).inputValue();
  await expect.poll(() => kept("Name of clients' throttle 1")).toBe("per-ip");
  expect(await kept("Header of clients' throttle 2")).toBe("x-user");
  expect(await kept("Route of clients' throttle 2")).toBe("GET /hello");
  expect(await kept("Beyond clients' throttle 2")).toBe("SHADOW");
  await visit.click("Remove clients' throttle 1");
  await visit.click("Save clients' throttles");
  await visit.sees("Clients' throttles saved");
  await visit.page.reload();
  await expect.poll(() => kept("Name of clients' throttle 1")).toBe("per-user");
});

test("a stage's sampling rules are kept in their order", async ({ visit }) => {
  const { api, stage } = await workingApi(visit, await visit.account());
  await visit.go(`/apis/${encodeURIComponent(api.id)}/stages/${encodeURIComponent(stage.id)}`);
  await visit.sees("None. One trace a second is kept, and 5 % of the rest.");
  await visit.page.getByLabel("Sample by these rules").check();
  await visit.click("Add rule");
  await visit.fill("Percent of rule 1", "120");
  await visit.click("Save tracing");
  await visit.sees("Enter a number from 0 to 100.");
  await visit.fill("Percent of rule 1", "7");
  await visit.click("Add rule");
  await visit.fill("Route of rule 2", "GET /pets");
  await visit.fill(/^Keep calls longer than, in ms, of rule 2/, "750");
  await visit.click("Save tracing");
  await visit.sees("no rule can stand after *");
  await visit.isAccessible();
  await visit.page.getByRole("button", { name: "Move rule 2 up" }).click();
  await visit.click("Save tracing");
  await visit.sees("Tracing saved");
  await visit.page.reload();
  await expect.poll(() => visit.page.getByLabel("Route of rule 1").inputValue()).toBe("GET /pets");
  const kept = async (label: string) => visit.page.getByLabel(label).inputValue();
  expect(await kept("Keep calls longer than, in ms, of rule 1")).toBe("750");
  expect(await kept("Percent of rule 2")).toBe("7");
  expect(await visit.page.getByLabel("Sample by these rules").isChecked()).toBe(true);
  await visit.isAccessible();
});

test("an address of nothing says so", async ({ visit }) => {
  await visit.account();
  await visit.go("/apis/bm9uZXhpc3RlbnQ");
  await visit.heading(/is not here|could not be loaded/).waitFor();
  await visit.isAccessible();
});
