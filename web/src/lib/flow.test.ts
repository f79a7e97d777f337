import { expect, it } from "vitest";
import { type Around, flow, type Integration, type Route, span, variables } from "./flow";

const proxy: Integration = {
  type: "HTTP_PROXY",
  uri: "https://backend.example.com/pets/{id}",
  method: "",
  protocolVersion: "HTTP1",
  preserveHost: false,
  connectTimeoutMs: 0,
  firstByteTimeoutMs: 0,
  idleTimeoutMs: 0,
  timeoutMs: 0,
};
const route = (integration: Integration | null, more: Partial<Route> = {}): Route => ({
  routeKey: "GET /pets/{id}",
  path: "/pets/{id}",
  apiKeyRequired: false,
  operationName: "",
  integration,
  ...more,
});
const stage = (name: string) => ({
  id: name,
  name,
  rateLimitHeaders: true,
  routeThrottles: [],
  routeConcurrencyLimits: [],
});
const native: Around = {
  dialect: "NATIVE",
  apiKeyLocations: ["$request.header.x-api-key"],
  stages: [stage("prod")],
};

/** `Backend > URL` of a route. */
function fact(path: string, of: Route, around = native) {
  const [title, name] = path.split(" > ");
  const box = flow(of, around).find((one) => one.title === title);
  return box?.facts.find((one) => one.name === name);
}

it("follows a call from the client to the backend and back", () => {
  for (const integration of [null, proxy])
    expect(flow(route(integration), native).map(({ title }) => title)).toEqual([
      "Client",
      "Method request",
      "Integration request",
      "Backend",
      "Integration response",
      "Method response",
    ]);
});

it("names each fact of a box once, and says something of each", () => {
  const types = ["HTTP_PROXY", "HTTP", "AWS_PROXY", "AWS", "MOCK", "A_LATER_ONE"];
  for (const integration of [null, ...types.map((type) => ({ ...proxy, type }))])
    for (const { title, facts } of flow(route(integration), native)) {
      const names = facts.map(({ name }) => name);
      expect(new Set(names).size, title).toBe(names.length);
      expect(names.length, title).toBeGreaterThan(0);
      for (const { value } of facts) expect(value).not.toBe("");
    }
});

it("tells what is set from what is the default", () => {
  const bare = flow(route(proxy), native).flatMap(({ facts }) => facts);
  expect(bare.filter(({ own }) => own).map(({ name }) => name)).toEqual([
    "Calls",
    "Path parameters",
    "Type",
    "URL",
  ]);
  const set: Integration = {
    ...proxy,
    method: "POST",
    protocolVersion: "HTTP2",
    preserveHost: true,
    forwarded: "REMOVE",
    responseTransferMode: "BUFFERED",
    timeoutMs: 5000,
  };
  const full = route(set, { apiKeyRequired: true, operationName: "getPet" });
  const facts = flow(full, native).flatMap((box) => box.facts);
  expect(facts.filter(({ own }) => !own).map(({ name }) => name)).toEqual([
    "Throttle",
    "Mapping",
    "Retries",
    "Circuit breaker",
    "TLS",
    "Mapping",
    "Status and headers",
    "Pages of other origins",
    "RateLimit headers",
  ]);
});

it("knows what each dialect allows where no timeout is set", () => {
  const timeout = (dialect: Around["dialect"], more: Partial<Integration> = {}) =>
    fact("Integration request > Timeout", route({ ...proxy, ...more }), { ...native, dialect })?.value;
  expect(timeout("NATIVE")).toBe("30 s to the first byte");
  expect(timeout("AWS_REST")).toBe("29 s in all");
  expect(timeout("AWS_HTTP")).toBe("30 s in all");
  expect(timeout("AWS_REST", { responseTransferMode: "STREAM" })).toBe("15 min in all");
  expect(timeout("AWS_REST", { timeoutMs: 500, connectTimeoutMs: 50 })).toBe(
    "500 ms in all, 50 ms to connect",
  );
  expect(timeout("NATIVE", { idleTimeoutMs: 1500 })).toBe("30 s to the first byte, 1.5 s between two pieces");
  expect(timeout("NATIVE", { firstByteTimeoutMs: 2000 })).toBe("2 s to the first byte");
});

it("buffers answers where the dialect does, unless the route says otherwise", () => {
  const mode = (dialect: Around["dialect"], responseTransferMode: string | null) =>
    fact("Integration response > Transfer mode", route({ ...proxy, responseTransferMode }), {
      ...native,
      dialect,
    });
  expect(mode("NATIVE", null)).toMatchObject({ value: "streamed as it comes", own: false });
  expect(mode("AWS_HTTP", null)).toMatchObject({ value: "buffered, at most 10 MiB", own: false });
  expect(mode("AWS_REST", "STREAM")).toMatchObject({ value: "streamed as it comes", own: true });
});

it("says which stages limit the route, and leads to them", () => {
  const rate = { rateLimit: 10, burstLimit: 20, enforcement: "HARD" };
  const limited = {
    ...stage("prod"),
    throttle: { ...rate, rateLimit: 100 },
    routeThrottles: [
      { ...rate, routeKey: "GET /pets/{id}" },
      { ...rate, routeKey: "GET /other", rateLimit: 1 },
    ],
    routeConcurrencyLimits: [{ maxInFlight: 4, routeKey: "GET /pets/{id}" }],
  };
  const around = { ...native, stages: [limited, stage("beta")] };
  expect(fact("Method request > Throttle on prod", route(proxy), around)).toEqual({
    name: "Throttle on prod",
    value: "10/s, burst 20; 100/s, burst 20 of all routes; 4 in progress",
    own: true,
    at: { stage: "prod" },
  });
  expect(fact("Method request > Throttle on beta", route(proxy), around)).toBeUndefined();
  const many = {
    ...native,
    stages: ["a", "b", "c", "d", "e"].map((name) => ({ ...limited, id: name, name })),
  };
  expect(fact("Method request > Throttle", route(proxy), many)?.value).toBe("on 2 more stages");
});

it("tells of a mock what it answers, and that it calls nobody", () => {
  const mock: Integration = { ...proxy, type: "MOCK", uri: "" };
  const fixed = {
    ...mock,
    mockResponse: { status: 201, headers: [{ name: "Content-Type", value: "text/plain" }] },
  };
  expect(fact("Integration response > Mock response", route(fixed))?.value).toBe("201, text/plain");
  const examples = { ...mock, examples: [{ status: 404 }, { status: 200 }, { status: 404 }] };
  expect(fact("Integration response > Examples", route(examples))?.value).toBe("3: 200, 404");
  const chosen = {
    ...mock,
    requestTemplates: [{}],
    integrationResponses: [{ statusCode: 200, selectionPattern: "" }],
  };
  expect(fact("Integration response > Mock responses", route(chosen))?.value).toBe("1: 200");
  expect(fact("Integration request > Request templates", route(chosen))?.value).toBe("1");
  expect(fact("Backend > Goes to", route(mock))?.own).toBe(false);
});

it("leads each box to the part of the form that sets it", () => {
  const sections = (integration: Integration | null) =>
    flow(route(integration), native).map(({ at }) => ("section" in at ? at.section : ""));
  expect(sections(proxy)).toEqual(["method", "method", "target", "target", "answers", "documents"]);
  expect(sections({ ...proxy, type: "MOCK" })[4]).toBe("mock");
  expect(sections({ ...proxy, type: "AWS_PROXY" })[4]).toBe("target");
});

it("tells of a function how it is invoked and where", () => {
  const aws = { endpointUrl: "http://127.0.0.1:9001", invocationType: "EVENT" };
  const uri = "arn:aws:lambda:eu-west-1:123456789012:function:pets";
  const of = route({ ...proxy, type: "AWS_PROXY", uri, aws, payloadFormatVersion: "1.0" });
  expect(fact("Backend > Function", of)?.value).toBe(uri);
  expect(fact("Backend > TLS", of)?.value).toBe("none: plain HTTP");
  expect(fact("Integration request > Mapping", of)?.value).toBe("an event of format 1.0");
  expect(fact("Integration response > Answer", of)?.value).toBe("202 at once, with nothing");
  expect(fact("Integration response > Answer", of, { ...native, dialect: "AWS_REST" })?.value).toMatch(
    /^200/,
  );
});

it("tells of an action of a service what is asked for, and where", () => {
  const aws = {
    endpointUrl: "http://127.0.0.1:9001",
    invocationType: "REQUEST_RESPONSE",
    subtype: "SQS-SendMessage",
  };
  const of = route({ ...proxy, type: "AWS_PROXY", uri: "", aws, payloadFormatVersion: "1.0" });
  expect(fact("Integration request > Type", of)?.value).toBe("action of a service");
  expect(fact("Backend > Action", of)?.value).toBe("SQS-SendMessage");
  expect(fact("Backend > TLS", of)?.value).toBe("none: plain HTTP");
});

it("says where callers put their key, and who tells them of their limits", () => {
  const keyed = route(proxy, { apiKeyRequired: true });
  expect(fact("Client > Its API key is in", keyed)?.value).toBe("header x-api-key");
  expect(fact("Client > Its API key is in", route(proxy))).toBeUndefined();
  const quiet = { ...stage("quiet"), rateLimitHeaders: false };
  const around = { ...native, stages: [stage("prod"), quiet] };
  expect(fact("Method response > RateLimit headers", keyed, around)).toMatchObject({
    value: "on prod",
    own: true,
    at: { stage: "quiet" },
  });
});

it("says which pages may read answers, by the route or else by its API", () => {
  const pages = (ofRoute: string[] | null, ofApi: string[] | null) => {
    const of = route(proxy, { corsConfiguration: ofRoute && { allowOrigins: ofRoute } });
    const around = { ...native, corsConfiguration: ofApi && { allowOrigins: ofApi } };
    const { value, own } = fact("Method response > Pages of other origins", of, around) ?? {};
    return [value, own];
  };
  const app = ["https://app.example.com"];
  expect(pages(null, null)).toEqual(["as the backend says", false]);
  expect(pages([], app)).toEqual(["as the backend says", true]);
  expect(pages(null, app)).toEqual(["https://app.example.com, by the API", true]);
  expect(pages(["*"], app)).toEqual(["*", true]);
  expect(pages(["a", "b", "c"], null)).toEqual(["a, b and 1 more", true]);
});

it("says what happens when a backend fails", () => {
  const retryPolicy = { attempts: 2, statuses: [502, 503] };
  const circuitBreaker = { consecutiveFailures: 5, failurePercent: 50 };
  const of = route({ ...proxy, retryPolicy, circuitBreaker });
  expect(fact("Integration request > Retries", of)?.value).toBe("at most 2, also on 502, 503");
  expect(fact("Integration request > Circuit breaker", of)?.value).toBe(
    "opens at 5 failures in a row or 50 % failures",
  );
  const bare = route({ ...proxy, retryPolicy: null, circuitBreaker: null });
  for (const name of ["Retries", "Circuit breaker"])
    expect(fact(`Integration request > ${name}`, bare)).toMatchObject({ value: "none", own: false });
});

it("warns where who issued a backend's certificate is not checked", () => {
  const usual = { insecureSkipVerification: false, serverNameToVerify: "", caBundle: "" };
  const tls = (tlsConfig: Integration["tlsConfig"]) => fact("Backend > TLS", route({ ...proxy, tlsConfig }));
  const own = { own: true, at: { section: "tls" } };
  expect(tls(null)).toMatchObject({ own: false });
  expect(tls({ ...usual, insecureSkipVerification: true })).toMatchObject({
    value: "insecure: who issued its certificate is not checked",
    unsafe: true,
    ...own,
  });
  expect(tls({ ...usual, serverNameToVerify: "a.test", caBundle: "PEM" })).toMatchObject({
    value: "its certificate is by the route's own authorities, known as a.test",
    unsafe: false,
    ...own,
  });
});

it("names the variables of a path", () => {
  expect(variables("/pets/{id}/toys/{rest+}")).toEqual(["id", "rest"]);
  expect(variables("$default")).toEqual([]);
});

it("writes a span in the unit that suits it", () => {
  expect([50, 1000, 1500, 29_000, 60_000, 900_000].map(span)).toEqual([
    "50 ms",
    "1 s",
    "1.5 s",
    "29 s",
    "60 s",
    "15 min",
  ]);
});
