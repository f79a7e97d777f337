import { expect, test, workingApi } from "./console";

test("a usage plan is created with its limits, changed and deleted", async ({ visit }) => {
  await workingApi(visit, await visit.account());
  await visit.go("/usage-plans");
  await visit.page.getByRole("link", { name: "Pet store plan" }).waitFor();
  await visit.isAccessible();
  await visit.page.getByRole("link", { name: "Create usage plan" }).click();
  await visit.heading("Create a usage plan").waitFor();
  await visit.page.getByLabel("Pet store / prod").check();
  await visit.isAccessible();
  await visit.fill("Name", "Gold");
  await visit.page.getByLabel("Requests a second").fill("100");
  await visit.page.getByLabel("Burst").fill("200");
  await visit.page.getByLabel("Quota", { exact: false }).first().fill("100000");
  await visit.page.getByLabel("Quota period").selectOption("DAY");
  await visit.click("Create usage plan");
  await visit.heading("Gold").waitFor();
  await visit.sees("No keys on this plan");
  await visit.isAccessible();

  await visit.page.getByLabel("Quota period").selectOption("WEEK");
  await visit.page.getByLabel("Time zone").fill("Mars/Olympus_Mons");
  await visit.page.getByLabel("Periods begin").selectOption("ANNIVERSARY");
  await visit.click("Save plan");
  await visit.sees("Say when a period begins.");
  await visit.page.getByLabel("From (UTC)").fill("2026-01-31T09:30:00");
  await visit.page.getByLabel("Beyond the quota").selectOption("SOFT");
  await visit.page.getByLabel("Beyond the throttle").selectOption("Calls pass and are reported");
  await visit.page.getByLabel("Requests in progress").fill("4");
  await visit.page.getByLabel("Used before").fill("50");
  await visit.isAccessible();
  await visit.click("Save plan");
  await visit.sees("not the IANA name of a time zone");
  await visit.page.getByLabel("Time zone").fill("europe/berlin");
  await visit.click("Save plan");
  await visit.sees("Usage plan saved");
  await visit.page
    .getByRole("navigation", { name: "Main" })
    .getByRole("link", { name: "Usage plans" })
    .click();
  await visit.sees("100,000 per week, soft");
  await visit.sees("100/s, burst 200, shadow");

  await visit.follow("Gold");
  for (const [label, value] of [
    ["Time zone", "Europe/Berlin"],
    ["From (UTC)", "2026-01-31T09:30"],
    ["Used before", "50"],
    ["Requests in progress", "4"],
    ["Beyond those in progress", "HARD"],
    ["Beyond the throttle", "SHADOW"],
  ] as const) {
    await expect.poll(() => visit.page.getByLabel(label).inputValue()).toBe(value);
  }
  await visit.click("Delete");
  await visit.fill("Type Gold to confirm", "Gold");
  await visit.click("Delete usage plan");
  await visit.heading("Usage plans").waitFor();
  await visit.page.getByRole("link", { name: "Gold" }).waitFor({ state: "detached" });
});

test("without plans, the page says what one is for", async ({ visit }) => {
  await visit.account();
  await visit.go("/usage-plans");
  await visit.sees("No usage plans yet");
  await visit.isAccessible();
});
