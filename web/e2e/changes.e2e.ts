import { expect, test, workingApi } from "./console";

test("what a deployment would change is told before and after, and a stage is pointed back", async ({
  visit,
}) => {
  const { api, stage } = await workingApi(visit, await visit.account());
  const pages = `/apis/${encodeURIComponent(api.id)}`;
  const stagePage = `${pages}/stages/${encodeURIComponent(stage.id)}`;
  await visit.go(pages);
  await visit.click("Edit GET /hello");
  await visit.page.getByRole("switch", { name: "API key required" }).uncheck();
  await visit.click("Save route");
  await visit.sees("Draft differs from live");

  const changed = visit.page.getByRole("row").filter({ hasText: "routes › GET /hello › apiKeyRequired" });
  await visit.go(stagePage);
  await visit.page.getByRole("heading", { name: "Pending changes" }).waitFor();
  expect(await changed.getByRole("cell").allInnerTexts()).toEqual([
    "routes › GET /hello › apiKeyRequired",
    "true",
    "none",
  ]);
  await visit.isAccessible();

  await visit.go(pages);
  await visit.click("Deploy");
  await visit.page.getByLabel("Stage").fill("prod");
  await visit.page.getByLabel("Description").fill("Second");
  await visit.page.getByRole("dialog").getByRole("button", { name: "Deploy" }).click();
  await visit.sees("Deployed to prod");
  await visit.go(stagePage);
  await visit.page.getByRole("heading", { name: "Stage prod" }).waitFor();
  expect(await visit.page.getByRole("heading", { name: "Pending changes" }).count()).toBe(0);

  await visit.go(`${pages}/deployments`);
  const row = (description: string) =>
    visit.page.getByRole("row").filter({ hasText: description }).getByRole("link");
  await row("Second").click();
  await changed.waitFor();
  await visit.page.goBack();
  await row("First").click();
  await visit.page.getByRole("button", { name: "Point prod here" }).click();
  await visit.isAccessible();
  await visit.click("Point it there");
  await visit.page.getByRole("button", { name: "Point prod here" }).waitFor({ state: "detached" });
  await visit.go(stagePage);
  await changed.waitFor();
});
