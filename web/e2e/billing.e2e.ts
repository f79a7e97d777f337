import { readFile } from "node:fs/promises";
import { expect, test } from "./console";

test("the month is a part of the URL, and its CSV is downloaded", async ({ visit }) => {
  await visit.account();
  await visit.go("/billing");
  await visit.heading("Billing").waitFor();
  await visit.sees("Total so far");
  await visit.isAccessible();
  const [download] = await Promise.all([visit.page.waitForEvent("download"), visit.click("Download CSV")]);
  const csv = await readFile(await download.path(), "utf8");
  expect(csv.split("\n")[0]).toContain("requests");
  expect(new URL(visit.page.url()).pathname).toBe("/billing");

  const months = visit.page.getByLabel("Month");
  const before = await months.locator("option").nth(1).getAttribute("value");
  await months.selectOption(before);
  await expect.poll(() => new URL(visit.page.url()).searchParams.get("month")).toBe(before);
});
