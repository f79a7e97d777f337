/** The audit of the GraphQL over HTTP specification, from its reference implementation, against the control plane. */
import { serverAudits } from "graphql-http";
import { beforeAll, expect, test } from "vitest";
import { password, unique, url } from "./console";

const withStatus =
  "the status says what failed under application/json too, as REST's does: for logs, proxies, retries";

/** What is only recommended and not done, and why. Answers to GET are optional and not given: see the tests of CSRF. */
const declined: Record<string, string> = {
  "572B": withStatus,
  FDE2: withStatus,
  "7B9B": withStatus,
};

let token = "";

beforeAll(async () => {
  const response = await fetch(`${url}/v1/signup`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email: `${unique("audit")}@example.com`, password, tenant: unique("audit") }),
  });
  token = (await response.json()).accessToken;
});

/** Some audits ask for the schema, which is for who is logged in. */
const asUser: typeof fetch = (input, init) => {
  const headers = new Headers(init?.headers);
  headers.set("authorization", `Bearer ${token}`);
  return fetch(input, { ...init, headers });
};

const audits = serverAudits({ url: `${url}/graphql`, fetchFn: asUser });

test.each(audits)("$name ($id)", async ({ fn, id, name }) => {
  const result = await fn();
  const reason = "reason" in result ? result.reason : "";
  if (id in declined) expect(result.status, "no longer declined").toBe("warn");
  else if (name.startsWith("MAY")) expect(["ok", "notice"], reason).toContain(result.status);
  else expect(result.status, reason).toBe("ok");
});

test("the audit is the whole one", () => {
  const of = (word: string) => audits.filter(({ name }) => name.startsWith(word)).length;
  expect(of("MUST")).toBeGreaterThanOrEqual(13);
  expect(of("SHOULD")).toBeGreaterThanOrEqual(23);
});
