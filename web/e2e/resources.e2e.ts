import { test, workingApi } from "./console";

test("resources are a tree, in which methods are added and branches deleted", async ({ visit }) => {
  const { api } = await workingApi(visit, await visit.account());
  await visit.go(`/apis/${encodeURIComponent(api.id)}`);
  await visit.follow("Resources");
  await visit.page.getByRole("button", { name: "Edit GET /hello" }).waitFor();
  await visit.isAccessible();

  await visit.click("Add a resource below /");
  await visit.fill("Path part", "pets");
  await visit.click("Add resource");
  await visit.sees("/pets is in the draft");
  await visit.click("Add a resource below /pets");
  await visit.fill("Path part", "{id");
  await visit.click("Add resource");
  await visit.page.getByLabel("Path part").and(visit.page.locator("[aria-invalid=true]")).waitFor();
  await visit.fill("Path part", "{id}");
  await visit.click("Add resource");
  await visit.click("Add a method to /pets/{id}");
  await visit.page.getByLabel("Answered by").selectOption("MOCK");
  await visit.page.getByRole("dialog").getByRole("button", { name: "Add route" }).click();
  await visit.page.getByRole("button", { name: "Edit GET /pets/{id}" }).waitFor();
  await visit.isAccessible();

  await visit.click("Delete resource /pets");
  await visit.fill("Type /pets to confirm", "/pets");
  await visit.click("Delete resource");
  await visit.page.getByRole("button", { name: "Edit GET /pets/{id}" }).waitFor({ state: "detached" });
  await visit.page.getByRole("button", { name: "Edit GET /hello" }).waitFor();
});
