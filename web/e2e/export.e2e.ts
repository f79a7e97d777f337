import { expect, password, test, unique, url, type Visit, workingApi } from "./console";
import { becomeOperator } from "./operator";

const EXPORT = "Export everything (NDJSON)";

/** Everything of the tenant is in it, up to the line that counts the others, and not the key's value. */
async function exports(visit: Visit, tenant: string, value: string) {
  const { file, lines } = await visit.downloads(EXPORT);
  expect(file).toMatch(/^tollgate-tenant-.+\.ndjson$/);
  const [first, last] = [lines[0], lines.at(-1)];
  expect(first).toMatchObject({ kind: "tenant", value: { name: tenant } });
  expect(last).toMatchObject({ kind: "end", counts: { api: 1, route: 1, api_key: 1, member: 1 } });
  const log = lines.filter(({ kind }) => kind === "audit_entry");
  expect(JSON.stringify(log)).toContain("tenant.export");
  expect(JSON.stringify(lines)).not.toContain(value);
}

/** Holds every call of this mutation back until it is let go. */
async function held({ page }: Visit, mutation: string): Promise<() => void> {
  let letGo = () => {};
  const gone = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  await page.route(`${url}/graphql`, async (route) => {
    if (route.request().postData()?.includes(mutation)) await gone;
    await route.continue();
  });
  return letGo;
}

test("an owner takes everything away", async ({ visit }) => {
  const account = await visit.account();
  const { value } = await workingApi(visit, account);
  await visit.go("/settings");
  const button = visit.page.getByRole("button", { name: EXPORT });
  await button.waitFor();
  await visit.isAccessible();
  await exports(visit, account.tenant, value);
  await visit.sees("The export has begun");
  await visit.isAccessible();
  expect(new URL(visit.page.url()).pathname).toBe("/settings");

  // Until the link is there, the button says that it is coming, and does not ask for another.
  const letGo = await held(visit, "CreateTenantExport");
  const download = visit.page.waitForEvent("download");
  await button.click();
  await expect.poll(() => button.getAttribute("aria-busy")).toBe("true");
  expect(await button.isDisabled()).toBe(true);
  letGo();
  await download;
  await expect.poll(() => button.isDisabled()).toBe(false);
});

test("who may no longer export reads why, and is not offered it again", async ({ visit }) => {
  const { accessToken } = await visit.account();
  const invite = "mutation ($input: CreateInvitationInput!) { createInvitation(input: $input) { link } }";
  const email = `${unique("grace")}@example.com`;
  const { createInvitation } = await visit.graphql<{ createInvitation: { link: string } }>(
    invite,
    { input: { email, role: "ADMIN" } },
    accessToken,
  );
  const { pathname, search } = new URL(createInvitation.link);
  const grace = await visit.another();
  await grace.go(pathname + search);
  await grace.fill("Password", password);
  await grace.click("Create account and join");
  await grace.heading("Overview").waitFor();
  await grace.go("/settings");
  const button = grace.page.getByRole("button", { name: EXPORT });
  await button.waitFor();

  await visit.go("/settings/members");
  await visit.page.getByLabel(`Role of ${email}`).selectOption("DEVELOPER");
  await visit.sees(`${email} is now developer`);
  await button.click();
  await grace.page.getByRole("region", { name: "Notices" }).getByText(/role/).waitFor();
  await grace.isAccessible();
  await grace.page.reload();
  await grace.sees("Organisation");
  await grace.loaded();
  expect(await button.count()).toBe(0);
});

test("the operator takes everything of a tenant away, which the tenant can read", async ({ visit }) => {
  const member = await visit.another();
  const account = await member.account();
  const { value } = await workingApi(member, account);
  await becomeOperator(visit);
  await visit.go(`/operator/tenants?search=${account.tenant}`);
  await visit.follow(account.tenant);
  await visit.heading(account.tenant).waitFor();
  await exports(visit, account.tenant, value);
  await visit.sees("The export has begun");
  await visit.isAccessible();
  await member.go("/settings/audit");
  await member.page.getByRole("row").filter({ hasText: "tenant.export" }).waitFor();
});
