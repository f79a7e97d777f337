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

test("what the ledger did not take waits for the operator until it is settled", async ({ visit }) => {
  const note = unique("a restored database");
  await becomeOperator(visit);
  await visit.follow("Quarantine");
  await visit.heading("Quarantine").waitFor();
  const rows = visit.page.getByRole("table", { name: "Quarantined segments" }).getByRole("row");
  await rows.filter({ hasText: "there is no tenant" }).first().waitFor();
  await visit.isAccessible();
  await rows.getByRole("link").first().click();
  await visit.heading(/^Segment/).waitFor();
  await visit.page.getByRole("table", { name: "Hours" }).getByText("(unknown)").waitFor();
  await visit.isAccessible();

  const [file] = await Promise.all([visit.page.waitForEvent("download"), visit.click("Download")]);
  expect(file.suggestedFilename()).toMatch(/^tollgate-segment-.*\.segment$/);

  await visit.click("Settle");
  const dialog = visit.page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Settle" }).click();
  await dialog.getByText("Say what came of it").waitFor();
  await visit.isAccessible();
  await dialog.getByLabel("What came of it").fill(note);
  await dialog.getByRole("button", { name: "Settle" }).click();
  await visit.sees("Segment settled");
  await visit.sees(note);
  await expect.poll(() => visit.page.getByRole("button", { name: "Settle" }).count()).toBe(0);
  await visit.isAccessible();

  const address = new URL(visit.page.url()).pathname;
  await visit.page.getByRole("navigation").getByRole("link", { name: "Quarantine" }).first().click();
  await visit.page.getByLabel("State").selectOption("Settled");
  await visit.page.locator(`a[href="${address}"]`).waitFor();
  await visit.page.getByLabel("Node id").fill("00000000-0000-7000-8000-000000000000");
  await visit.page.getByLabel("Node id").press("Enter");
  await visit.sees("No such segment");
  await visit.isAccessible();
});

test("a segment that is not there says so", async ({ visit }) => {
  await becomeOperator(visit);
  await visit.go("/operator/quarantined-segments/00000000-0000-7000-8000-000000000000");
  await visit.heading("This segment is not here").waitFor();
});
