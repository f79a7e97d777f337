import type { TenantLimitName } from "../api/generated/graphql";

/** What a tenant may have so many of, in the order of the page. */
export const LIMITS: Record<TenantLimitName, string> = {
  APIS: "APIs",
  ROUTES_PER_API: "Routes of an API",
  RESOURCES_PER_API: "Resources of an API",
  INTEGRATIONS_PER_API: "Integrations of an API",
  STAGES_PER_API: "Stages of an API",
  DEPLOYMENTS_PER_API: "Deployments of an API",
  USAGE_PLANS: "Usage plans",
  API_KEYS: "API keys",
  CONSUMERS: "Consumers",
  SECRETS: "Secrets",
  VPC_LINKS: "VPC links",
  CLIENT_CERTIFICATES: "Client certificates",
  ACCESS_KEYS: "Access keys",
  MEMBERS: "Members, invited ones too",
  INVITATIONS: "Open invitations",
  INTEGRATION_TIMEOUT_SECONDS: "Seconds for an answer of a backend",
  REQUESTS_PER_SECOND: "Requests a second",
  REQUEST_BURST: "Requests at once",
};

/** Nodes hold these, and nothing says how far they are used. */
const RATES: TenantLimitName[] = ["REQUESTS_PER_SECOND", "REQUEST_BURST"];
export const isRate = (name: TenantLimitName) => RATES.includes(name);
/** Nobody uses it up. */
export const isUnused = (name: TenantLimitName) => isRate(name) || name === "INTEGRATION_TIMEOUT_SECONDS";

/** Whether calls are limited: where one of the two is set, the other follows from it. */
export const areRated = (limits: readonly { name: TenantLimitName; adjusted: boolean }[]) =>
  limits.some(({ name, adjusted }) => adjusted && isRate(name));

export const LIMIT_NAMES = Object.keys(LIMITS) as TenantLimitName[];
