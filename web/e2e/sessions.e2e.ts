import { expect, test, url } from "./console";

test("a session that one does not know is ended, and so are all others", async ({ visit }) => {
  const { email, password } = await visit.account();
  const input = { email, password };
  const logIn = (userAgent: string) =>
    fetch(`${url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json", "user-agent": userAgent },
      body: JSON.stringify({
        query: "mutation ($input: LogInInput!) { logIn(input: $input) { userErrors { message } } }",
        variables: { input },
      }),
    }).then(async (response) => expect(await response.json()).toMatchObject({ data: { logIn: {} } }));
  for (const program of ["lynx/2.9", "wget/1.24", "curl/8.9"]) await logIn(program);

  await visit.go("/settings/sessions");
  const row = (text: string) => visit.page.getByRole("row").filter({ hasText: text });
  await row("This session").getByRole("link", { name: "Log out" }).waitFor();
  await row("wget/1.24").waitFor();
  await visit.isAccessible();
  await visit.click(/^End the session of lynx at/);
  await visit.sees("Session ended");
  await row("lynx/2.9").waitFor({ state: "detached" });
  await visit.click("End all other sessions");
  await visit.sees("2 sessions ended");
  await row("curl/8.9").waitFor({ state: "detached" });
  await row("This session").waitFor();
  await visit.isAccessible();
});
