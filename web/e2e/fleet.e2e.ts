import { expect, test, unique } from "./console";
import { becomeOperator } from "./operator";

test("nodes are listed with what they run and how far they are behind", async ({ visit }) => {
  await becomeOperator(visit);
  await visit.follow("Nodes");
  await visit.heading("Nodes").waitFor();
  const rows = visit.page.getByRole("table", { name: "Nodes" }).getByRole("row");
  await rows.filter({ hasText: "Live" }).first().waitFor();
  await visit.page.getByRole("table", { name: "Control plane" }).getByText("Live").first().waitFor();
  await visit.isAccessible();
  await visit.page.getByLabel("State").selectOption("Revoked");
  await visit.sees("No node in this state");
  await visit.isAccessible();
  await visit.page.getByLabel("State").selectOption("Live");
  await rows.getByRole("link").first().click();
  await visit.sees("Certificate until");
  await visit.page.getByRole("table", { name: "Cells" }).getByText("default").waitFor();
  await visit.isAccessible();

  await visit.click("Revoke node");
  await visit.page.getByRole("dialog").getByText("with a new join token").waitFor();
  await visit.isAccessible();
  await visit.click("Cancel");
  await visit.page.getByRole("dialog").waitFor({ state: "detached" });
});

test("a node that is not there says so", async ({ visit }) => {
  await becomeOperator(visit);
  await visit.go("/operator/nodes/00000000-0000-7000-8000-000000000000");
  await visit.heading("This node is not here").waitFor();
});

test("a join token is shown once, listed, and deleted", async ({ visit }) => {
  const name = unique("rack");
  await becomeOperator(visit);
  await visit.follow("Join tokens");
  await visit.heading("Join tokens").waitFor();
  await visit.click("Create join token");
  await visit.fill(/^Name/, name);
  await visit.fill("Cells", "nowhere");
  await visit.isAccessible();
  await visit.click("Create");
  await visit.sees("there is no cell nowhere");
  await visit.fill("Cells", "default");
  await visit.click("Create");
  await visit.sees("It is shown only this once.");
  await visit.isAccessible();
  await visit.click("I have copied it");
  const row = visit.page.getByRole("row").filter({ hasText: name });
  await row.getByText("never").waitFor();
  await visit.isAccessible();
  await visit.click(`Delete ${name}`);
  await visit.page.getByRole("dialog").getByText("create another instead").waitFor();
  await visit.page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await visit.sees("Join token deleted");
  await expect.poll(() => row.count()).toBe(0);
});
