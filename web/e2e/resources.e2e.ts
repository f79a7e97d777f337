import { expect, test, workingApi } from "./console";

test("resources are a tree with methods as leaves, in which branches are made and deleted by name", async ({
  visit,
}) => {
  const { api } = await workingApi(visit, await visit.account());
  const { page } = visit;
  await visit.go(`/apis/${encodeURIComponent(api.id)}`);
  await visit.follow("Resources");
  await page.getByRole("link", { name: "GET /hello" }).waitFor();
  await visit.isAccessible();

  await visit.click("Add a resource below /");
  await visit.fill("Path part", "pets");
  await visit.click("Add resource");
  await visit.sees("/pets is in the draft");
  await visit.click("Add a resource below /pets");
  await visit.fill("Path part", "{id");
  await visit.click("Add resource");
  await page.getByLabel("Path part").and(page.locator("[aria-invalid=true]")).waitFor();
  await visit.fill("Path part", "{id}");
  await visit.click("Add resource");
  await visit.click("Add a method to /pets/{id}");
  await page.getByLabel("Answered by").selectOption("MOCK");
  await page.getByRole("dialog").getByRole("button", { name: "Add route" }).click();
  const leaf = page.getByRole("link", { name: "GET /pets/{id}" });
  await leaf.waitFor();
  await visit.isAccessible();
  const fold = page.getByRole("button", { name: "Methods and resources of /pets", exact: true });
  await fold.click();
  await leaf.waitFor({ state: "detached" });
  await fold.and(page.locator("[aria-expanded=false]")).click();
  await leaf.waitFor();

  // What is open beside the tree goes with it.
  await leaf.click();
  await page.getByRole("list", { name: "The way of a call to GET /pets/{id}" }).waitFor();
  await visit.click("Delete resource /pets");
  const dialog = page.getByRole("dialog");
  const named = (title: string) =>
    dialog.getByRole("region", { name: title }).getByRole("listitem").allTextContents();
  expect(await named("Resources")).toEqual(["/pets", "/pets/{id}"]);
  expect(await named("Methods")).toEqual(["GET /pets/{id}"]);
  await visit.isAccessible();
  await visit.fill("Type /pets to confirm", "/pets");
  await visit.click("Delete resource");
  await leaf.waitFor({ state: "detached" });
  await page.waitForURL(/\/resources$/);
  await page.getByRole("link", { name: "GET /hello" }).waitFor();
});

test("a tree of nothing says what a resource is, and makes the first", async ({ visit }) => {
  const { accessToken } = await visit.account();
  const { createApi } = await visit.graphql<{ createApi: { api: { id: string } } }>(
    "mutation ($input: CreateApiInput!) { createApi(input: $input) { api { id } } }",
    { input: { name: "Pets", dialect: "AWS_REST" } },
    accessToken,
  );
  await visit.go(`/apis/${encodeURIComponent(createApi.api.id)}/resources`);
  await visit.sees("Nothing below / yet");
  await visit.isAccessible();
  await visit.click("Add resource");
  await visit.fill("Path part", "pets");
  await visit.page.getByRole("dialog").getByRole("button", { name: "Add resource" }).click();
  await visit.page.getByRole("button", { name: "Delete resource /pets" }).waitFor();
});
