import { expect, test, workingApi } from "./console";

test("what is seldom set of a route is folded away until it is set or wrong", async ({ visit }) => {
  const { api } = await workingApi(visit, await visit.account());
  await visit.go(`/apis/${encodeURIComponent(api.id)}`);
  await visit.click("Add route");
  const dialog = visit.page.getByRole("dialog");
  const timeouts = dialog.getByRole("group", { name: "Timeouts" });
  const fold = dialog.locator("summary").filter({ hasText: "Timeouts" });
  const submit = dialog.getByRole("button", { name: "Add route" });
  await fold.getByText("Default").waitFor();
  expect(await timeouts.isVisible()).toBe(false);

  await visit.fill("Path", "/slow");
  await visit.fill("Backend URL", "https://backend.example.com/");
  await fold.focus();
  await visit.page.keyboard.press("Enter");
  await dialog.getByLabel("To connect").fill("a second");
  await visit.isAccessible();
  await fold.click();
  expect(await timeouts.isVisible()).toBe(false);
  await submit.click();
  await visit.sees("Enter milliseconds, such as 29000.");
  await fold.getByText("To correct").waitFor();
  expect(await dialog.getByLabel("To connect").evaluate((field) => field === document.activeElement)).toBe(
    true,
  );
  // What only the server refuses opens it too.
  await dialog.getByLabel("To connect").fill("700000");
  await fold.click();
  await submit.click();
  await fold.getByText("To correct").waitFor();
  await dialog.getByLabel("To connect").and(dialog.locator("[aria-invalid=true]")).waitFor();
  await dialog.getByLabel("To connect").fill("1500");
  await submit.click();

  await visit.click("Edit GET /slow");
  await fold.getByText("Set").waitFor();
  expect(await dialog.getByLabel("To connect").inputValue()).toBe("1500");
  expect(await dialog.getByRole("group", { name: "How answers reach callers" }).isVisible()).toBe(false);
  await visit.isAccessible();
});
