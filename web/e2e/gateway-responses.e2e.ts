import { expect, test, workingApi } from "./console";

test("a gateway response is changed, refused with the field, and reset", async ({ visit }) => {
  const { api } = await workingApi(visit, await visit.account());
  await visit.go(`/apis/${encodeURIComponent(api.id)}/gateway-responses`);
  await visit.sees("MISSING_AUTHENTICATION_TOKEN");
  await visit.isAccessible();
  await visit.click("Change THROTTLED");
  const dialog = visit.page.getByRole("dialog");
  await visit.fill(/^Status/, "503");
  await visit.fill(/^Headers/, "x-reason: reason");
  await dialog.getByRole("button", { name: "Save response" }).click();
  await visit.sees("must be a constant in single quotes or a variable");
  await visit.isAccessible();
  await visit.fill(/^Headers/, "x-reason: 'slow down'");
  await visit.fill(/^Body as JSON/, '{"sorry":$context.error.messageString}');
  await dialog.getByRole("button", { name: "Save response" }).click();
  await expect.poll(() => dialog.count()).toBe(0);
  await visit.sees("x-reason, application/json");
  await visit.isAccessible();
  await visit.click("Reset THROTTLED");
  await visit.sees("THROTTLED is the gateway's again");
});
