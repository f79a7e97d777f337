import { execFile } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { promisify } from "node:util";
import { expect, password, test, unique } from "./console";
import { becomeOperator } from "./operator";

test("from sign-up to the bill, by clicking", async ({ visit, onTestFinished }) => {
  const backend = createServer((request, response) => {
    response.setHeader("content-type", "text/plain");
    response.end(`pets for ${request.url}`);
  });
  backend.listen(0, "127.0.0.1");
  await once(backend, "listening");
  onTestFinished(() => void backend.close());
  const { port } = backend.address() as AddressInfo;
  const email = `${unique("ada")}@example.com`;
  const { page } = visit;

  await visit.go("/sign-up");
  await visit.fill("Organisation", unique("Acme"));
  await visit.fill("Email", email);
  await visit.fill("Password", password);
  await visit.click("Sign up");

  await visit.follow("Create an API");
  await visit.heading("Create an API").waitFor();
  await visit.fill("Name", "Pet store");
  await visit.click("Create API");
  await visit.heading("Pet store").waitFor();
  await page.getByRole("button", { name: "Add route", exact: true }).click();
  await visit.fill("Path", "/pets");
  await visit.fill("Backend URL", `http://127.0.0.1:${port}/animals`);
  await page.getByRole("dialog").getByRole("button", { name: "Add route" }).click();
  await page.getByRole("button", { name: "Edit GET /pets" }).waitFor();

  await visit.click("Deploy");
  await page.getByRole("dialog").getByRole("button", { name: "Deploy" }).click();
  await visit.sees("Deployed to prod");

  await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Usage plans" }).click();
  await page.getByRole("link", { name: "Create usage plan" }).first().click();
  await visit.heading("Create a usage plan").waitFor();
  await visit.fill("Name", "Gold");
  await page.getByLabel("Pet store / prod").check();
  await visit.click("Create usage plan");
  await visit.heading("Gold").waitFor();

  await page.getByRole("link", { name: "Create API key" }).first().click();
  // The plan's page has a Name too.
  await visit.heading("Create an API key").waitFor();
  await visit.fill("Name", "Mobile app");
  await visit.click("Create API key");
  await visit.heading("First request").waitFor();
  await visit.sees("Waiting for the first request");
  const line = await page.getByText(/^curl /).innerText();

  const { stdout } = await promisify(execFile)("sh", ["-c", line]);
  expect(stdout).toMatch(/^HTTP\/1\.1 200/);
  expect(stdout).toContain("pets for /animals");

  await page.getByRole("heading", { name: "It works" }).waitFor();
  const call = page.getByRole("row").filter({ hasText: "GET /pets" });
  await call.getByText("2xx").waitFor();
  await visit.isAccessible();

  await visit.follow("All usage");
  const row = page.getByRole("row").filter({ hasText: "GET /pets" });
  await row.getByText("Mobile app").waitFor();
  await visit.isAccessible();

  await visit.follow("Log out");
  await visit.heading("You are logged out").waitFor();
  await becomeOperator(visit);
  await visit.follow("Price");
  await visit.fill("Currency", "EUR");
  await visit.fill("Per million requests", "1000000");
  await visit.fill("Per GB out", "0");
  await visit.fill("Free requests a month", "0");
  await visit.click("Set price");
  await visit.sees("Price set");
  await visit.follow("Log out");
  await visit.heading("You are logged out").waitFor();

  await visit.go("/log-in?next=%2Fbilling");
  await visit.fill("Email", email);
  await visit.fill("Password", password);
  await visit.click("Log in");
  await visit.heading("Billing").waitFor();
  await page.getByText("1.00 EUR").first().waitFor();
  await visit.isAccessible();
  const [download] = await Promise.all([page.waitForEvent("download"), visit.click("Download CSV")]);
  const csv = await readFile(await download.path(), "utf8");
  expect(csv).toContain("GET /pets");
});
