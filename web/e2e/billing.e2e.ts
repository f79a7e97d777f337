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

test("a day's statement is stored once it is signed, and said not to be before", async ({ visit }) => {
  await visit.account();
  await visit.go("/billing");
  await visit.heading("Billing").waitFor();
  const [download] = await Promise.all([
    visit.page.waitForEvent("download"),
    visit.click("Download statement"),
  ]);
  const statement = JSON.parse(await readFile(await download.path(), "utf8"));
  expect(download.suggestedFilename()).toBe(`tollgate-usage-${statement.day}.json`);
  expect(statement).toMatchObject({ version: 1, final: true });
  expect(statement.hours).toHaveLength(24);
  expect(statement.signature).toMatch(/^[0-9a-f]{128}$/);

  await visit.page.getByLabel("Day (UTC)").fill(new Date().toISOString().slice(0, 10));
  await visit.click("Download statement");
  await visit.sees("is not signed yet");
});
