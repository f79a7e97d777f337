/** Every address of the console; the only place that writes one. What each returns is spread into a Link or navigate. */
export const paths = {
  overview: (search: OverviewSearch = {}) => ({ to: "/", search }) as const,
  signUp: () => ({ to: "/sign-up" }) as const,
  logIn: (next?: string) => ({ to: "/log-in", search: { next } }) as const,
  logOut: () => ({ to: "/log-out" }) as const,
  invitation: (token?: string) => ({ to: "/invitation", search: { token } }) as const,
  resetPassword: () => ({ to: "/reset-password", search: {} }) as const,
  verifyEmail: () => ({ to: "/verify-email", search: {} }) as const,
  firstRequest: (apiKey: string) => ({ to: "/first-request", search: { apiKey } }) as const,

  apis: (after?: string) => ({ to: "/apis", search: { after } }) as const,
  newApi: () => ({ to: "/apis/new" }) as const,
  api: (api: string) => ({ to: "/apis/$api", params: { api } }) as const,
  resources: (api: string) => ({ to: "/apis/$api/resources", params: { api } }) as const,
  /** A route's place in the tree, with what is set along its way; `section` is a part of its form. */
  method: (api: string, route: string, section?: string) =>
    ({ to: "/apis/$api/resources/$route", params: { api, route }, hash: section }) as const,
  stages: (api: string) => ({ to: "/apis/$api/stages", params: { api } }) as const,
  stage: (api: string, stage: string) =>
    ({ to: "/apis/$api/stages/$stage", params: { api, stage } }) as const,
  deployments: (api: string) => ({ to: "/apis/$api/deployments", params: { api } }) as const,
  deployment: (api: string, deployment: string) =>
    ({ to: "/apis/$api/deployments/$deployment", params: { api, deployment } }) as const,
  requests: (api: string, filter: RequestsSearch = {}) =>
    ({ to: "/apis/$api/requests", params: { api }, search: filter }) as const,
  /** Why a call was limited, by its request id. */
  explanation: (request?: string) => ({ to: "/explanation", search: { request } }) as const,
  gatewayResponses: (api: string) => ({ to: "/apis/$api/gateway-responses", params: { api } }) as const,
  apiSettings: (api: string) => ({ to: "/apis/$api/settings", params: { api } }) as const,

  usagePlans: (after?: string) => ({ to: "/usage-plans", search: { after } }) as const,
  newUsagePlan: () => ({ to: "/usage-plans/new" }) as const,
  usagePlan: (plan: string) => ({ to: "/usage-plans/$plan", params: { plan } }) as const,

  apiKeys: (after?: string) => ({ to: "/api-keys", search: { after } }) as const,
  newApiKey: (usagePlan?: string) => ({ to: "/api-keys/new", search: { usagePlan } }) as const,
  apiKey: (apiKey: string) => ({ to: "/api-keys/$apiKey", params: { apiKey } }) as const,

  usage: (filter: UsageSearch = {}) => ({ to: "/usage", search: filter }) as const,
  reconciliations: (filter: ReconciliationSearch = {}) =>
    ({ to: "/usage/reconciliations", search: filter }) as const,
  billing: (month?: string) => ({ to: "/billing", search: { month } }) as const,

  settings: () => ({ to: "/settings" }) as const,
  profile: () => ({ to: "/settings/profile" }) as const,
  members: (after?: string) => ({ to: "/settings/members", search: { after } }) as const,
  sessions: (after?: string) => ({ to: "/settings/sessions", search: { after } }) as const,
  accessKeys: (after?: string) => ({ to: "/settings/access-keys", search: { after } }) as const,
  vpcLinks: (after?: string) => ({ to: "/settings/vpc-links", search: { after } }) as const,
  clientCertificates: (after?: string) =>
    ({ to: "/settings/client-certificates", search: { after } }) as const,
  secrets: (after?: string) => ({ to: "/settings/secrets", search: { after } }) as const,
  audit: (filter: AuditSearch = {}) => ({ to: "/settings/audit", search: filter }) as const,
  auditEntry: (entry: string) => ({ to: "/settings/audit/$entry", params: { entry } }) as const,
  managementRequests: (filter: ManagementRequestsSearch = {}) =>
    ({ to: "/settings/requests", search: filter }) as const,
  /** The server writes this one into errors, as `logUrl`. */
  managementRequest: (request: string) =>
    ({ to: "/settings/requests/$request", params: { request } }) as const,

  operator: () => ({ to: "/operator", search: {} }) as const,
  tenants: (filter: TenantsSearch = {}) => ({ to: "/operator/tenants", search: filter }) as const,
  tenant: (tenant: string) => ({ to: "/operator/tenants/$tenant", params: { tenant } }) as const,
  tenantInvitations: (after?: string) => ({ to: "/operator/invitations", search: { after } }) as const,
  nodes: (filter: NodesSearch = {}) => ({ to: "/operator/nodes", search: filter }) as const,
  node: (node: string) => ({ to: "/operator/nodes/$node", params: { node } }) as const,
  quarantine: (filter: QuarantineSearch = {}) =>
    ({ to: "/operator/quarantined-segments", search: filter }) as const,
  quarantinedSegment: (segment: string) =>
    ({ to: "/operator/quarantined-segments/$segment", params: { segment } }) as const,
  tenantReconciliations: (filter: ReconciliationSearch = {}) =>
    ({ to: "/operator/reconciliations", search: filter }) as const,
  joinTokens: (after?: string) => ({ to: "/operator/join-tokens", search: { after } }) as const,
  price: () => ({ to: "/operator/price" }) as const,
  operatorAudit: (filter: AuditSearch = {}) => ({ to: "/operator/audit", search: filter }) as const,
};

/** What the overview's chart shows: the last day where nothing is said. */
export type OverviewSearch = { range?: "7d" | "30d"; view?: "table" };

export function overviewSearch({ range, view }: Record<string, unknown>): OverviewSearch {
  return {
    ...(range === "7d" || range === "30d" ? { range } : {}),
    ...(view === "table" ? { view } : {}),
  };
}

/** The filters of the usage table, as they stand in its URL. Instants are RFC 3339, UTC. */
export type UsageSearch = {
  api?: string;
  stage?: string;
  route?: string;
  apiKey?: string;
  usagePlan?: string;
  consumer?: string;
  /** A status class, 0 to 5. */
  status?: number;
  interval?: Interval;
  since?: string;
  until?: string;
  /** What calls are told apart by; status classes where nothing is said. */
  by?: Exclude<Dimension, "STATUS_CLASS">;
  /** Beside the stretch of time before. */
  compare?: true;
  after?: string;
  /** Of the list of groups. */
  groupsAfter?: string;
  /** Of the chart above the rows. */
  view?: "table";
};

const INTERVALS = ["MINUTE", "HOUR", "DAY"] as const;
export type Interval = (typeof INTERVALS)[number];
const DIMENSIONS = ["API", "STAGE", "ROUTE", "API_KEY", "USAGE_PLAN", "CONSUMER", "STATUS_CLASS"] as const;
export type Dimension = (typeof DIMENSIONS)[number];

/** The filters of the audit log, as they stand in its URL. Instants are RFC 3339, UTC. */
export type AuditSearch = {
  actor?: string;
  noun?: string;
  action?: string;
  nounId?: string;
  requestId?: string;
  since?: string;
  until?: string;
  after?: string;
};

export function auditSearch(search: Record<string, unknown>): AuditSearch {
  const { since, until, ...rest } = texts(
    "actor",
    "noun",
    "action",
    "nounId",
    "requestId",
    "since",
    "until",
    "after",
  )(search);
  return {
    ...rest,
    ...(since && isInstant(since) ? { since } : {}),
    ...(until && isInstant(until) ? { until } : {}),
  };
}

/** The filters of the log of requests to the management API, as they stand in its URL. */
export type ManagementRequestsSearch = {
  requestId?: string;
  actor?: string;
  status?: number;
  failed?: boolean;
  after?: string;
};

export function managementRequestsSearch(search: Record<string, unknown>): ManagementRequestsSearch {
  const { status, ...rest } = texts("requestId", "actor", "status", "after")(search);
  return {
    ...rest,
    ...(status && /^[1-5]\d\d$/.test(status) ? { status: Number(status) } : {}),
    ...(typeof search.failed === "boolean" ? { failed: search.failed } : {}),
  };
}

/** Which requests of an API are watched. */
export type RequestsSearch = { stage?: string; status?: number };

export function requestsSearch(search: Record<string, unknown>): RequestsSearch {
  const { stage, status } = texts("stage", "status")(search);
  return {
    ...(stage ? { stage } : {}),
    ...(status && /^[2-5]$/.test(status) ? { status: Number(status) } : {}),
  };
}

const STATUSES = ["ACTIVE", "SUSPENDED", "CLOSED"] as const;

/** The filters of the operator's list of tenants, as they stand in its URL. */
export type TenantsSearch = { search?: string; status?: (typeof STATUSES)[number]; after?: string };

export function tenantsSearch(search: Record<string, unknown>): TenantsSearch {
  const { status, ...rest } = texts("search", "status", "after")(search);
  const known = STATUSES.find((one) => one === status);
  return { ...rest, ...(known ? { status: known } : {}) };
}

const FLEET_STATES = ["LIVE", "OFFLINE", "REVOKED"] as const;

/** The filter of the operator's list of nodes. */
export type NodesSearch = { state?: (typeof FLEET_STATES)[number]; after?: string };

export function nodesSearch(search: Record<string, unknown>): NodesSearch {
  const { state, ...rest } = texts("state", "after")(search);
  const known = FLEET_STATES.find((one) => one === state);
  return { ...rest, ...(known ? { state: known } : {}) };
}

const QUARANTINE_STATES = ["SETTLED", "ALL"] as const;

/** The filters of the operator's list of quarantined segments; without a state it is of what is open. */
export type QuarantineSearch = {
  node?: string;
  state?: (typeof QUARANTINE_STATES)[number];
  after?: string;
};

export function quarantineSearch(search: Record<string, unknown>): QuarantineSearch {
  const { state, ...rest } = texts("node", "state", "after")(search);
  const known = QUARANTINE_STATES.find((one) => one === state);
  return { ...rest, ...(known ? { state: known } : {}) };
}

const RECONCILIATION_KINDS = ["ACCESS_LOG", "QUOTA"] as const;

/** The filters of a list of reconciliations; `tenant` is the operator's. */
export type ReconciliationSearch = {
  tenant?: string;
  kind?: (typeof RECONCILIATION_KINDS)[number];
  drifting?: true;
  after?: string;
};

export function reconciliationSearch(search: Record<string, unknown>): ReconciliationSearch {
  const { kind, ...rest } = texts("tenant", "kind", "after")(search);
  const known = RECONCILIATION_KINDS.find((one) => one === kind);
  const drifting = search.drifting === true || search.drifting === "true";
  return { ...rest, ...(known ? { kind: known } : {}), ...(drifting ? { drifting } : {}) };
}

/** The named search parameters that are non-empty text; everything else in the URL is dropped. */
export function texts<const K extends string>(...names: K[]) {
  return (search: Record<string, unknown>): { [N in K]?: string } => {
    const kept: { [N in K]?: string } = {};
    for (const name of names) {
      const value = search[name];
      if (typeof value === "string" && value !== "") kept[name] = value;
      // The router reads `month=2026` as a number; here every parameter is text.
      else if (typeof value === "number") kept[name] = String(value);
    }
    return kept;
  };
}

/** The usage table's filters, from what the URL holds; what does not parse is dropped. */
export function usageSearch(search: Record<string, unknown>): UsageSearch {
  const { interval, since, until, view, by, status, ...rest } = texts(
    "api",
    "stage",
    "route",
    "apiKey",
    "usagePlan",
    "consumer",
    "status",
    "interval",
    "since",
    "until",
    "by",
    "after",
    "groupsAfter",
    "view",
  )(search);
  const known = INTERVALS.find((one) => one === interval);
  const dimension = DIMENSIONS.find((one) => one === by);
  return {
    ...rest,
    ...(known ? { interval: known } : {}),
    ...(dimension && dimension !== "STATUS_CLASS" ? { by: dimension } : {}),
    ...(status && /^[0-5]$/.test(status) ? { status: Number(status) } : {}),
    ...(search.compare === true ? { compare: true } : {}),
    ...(since && isInstant(since) ? { since } : {}),
    ...(until && isInstant(until) ? { until } : {}),
    ...(view === "table" ? { view } : {}),
  };
}

function isInstant(text: string): boolean {
  return /^\d{4}-\d\d-\d\dT/.test(text) && !Number.isNaN(Date.parse(text));
}

/** Where log-in may send a person: a path of this origin, never another site. */
export function safeNext(next: string | undefined): string {
  if (!next?.startsWith("/") || next.startsWith("//") || next.includes("\\")) return "/";
  return next;
}
