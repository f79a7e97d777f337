/** The way of a call through a route, as the boxes of a diagram: what is set in each, and what holds where nothing is. */
import type { Dialect } from "../api/generated/graphql";
import { throttle as throttleText } from "./format";

/** What a fact leads to: a part of the route's form by its name, a stage, or the API's settings. */
export type Place = { section: string } | { stage: string } | { settings: true };

export type Fact = {
  name: string;
  value: string;
  /** Whether somebody chose it; else it is the default. */
  own: boolean;
  /** It gives up a protection. */
  unsafe?: boolean;
  /** Something to be copied: a path, a URL. */
  code?: boolean;
  /** Where it is set, if not where its box leads. */
  at?: Place;
};

export type Box = { title: string; at: Place; facts: Fact[] };

type Header = { name: string; value: string };

/** What of a route's integration is drawn. */
export type Integration = {
  type: string;
  uri: string;
  method: string;
  protocolVersion: string;
  payloadFormatVersion?: string | null;
  preserveHost: boolean;
  forwarded?: string | null;
  responseTransferMode?: string | null;
  connectTimeoutMs: number;
  firstByteTimeoutMs: number;
  idleTimeoutMs: number;
  timeoutMs: number;
  retryPolicy?: { attempts: number; statuses: readonly number[] } | null;
  circuitBreaker?: { consecutiveFailures: number; failurePercent: number } | null;
  tlsConfig?: { insecureSkipVerification: boolean; serverNameToVerify: string; caBundle: string } | null;
  aws?: { endpointUrl: string; invocationType: string; subtype?: string | null } | null;
  mockResponse?: { status: number; headers: readonly Header[] } | null;
  contentHandling?: string | null;
  /** Those of a mock; asked for one route at a time. */
  examples?: readonly { status: number }[];
  requestTemplates?: readonly unknown[];
  integrationResponses?: readonly { statusCode: number; selectionPattern: string }[];
};

export type Route = {
  routeKey: string;
  path: string;
  apiKeyRequired: boolean;
  operationName: string;
  /** Null: the API's; without origins: what the backend says. */
  corsConfiguration?: Cors | null;
  integration?: Integration | null;
};

type Cors = { allowOrigins: readonly string[] };
type Throttle = { rateLimit: number; burstLimit: number; enforcement: string };
type InFlight = { maxInFlight: number };

export type Stage = {
  id: string;
  name: string;
  rateLimitHeaders: boolean;
  throttle?: Throttle | null;
  routeThrottles: readonly (Throttle & { routeKey: string })[];
  concurrencyLimit?: InFlight | null;
  routeConcurrencyLimits: readonly (InFlight & { routeKey: string })[];
};

/** The API that a route is of. */
export type Around = {
  dialect: Dialect;
  apiKeyLocations: readonly string[];
  corsConfiguration?: Cors | null;
  stages: readonly Stage[];
};

/** Six boxes, in the order in which a call and its answer pass them. */
export function flow(route: Route, around: Around): Box[] {
  const { integration } = route;
  return [
    client(route, around),
    methodRequest(route, around),
    { title: "Integration request", at: TARGET, facts: request(integration, around.dialect) },
    { title: "Backend", at: TARGET, facts: backend(integration) },
    { title: "Integration response", at: answeredAt(integration), facts: response(integration, around) },
    methodResponse(route, around),
  ];
}

const TARGET: Place = { section: "target" };

const own = (name: string, value: string, more: Partial<Fact> = {}): Fact => ({
  name,
  value,
  own: true,
  ...more,
});
const byDefault = (name: string, value: string, more: Partial<Fact> = {}): Fact => ({
  ...own(name, value, more),
  own: false,
});

function client({ routeKey, apiKeyRequired }: Route, { apiKeyLocations }: Around): Box {
  const facts = [own("Calls", routeKey, { code: true })];
  if (apiKeyRequired) {
    const places = apiKeyLocations.map((place) => place.replace(/^\$request\./, "").replace(".", " "));
    facts.push(own("Its API key is in", places.join(", "), { at: { settings: true } }));
  }
  return { title: "Client", at: { section: "method" }, facts };
}

/** `id` and `rest` of `/pets/{id}/{rest+}`. */
export function variables(path: string): string[] {
  return [...path.matchAll(/\{([^{}+]+)\+?\}/g)].map(([, name]) => name ?? "");
}

function methodRequest(route: Route, { stages }: Around): Box {
  const names = variables(route.path);
  return {
    title: "Method request",
    at: { section: "method" },
    facts: [
      route.apiKeyRequired ? own("API key", "required") : byDefault("API key", "not asked for"),
      names.length > 0
        ? own("Path parameters", names.join(", "), { code: true })
        : byDefault("Path parameters", "none"),
      ...limits(route, stages),
    ],
  };
}

/** How many stages are told of one by one; a diagram has little room. */
const STAGES_SHOWN = 3;

/** What limits calls of a route, on each stage that limits them. */
function limits({ routeKey, apiKeyRequired }: Route, stages: readonly Stage[]): Fact[] {
  const limited = stages.flatMap(({ id, name, ...stage }) => {
    const ofRoute = stage.routeThrottles.find((one) => one.routeKey === routeKey);
    const inFlight = stage.routeConcurrencyLimits.find((one) => one.routeKey === routeKey);
    const said = [
      ofRoute && throttleText(ofRoute),
      stage.throttle && `${throttleText(stage.throttle)} of all routes`,
      inFlight && `${inFlight.maxInFlight} in progress`,
      stage.concurrencyLimit && `${stage.concurrencyLimit.maxInFlight} in progress of all routes`,
    ].filter((text) => !!text);
    return said.length > 0 ? [own(`Throttle on ${name}`, said.join("; "), { at: { stage: id } })] : [];
  });
  if (limited.length === 0) return [byDefault("Throttle", apiKeyRequired ? "by usage plan alone" : "none")];
  const more = limited.length - STAGES_SHOWN;
  return more > 0
    ? [
        ...limited.slice(0, STAGES_SHOWN),
        own("Throttle", `on ${more} more ${more === 1 ? "stage" : "stages"}`),
      ]
    : limited;
}

function request(integration: Integration | null | undefined, dialect: Dialect): Fact[] {
  if (!integration) return [byDefault("Type", "none yet: calls cannot be answered")];
  switch (integration.type) {
    case "MOCK": {
      const templates = integration.requestTemplates?.length ?? 0;
      return [
        own("Type", "mock"),
        templates > 0
          ? own("Request templates", String(templates), { at: { section: "mock" } })
          : byDefault("Mapping", "none: the request is not read"),
      ];
    }
    case "AWS_PROXY":
      if (integration.aws?.subtype)
        return [
          own("Type", "action of a service"),
          own("Mapping", "its parameters, of the call", { at: { section: "parameters" } }),
          own("Signed by", "a secret", FUNCTION),
          timeouts(integration, dialect),
          circuit(integration),
        ];
      return [
        own("Type", "function"),
        own("Mapping", `an event of format ${integration.payloadFormatVersion ?? "2.0"}`),
        ...(integration.aws
          ? [invocation(integration.aws.invocationType), own("Signed by", "a secret", FUNCTION)]
          : []),
        timeouts(integration, dialect),
        circuit(integration),
      ];
    case "AWS":
      return [
        own("Type", "service of AWS"),
        bodies(integration, "the body passes as it came"),
        own("Signed by", "a secret", FUNCTION),
        ...(integration.aws?.invocationType === "EVENT" ? [invocation("EVENT")] : []),
        timeouts(integration, dialect),
        circuit(integration),
      ];
    case "HTTP":
      return [
        own("Type", "HTTP"),
        calledBy(integration),
        bodies(integration, "the body passes, with the fields that say what it is"),
        timeouts(integration, dialect),
        retries(integration),
        circuit(integration),
      ];
    default:
      return [
        own("Type", "HTTP proxy"),
        calledBy(integration),
        byDefault("Mapping", "none: passes as it came"),
        ...forwarded(integration),
        timeouts(integration, dialect),
        retries(integration),
        circuit(integration),
      ];
  }
}

const HANDLED: Record<string, string> = {
  CONVERT_TO_BINARY: "the body is base64 of what goes on",
  CONVERT_TO_TEXT: "the body goes on as text, a binary one as base64",
};

const bodies = ({ contentHandling }: Integration, passed: string): Fact =>
  contentHandling
    ? own("Mapping", HANDLED[contentHandling] ?? contentHandling, { at: { section: "responses" } })
    : byDefault("Mapping", `none: ${passed}`);

const calledBy = ({ method }: Integration) =>
  method && method !== "ANY" ? own("Method", method, { code: true }) : byDefault("Method", "the caller's");

const FUNCTION = { at: { section: "function" } } as const;

const invocation = (type: string) =>
  type === "EVENT"
    ? own("Invocation", "callers do not wait", FUNCTION)
    : byDefault("Invocation", "callers wait", FUNCTION);

const FORWARDED: Record<string, string> = {
  APPEND: "the caller's address, behind trusted proxies'",
  REPLACE: "the client's address alone",
  REMOVE: "nothing",
};

function forwarded({ forwarded: policy, preserveHost }: Integration): Fact[] {
  const at: Place = { section: "forwarding" };
  const told = FORWARDED[policy ?? "APPEND"] ?? "";
  return [
    policy ? own("Told of callers", told, { at }) : byDefault("Told of callers", told, { at }),
    preserveHost ? own("Host", "the caller's", { at }) : byDefault("Host", "the backend's", { at }),
  ];
}

const MINUTE = 60_000;

/** What data-plane/src/dialect.rs allows an exchange in all; `undefined`: as long as it takes. */
function longest(dialect: Dialect, streams: boolean): number | undefined {
  if (dialect === "NATIVE") return undefined;
  if (streams) return 15 * MINUTE;
  return dialect === "AWS_REST" ? 29_000 : 30_000;
}

/** `29 s`, `1.5 s`, `50 ms`, `15 min` */
export function span(ms: number): string {
  if (ms >= 2 * MINUTE && ms % MINUTE === 0) return `${ms / MINUTE} min`;
  return ms >= 1000 ? `${Number((ms / 1000).toFixed(3))} s` : `${ms} ms`;
}

function timeouts(integration: Integration, dialect: Dialect): Fact {
  const { connectTimeoutMs, firstByteTimeoutMs, idleTimeoutMs, timeoutMs } = integration;
  const at: Place = { section: "timeouts" };
  const total = timeoutMs || longest(dialect, integration.responseTransferMode === "STREAM");
  const said = [
    total ? `${span(total)} in all` : !firstByteTimeoutMs && "30 s to the first byte",
    firstByteTimeoutMs > 0 && `${span(firstByteTimeoutMs)} to the first byte`,
    connectTimeoutMs > 0 && `${span(connectTimeoutMs)} to connect`,
    idleTimeoutMs > 0 && `${span(idleTimeoutMs)} between two pieces`,
  ].filter((text) => !!text);
  const isOwn = connectTimeoutMs + firstByteTimeoutMs + idleTimeoutMs + timeoutMs > 0;
  return { name: "Timeout", value: said.join(", "), own: isOwn, at };
}

const RESILIENCE = { at: { section: "resilience" } } as const;

function retries({ retryPolicy }: Integration): Fact {
  const name = "Retries";
  if (!retryPolicy) return byDefault(name, "none", RESILIENCE);
  const { attempts, statuses } = retryPolicy;
  const on = statuses.length > 0 ? `, also on ${statuses.join(", ")}` : "";
  return own(name, `at most ${attempts}${on}`, RESILIENCE);
}

function circuit({ circuitBreaker }: Integration): Fact {
  const name = "Circuit breaker";
  const said = [
    circuitBreaker?.consecutiveFailures && `${circuitBreaker.consecutiveFailures} failures in a row`,
    circuitBreaker?.failurePercent && `${circuitBreaker.failurePercent} % failures`,
  ].filter((text) => !!text);
  return said.length > 0
    ? own(name, `opens at ${said.join(" or ")}`, RESILIENCE)
    : byDefault(name, "none", RESILIENCE);
}

function certificate({ tlsConfig }: Integration): Fact {
  if (!tlsConfig) return byDefault("TLS", "yes, its certificate is checked");
  const { insecureSkipVerification, serverNameToVerify, caBundle } = tlsConfig;
  const said = [
    insecureSkipVerification && "insecure: who issued its certificate is not checked",
    caBundle && "its certificate is by the route's own authorities",
    serverNameToVerify && `known as ${serverNameToVerify}`,
  ].filter((text) => !!text);
  return own("TLS", said.join(", "), { unsafe: insecureSkipVerification, at: { section: "tls" } });
}

const CALLED: Record<string, string> = { AWS_PROXY: "Function", AWS: "ARN" };

function backend(integration: Integration | null | undefined): Fact[] {
  if (!integration) return [byDefault("Goes to", "nowhere yet")];
  if (integration.type === "MOCK") return [byDefault("Goes to", "no backend: the answer is made here")];
  const { uri, aws, protocolVersion } = integration;
  const called = uri.startsWith("arn:") || aws?.subtype ? aws?.endpointUrl || "https://" : uri;
  return [
    aws?.subtype
      ? own("Action", aws.subtype, { code: true })
      : own(CALLED[integration.type] ?? "URL", uri, { code: true }),
    ...(aws?.endpointUrl ? [own("Endpoint", aws.endpointUrl, { code: true, ...FUNCTION })] : []),
    protocolVersion === "HTTP2" ? own("Protocol", "HTTP/2") : byDefault("Protocol", "HTTP/1.1"),
    called.startsWith("https:") ? certificate(integration) : own("TLS", "none: plain HTTP"),
  ];
}

/** Where what is answered is set. */
function answeredAt(integration: Integration | null | undefined): Place {
  if (integration?.type === "MOCK") return { section: "mock" };
  if (integration?.type === "AWS" || integration?.type === "HTTP") return { section: "responses" };
  return integration?.type === "HTTP_PROXY" ? { section: "answers" } : TARGET;
}

function response(integration: Integration | null | undefined, { dialect }: Around): Fact[] {
  if (!integration) return [byDefault("Answer", "none yet")];
  switch (integration.type) {
    case "MOCK":
      return [mock(integration)];
    case "AWS_PROXY":
      if (integration.aws?.subtype) return [byDefault("Mapping", "none: what is answered passes as it came")];
      return integration.aws?.invocationType === "EVENT"
        ? [own("Answer", `${dialect === "NATIVE" ? 202 : 200} at once, with nothing`, FUNCTION)]
        : [
            byDefault(
              "Mapping",
              `the function's answer, of format ${integration.payloadFormatVersion ?? "2.0"}`,
            ),
          ];
    case "HTTP":
    case "AWS": {
      const count = integration.integrationResponses?.length ?? 0;
      const name = "Integration responses";
      return [
        count > 0 ? own(name, String(count)) : byDefault(name, "none: what is answered passes as it came"),
      ];
    }
    default: {
      const mode = integration.responseTransferMode;
      const name = "Transfer mode";
      const streams = mode ? mode === "STREAM" : dialect === "NATIVE";
      const value = streams ? "streamed as it comes" : "buffered, at most 10 MiB";
      return [
        mode ? own(name, value) : byDefault(name, value),
        byDefault("Mapping", "none: passes as it came"),
      ];
    }
  }
}

function mock({ mockResponse, examples, integrationResponses }: Integration): Fact {
  const statuses = (list: readonly number[]) => [...new Set(list)].sort((a, b) => a - b).join(", ");
  if (examples && examples.length > 0)
    return own("Examples", `${examples.length}: ${statuses(examples.map(({ status }) => status))}`);
  if (integrationResponses && integrationResponses.length > 0) {
    const codes = statuses(integrationResponses.map(({ statusCode }) => statusCode));
    return own("Mock responses", `${integrationResponses.length}: ${codes}`);
  }
  if (!mockResponse) return own("Mock responses", "by the request");
  const type = mockResponse.headers.find(({ name }) => name.toLowerCase() === "content-type")?.value;
  return own("Mock response", [mockResponse.status, type].filter(Boolean).join(", "));
}

function methodResponse(route: Route, around: Around): Box {
  const { integration, operationName } = route;
  return {
    title: "Method response",
    at: { section: "documents" },
    facts: [
      byDefault("Status and headers", integration ? "as the integration answers" : "none yet"),
      cors(route.corsConfiguration, around.corsConfiguration),
      limitHeaders(around.dialect, around.stages),
      operationName
        ? own("Operation name", operationName, { code: true })
        : byDefault("Operation name", "none"),
    ],
  };
}

/** How many origins are named. */
const ORIGINS_SHOWN = 2;

/** Which pages of other origins may read answers. */
function cors(ofRoute: Cors | null | undefined, ofApi: Cors | null | undefined): Fact {
  const name = "Pages of other origins";
  const at: Place = { section: "cors" };
  const { allowOrigins } = ofRoute ?? ofApi ?? { allowOrigins: [] };
  if (allowOrigins.length === 0) {
    const value = "as the backend says";
    return ofRoute ? own(name, value, { at }) : byDefault(name, value, { at });
  }
  const more = allowOrigins.length - ORIGINS_SHOWN;
  const origins = allowOrigins.slice(0, ORIGINS_SHOWN).join(", ") + (more > 0 ? ` and ${more} more` : "");
  return own(name, ofRoute ? origins : `${origins}, by the API`, { at });
}

/** Which stages tell callers what is left of their limits. */
function limitHeaders(dialect: Dialect, stages: readonly Stage[]): Fact {
  const name = "RateLimit headers";
  const usual = dialect === "NATIVE";
  const other = stages.find(({ rateLimitHeaders }) => rateLimitHeaders !== usual);
  if (!other) return byDefault(name, usual ? "sent" : "not sent");
  const telling = stages.filter(({ rateLimitHeaders }) => rateLimitHeaders).map((stage) => stage.name);
  const more = telling.length > STAGES_SHOWN ? " and more" : "";
  const value = telling.length > 0 ? `on ${telling.slice(0, STAGES_SHOWN).join(", ")}${more}` : "not sent";
  return own(name, value, { at: { stage: other.id } });
}
