import { expect, test } from "./console";
import { becomeOperator } from "./operator";

test("the operator sets the price, and finds it kept", async ({ visit }) => {
  await becomeOperator(visit);
  await visit.follow("Price");
  await visit.heading("Price").waitFor();
  await visit.isAccessible();
  await visit.fill("Currency", "dollars");
  await visit.click("Set price");
  await visit.sees("Enter a currency code such as USD.");
  await visit.fill("Currency", "USD");
  await visit.fill("Per million requests", "3.50");
  await visit.fill("Per GB out", "0.09");
  await visit.fill("Free requests a month", "0");
  await visit.click("Set price");
  await visit.sees("Price set");
  await visit.page.reload();
  await visit.heading("Price").waitFor();
  expect(Number(await visit.page.getByLabel("Per million requests").inputValue())).toBe(3.5);
});

test("nobody else gets past the operator's door", async ({ visit }) => {
  await visit.account();
  await visit.go("/operator");
  await visit.sees(/Open the one-time operator link/);
  await visit.isAccessible();
});
