import { expect, operator, operatorUrl, type Visit } from "./console";

/** Becomes the operator by the one-time link or, once that is used, by logging in. Ends on the list of tenants. */
export async function becomeOperator(visit: Visit) {
  const { pathname, search } = new URL(operatorUrl());
  await visit.go(pathname + search);
  await visit.heading("Become the operator").waitFor();
  // The token must not stay where a glance, a bookmark or the history would keep it.
  await expect.poll(() => visit.page.url()).not.toContain("token");
  await visit.isAccessible();
  await visit.fill("Email", operator.email);
  await visit.fill("Password", operator.password);
  await visit.click("Continue");
  const inside = visit.heading("Tenants");
  const refused = visit.page.getByRole("alert");
  await inside.or(refused).waitFor();
  if (await refused.isVisible()) {
    await visit.go("/log-in?next=%2Foperator");
    await visit.fill("Email", operator.email);
    await visit.fill("Password", operator.password);
    await visit.click("Log in");
  }
  await inside.waitFor();
}
