import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { json } from "node:stream/consumers";
import { expect, password, test, unique, url, type Visit, workingApi } from "./console";
import { becomeOperator } from "./operator";

/** From the list, by a part of its name, to a tenant's page. */
async function open(visit: Visit, tenant: string) {
  await visit.fill("Name", tenant.slice(0, -1).toUpperCase());
  await visit.click("Search");
  await visit.page.getByRole("table", { name: "Tenants" }).getByRole("link", { name: tenant }).click();
  await visit.heading(tenant).waitFor();
}

/** By an address of its own: one address signs up so many and then waits, which the other tests would do. */
async function signUpFromAfar(tenant: string) {
  const input = { tenant, email: `${unique("bob")}@example.com`, password };
  const query = "mutation ($input: SignUpInput!) { signUp(input: $input) { userErrors { message } } }";
  const call = request(`${url}/graphql`, {
    method: "POST",
    localAddress: "127.0.0.2",
    headers: { "content-type": "application/json" },
  });
  call.end(JSON.stringify({ query, variables: { input } }));
  const [response] = (await once(call, "response")) as [IncomingMessage];
  const answer = (await json(response)) as { data: { signUp: { userErrors: unknown[] } } };
  expect(answer.data.signUp.userErrors).toEqual([]);
}

test("a tenant is found, suspended with a reason that its members read, and resumed", async ({ visit }) => {
  const member = await visit.another();
  const account = await member.account();
  const { stage, value } = await workingApi(member, account);
  const status = () =>
    fetch(`${stage.pathInvokeUrl}/hello`, { headers: { "x-api-key": value } }).then(({ status }) => status);
  await expect.poll(status, { timeout: 15_000 }).toBe(200);

  await becomeOperator(visit);
  await visit.isAccessible();
  await visit.fill("Name", "nobody has this name");
  await visit.click("Search");
  await visit.sees("No such tenant");
  await visit.isAccessible();
  await open(visit, account.tenant);
  await visit.sees("Active");
  await visit.isAccessible();

  await visit.click("Suspend tenant");
  const dialog = visit.page.getByRole("dialog");
  await dialog.getByText("“Resume” undoes it").waitFor();
  await dialog.getByRole("button", { name: "Suspend" }).click();
  await visit.sees("Say why; the members of the organisation read it.");
  await dialog.getByLabel("Reason").fill("x".repeat(1025));
  await dialog.getByRole("button", { name: "Suspend" }).click();
  await dialog.locator("[aria-invalid]").waitFor();
  await visit.isAccessible();
  await dialog.getByLabel("Reason").fill("Your invoice is open");
  await dialog.getByRole("button", { name: "Suspend" }).click();
  await visit.sees(`Suspended ${account.tenant}`);
  await expect.poll(status, { timeout: 15_000 }).toBe(403);

  await member.go("/apis/new");
  await member.page.getByRole("alert").getByText("Your invoice is open").waitFor();
  await member.isAccessible();
  await member.fill("Name", "Another");
  await member.click("Create API");
  await member.sees(/this tenant is suspended/);

  await visit.click("Resume tenant");
  await visit.page.getByRole("dialog").getByText("suspend the tenant again").waitFor();
  await visit.isAccessible();
  await visit.page.getByRole("dialog").getByRole("button", { name: "Resume" }).click();
  await visit.sees(`Resumed ${account.tenant}`);
  await expect.poll(status, { timeout: 15_000 }).toBe(200);
  await member.page.reload();
  await member.heading("Create an API").waitFor();
  expect(await member.page.getByText("Your invoice is open").count()).toBe(0);
});

test("a limit is set, refused beyond its bounds, and put back", async ({ visit }) => {
  const member = await visit.another();
  const account = await member.account();
  await becomeOperator(visit);
  await open(visit, account.tenant);
  const row = visit.page.getByRole("table", { name: "Limits" }).getByRole("row", { name: /^APIs / });
  const set = row.getByText("Set", { exact: true });
  await row.waitFor();
  expect(await set.count()).toBe(0);
  await visit.click("Set limits");
  await visit.fill("APIs", "many");
  await visit.page.getByRole("dialog").getByRole("button", { name: "Set limits" }).click();
  await visit.sees(/Enter a whole number up to/);
  await visit.isAccessible();
  await visit.fill("APIs", "0");
  await visit.page.getByRole("dialog").getByRole("button", { name: "Set limits" }).click();
  await visit.sees("Limits set");
  await set.waitFor();

  await member.go("/apis/new");
  await member.fill("Name", "One too many");
  await member.click("Create API");
  await member.page.getByRole("alert").or(member.page.locator("[aria-invalid]")).first().waitFor();

  await visit.click("Set limits");
  await visit.fill("APIs", "");
  await visit.page.getByRole("dialog").getByRole("button", { name: "Set limits" }).click();
  await set.waitFor({ state: "detached" });
  await member.click("Create API");
  await member.heading("One too many").waitFor();
});

test("a limit of calls holds for a second and at once, and is none of neither", async ({ visit }) => {
  const member = await visit.another();
  const account = await member.account();
  await becomeOperator(visit);
  await open(visit, account.tenant);
  const table = visit.page.getByRole("table", { name: "Limits" });
  const row = (name: string) => table.getByRole("row", { name: new RegExp(`^${name} `) });
  const limit = (name: string) => row(name).getByRole("cell").nth(2).innerText();
  await row("Requests a second").waitFor();
  const both = async () => [await limit("Requests a second"), await limit("Requests at once")];
  expect(await both()).toEqual(["No limit", "No limit"]);
  const set = visit.page.getByRole("dialog").getByRole("button", { name: "Set limits" });
  await visit.click("Set limits");
  await visit.fill("Requests a second", "0");
  await set.click();
  await visit.sees(/must be at least 1; to refuse every call of a tenant, suspend it/);
  await visit.isAccessible();
  // As many as the default, and a limit all the same.
  await visit.fill("Requests a second", "1000000");
  await set.click();
  await expect.poll(both).toEqual(["Set\n1,000,000", "1,000,000"]);
  await visit.click("Set limits");
  await visit.fill("Requests at once", "70");
  await visit.fill("Requests a second", "");
  await set.click();
  await expect.poll(both).toEqual(["70", "Set\n70"]);
});

test("a tenant is closed by its name, which logs its members out, and reopened", async ({ visit }) => {
  const member = await visit.another();
  const account = await member.account();
  await becomeOperator(visit);
  await open(visit, account.tenant);
  await visit.click("Close tenant");
  const dialog = visit.page.getByRole("dialog");
  await dialog.getByText("until then it can be reopened").waitFor();
  await visit.isAccessible();
  const close = dialog.getByRole("button", { name: "Close tenant" });
  expect(await close.isDisabled()).toBe(true);
  await visit.fill(`Type ${account.tenant} to confirm`, account.tenant);
  await close.click();
  await visit.sees(`Closed ${account.tenant}`);
  await visit.sees("Is erased");
  await visit.isAccessible();
  await member.go("/");
  await member.heading("Log in").waitFor();

  await visit.go(`/operator/tenants?status=CLOSED&search=${account.tenant}`);
  await visit.follow(account.tenant);
  await visit.click("Reopen tenant");
  await visit.page.getByRole("dialog").getByRole("button", { name: "Reopen" }).click();
  await visit.sees(`Reopened ${account.tenant}`);
  await visit.sees("Active");
  await member.fill("Email", account.email);
  await member.fill("Password", account.password);
  await member.click("Log in");
  await member.heading("Overview").waitFor();
});

test("tenants come in pages", async ({ visit }) => {
  const word = unique("paged");
  for (let made = 0; made < 21; made += 1) await signUpFromAfar(`${word}-${made}`);
  await becomeOperator(visit);
  await visit.go(`/operator/tenants?search=${word}`);
  const rows = visit.page.getByRole("table", { name: "Tenants" }).getByRole("link");
  await expect.poll(() => rows.count()).toBe(20);
  await visit.follow("Next");
  await rows.getByText(`${word}-0`, { exact: true }).waitFor();
  expect(await rows.count()).toBe(1);
  await visit.isAccessible();
  await visit.follow("First");
  await expect.poll(() => rows.count()).toBe(20);
});

test("no other member sees the operator's pages", async ({ visit }) => {
  await visit.account();
  for (const path of ["/operator/tenants", "/operator/price", "/operator/audit"]) {
    await visit.go(path);
    await visit.sees(/Open the one-time operator link/);
  }
});

test("who is invited begins a tenant by the link", async ({ visit }) => {
  const email = `${unique("grace")}@example.com`;
  const tenant = unique("Looms");
  await becomeOperator(visit);
  await visit.click("Invite a tenant");
  const dialog = visit.page.getByRole("dialog");
  await dialog.getByLabel("Email").fill(email);
  await dialog.getByLabel("Organisation").fill(tenant);
  await visit.isAccessible();
  await dialog.getByRole("button", { name: "Invite" }).click();
  const link = await dialog.getByText("/sign-up?token=").innerText();
  await visit.isAccessible();

  const guest = await visit.another();
  const { pathname, search } = new URL(link);
  await guest.go(pathname + search);
  await guest.heading("Create your account").waitFor();
  await expect.poll(() => guest.page.url()).not.toContain("token");
  await guest.fill("Organisation", "Another");
  await guest.fill("Email", email);
  await guest.fill("Password", password);
  await guest.click("Sign up");
  await guest.sees(`this invitation is for ${tenant}`);
  await guest.fill("Organisation", tenant);
  await guest.click("Sign up");
  await guest.heading("Overview").waitFor();
  await guest.sees(tenant);
});

test("an invitation that was revoked begins nothing", async ({ visit }) => {
  const email = `${unique("mallory")}@example.com`;
  await becomeOperator(visit);
  await visit.follow("Invitations");
  await visit.heading("Invitations").waitFor();
  await visit.click("Invite a tenant");
  const dialog = visit.page.getByRole("dialog");
  await dialog.getByLabel("Email").fill(email);
  await dialog.getByRole("button", { name: "Invite" }).click();
  const { pathname, search } = new URL(await dialog.getByText("/sign-up?token=").innerText());
  await visit.page.keyboard.press("Escape");
  const row = visit.page
    .getByRole("table", { name: "Invitations" })
    .getByRole("row")
    .filter({ hasText: email });
  await row.getByText("theirs to choose").waitFor();
  await visit.isAccessible();

  await visit.click(`Revoke the invitation of ${email}`);
  await visit.sees(`The invitation of ${email} is revoked`);
  await row.waitFor({ state: "detached" });
  const guest = await visit.another();
  await guest.go(pathname + search);
  await guest.fill("Organisation", unique("Looms"));
  await guest.fill("Email", email);
  await guest.fill("Password", password);
  await guest.click("Sign up");
  await guest.sees("this invitation was used or has expired");

  await visit.follow("Audit log");
  await visit.page.getByText("tenant_invitation.delete").first().waitFor();
});
