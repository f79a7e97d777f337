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
  ACCESS_KEYS: "Access keys",
  MEMBERS: "Members, invited ones too",
  INVITATIONS: "Open invitations",
};

export const LIMIT_NAMES = Object.keys(LIMITS) as TenantLimitName[];
