/** The words that the browser tests use: a person at the console, with everything watched that must not happen. */
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { type AxeResults, source as axeSource } from "axe-core";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { test as base, expect } from "vitest";

/** Where `tollgate up` serves the console. */
export const url = demanded("TOLLGATE_URL").replace(/\/$/, "");

function demanded(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} must be set to run the browser tests`);
  return value;
}

export function operatorUrl(): string {
  return demanded("TOLLGATE_OPERATOR_LINK").trim();
}

/** What the operator logs in with once the one-time link has been used. */
export const operator = { email: "operator@example.com", password: "seven copper kettles at dawn" };

export const password = "nine violet lanterns at dusk";

const DESKTOP = { width: 1280, height: 800 };
const TELEPHONE = { width: 375, height: 800 };

/** A name that no other test has. */
export function unique(word: string): string {
  return `${word}-${randomBytes(4).toString("hex")}`;
}

export type Account = { email: string; password: string; tenant: string; accessToken: string };

/** A tab of a person, and the tools to look over their shoulder. */
export class Visit {
  readonly faults: string[] = [];
  private readonly others: Visit[] = [];

  constructor(
    readonly page: Page,
    readonly context: BrowserContext,
  ) {
    page.on("pageerror", (error) => this.faults.push(`page error: ${error.message}`));
    page.on("dialog", (dialog) => {
      this.faults.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on("console", (message) => {
      if (/Content Security Policy/i.test(message.text())) this.faults.push(`CSP: ${message.text()}`);
    });
    page.on("request", (request) => {
      const { origin, protocol } = new URL(request.url());
      if (protocol.startsWith("http") && origin !== url)
        this.faults.push(`left the origin: ${request.url()}`);
    });
  }

  static async in(browser: Browser, userAgent?: string): Promise<Visit> {
    const context = await browser.newContext({
      viewport: DESKTOP,
      colorScheme: "light",
      reducedMotion: "reduce",
      ...(userAgent === undefined ? {} : { userAgent }),
    });
    // Playwright says what it waited for; the runner could only say that time is up.
    context.setDefaultTimeout(15_000);
    return new Visit(await context.newPage(), context);
  }

  /** Somebody else, at a browser of their own, as closely watched. */
  async another(userAgent?: string): Promise<Visit> {
    const browser = this.context.browser();
    if (!browser) throw new Error("the browser has ended");
    const other = await Visit.in(browser, userAgent);
    this.others.push(other);
    return other;
  }

  /** Leaves; nothing forbidden may have happened. */
  async end() {
    for (const other of this.others) await other.end();
    await this.context.close();
    expect(this.faults).toEqual([]);
  }

  async go(path: string) {
    await this.page.goto(url + path);
  }

  heading(name: string | RegExp) {
    return this.page.getByRole("heading", { level: 1, name });
  }

  async click(name: string | RegExp) {
    await this.page.getByRole("button", { name, exact: typeof name === "string" }).click();
  }

  async follow(name: string | RegExp) {
    await this.page.getByRole("link", { name }).click();
  }

  async fill(label: string | RegExp, value: string) {
    await this.page.getByLabel(label, { exact: typeof label === "string" }).fill(value);
  }

  async sees(text: string | RegExp) {
    await this.page.getByText(text).first().waitFor();
  }

  /** What the browser stores once a button is pressed, line by line as JSON. */
  async downloads(name: string): Promise<{ file: string; lines: Record<string, unknown>[] }> {
    const [download] = await Promise.all([this.page.waitForEvent("download"), this.click(name)]);
    const text = await readFile(await download.path(), "utf8");
    const lines = text.trimEnd().split("\n");
    return { file: download.suggestedFilename(), lines: lines.map((line) => JSON.parse(line)) };
  }

  /** Nothing of the page is still to come. */
  async loaded() {
    const loading = this.page.getByRole("status", { name: "Loading" });
    await expect.poll(() => loading.count(), { timeout: 15_000 }).toBe(0);
  }

  /** axe finds nothing on the page as it stands, in either theme, and a telephone shows it without scrolling sideways. */
  async isAccessible() {
    await this.loaded();
    for (const colorScheme of ["light", "dark"] as const) {
      await this.page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      if (!(await this.page.evaluate("'axe' in window"))) await this.page.evaluate(axeSource);
      // The themes differ in their colours only.
      const rules = colorScheme === "light" ? "" : "{ runOnly: ['color-contrast', 'link-in-text-block'] }";
      const { violations } = await this.page.evaluate<AxeResults>(`axe.run(${rules})`);
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" | ")}`);
      expect(found, `axe on ${this.page.url()} in the ${colorScheme} theme`).toEqual([]);
    }
    await this.page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
    await this.page.setViewportSize(TELEPHONE);
    // The browser draws the new size a moment later.
    await expect
      .poll(() => this.page.evaluate(stickingOut), { message: `wider than a telephone: ${this.page.url()}` })
      .toEqual([]);
    await this.page.setViewportSize(DESKTOP);
    await expect
      .poll(() => this.page.evaluate(stickingOut), { message: `wider than the window: ${this.page.url()}` })
      .toEqual([]);
  }

  /** A new tenant whose owner is logged in here, without the form. */
  async account(tenant = unique("acme")): Promise<Account> {
    const who = { email: `${unique("ada")}@example.com`, password, tenant };
    const { signUp } = await this.graphql<{ signUp: { accessToken: string; userErrors: unknown[] } }>(
      "mutation ($input: SignUpInput!) { signUp(input: $input) { accessToken userErrors { message } } }",
      { input: who },
    );
    expect(signUp.userErrors).toEqual([]);
    return { ...who, accessToken: signUp.accessToken };
  }

  /** One GraphQL call with this tab's cookies; for what a test needs but is not about. */
  async graphql<T>(query: string, variables: object, accessToken?: string): Promise<T> {
    const response = await this.context.request.post(`${url}/graphql`, {
      headers: { origin: url, ...(accessToken ? { authorization: `Bearer ${accessToken}` } : {}) },
      data: { query, variables },
    });
    const answer = (await response.json()) as { data: T; errors?: unknown };
    expect(answer.errors).toBeUndefined();
    return answer.data;
  }
}

/** Runs in the page: what makes it scroll sideways, but for what a scrolling part of the page holds. */
function stickingOut(): string[] {
  const { scrollWidth, clientWidth } = document.documentElement;
  if (scrollWidth <= clientWidth) return [];
  const clipped = (element: Element): boolean => {
    const parent = element.parentElement;
    if (!parent || parent === document.body) return false;
    return getComputedStyle(parent).overflowX !== "visible" || clipped(parent);
  };
  return [...document.querySelectorAll("body *")]
    .filter((element) => element.getBoundingClientRect().right > clientWidth && !clipped(element))
    .map((element) => element.outerHTML.slice(0, 160));
}

/** Started by the first test; ends with the process. */
let browser: Promise<Browser> | undefined;

/** `visit` is a fresh profile on every test; at its end nothing forbidden may have happened. */
export const test = base.extend<{ visit: Visit }>({
  // biome-ignore lint/correctness/noEmptyPattern: the runner reads the pattern
  visit: async ({}, use) => {
    browser ??= chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    });
    const visit = await Visit.in(await browser);
    await use(visit);
    await visit.end();
  },
});

export { expect };

type Made = { id: string };

/** An API with `GET /hello` (a fixed answer, key required), on `prod`, with a plan and a key. */
export async function workingApi(visit: Visit, { accessToken }: Account, name = "Pet store") {
  const run = async <T extends object>(field: string, type: string, selection: string, input: object) => {
    const query = `mutation ($input: ${type}!) { ${field}(input: $input) { ${selection} userErrors { message param } } }`;
    const data = await visit.graphql<Record<string, T & { userErrors: unknown[] }>>(
      query,
      { input },
      accessToken,
    );
    const payload = data[field];
    expect(payload?.userErrors).toEqual([]);
    return payload as T;
  };
  const { api } = await run<{ api: Made }>("createApi", "CreateApiInput", "api { id }", { name });
  await run("createRoute", "CreateRouteInput", "route { id }", {
    apiId: api.id,
    method: "GET",
    path: "/hello",
    apiKeyRequired: true,
    integration: { type: "MOCK", mockResponse: { status: 200, body: "hello" } },
  });
  const { stage } = await run<{ stage: Made & { pathInvokeUrl: string } }>(
    "createDeployment",
    "CreateDeploymentInput",
    "stage { id pathInvokeUrl }",
    {
      apiId: api.id,
      stage: "prod",
      description: "First",
    },
  );
  const { usagePlan } = await run<{ usagePlan: Made }>(
    "createUsagePlan",
    "CreateUsagePlanInput",
    "usagePlan { id }",
    {
      name: `${name} plan`,
      throttle: { rateLimit: 10, burstLimit: 20 },
      quota: { limit: 1000, period: "MONTH" },
      stageIds: [stage.id],
    },
  );
  const { apiKey, value } = await run<{ apiKey: Made; value: string }>(
    "createApiKey",
    "CreateApiKeyInput",
    "apiKey { id } value",
    {
      name: `${name} key`,
      usagePlanIds: [usagePlan.id],
    },
  );
  return { api, stage, usagePlan, apiKey, value };
}
