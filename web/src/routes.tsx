import { createRootRoute, createRoute, lazyRouteComponent, redirect } from "@tanstack/react-router";
import { session } from "./api/client";
import { SignedOut } from "./api/session";
import {
  auditSearch,
  managementRequestsSearch,
  nodesSearch,
  overviewSearch,
  paths,
  quarantineSearch,
  reconciliationSearch,
  requestsSearch,
  safeNext,
  tenantsSearch,
  texts,
  usageSearch,
} from "./lib/paths";

const root = createRootRoute();

/** Pages for who has no session; who has one is sent on. */
const visitor = createRoute({
  getParentRoute: () => root,
  id: "visitor",
  component: lazyRouteComponent(() => import("./components/visitor-frame"), "VisitorFrame"),
});

async function isLoggedIn(): Promise<boolean> {
  return session.accessToken().then(
    () => true,
    () => false,
  );
}

const signUp = createRoute({
  getParentRoute: () => visitor,
  path: "/sign-up",
  validateSearch: texts("token"),
  beforeLoad: async () => {
    if (await isLoggedIn()) throw redirect(paths.overview());
  },
  component: lazyRouteComponent(() => import("./pages/sign-up"), "SignUpPage"),
});

const logInSearch = texts("next");
const logIn = createRoute({
  getParentRoute: () => visitor,
  path: "/log-in",
  validateSearch: logInSearch,
  beforeLoad: async ({ search }) => {
    if (await isLoggedIn()) throw redirect({ href: safeNext(search.next) });
  },
  component: lazyRouteComponent(() => import("./pages/log-in"), "LogInPage"),
});

const logOut = createRoute({
  getParentRoute: () => visitor,
  path: "/log-out",
  component: lazyRouteComponent(() => import("./pages/log-out"), "LogOutPage"),
});

const invitation = createRoute({
  getParentRoute: () => visitor,
  path: "/invitation",
  validateSearch: texts("token"),
  component: lazyRouteComponent(() => import("./pages/invitation"), "InvitationPage"),
});

const resetPassword = createRoute({
  getParentRoute: () => visitor,
  path: "/reset-password",
  validateSearch: texts("token"),
  component: lazyRouteComponent(() => import("./pages/reset-password"), "ResetPasswordPage"),
});

const verifyEmail = createRoute({
  getParentRoute: () => visitor,
  path: "/verify-email",
  validateSearch: texts("token"),
  component: lazyRouteComponent(() => import("./pages/verify-email"), "VerifyEmailPage"),
});

const operator = createRoute({
  getParentRoute: () => visitor,
  path: "/operator",
  validateSearch: texts("token"),
  component: lazyRouteComponent(() => import("./pages/operator/operator"), "OperatorPage"),
});

async function demandSession({ location }: { location: { href: string } }) {
  try {
    await session.accessToken();
  } catch (error) {
    if (error instanceof SignedOut) {
      throw redirect(paths.logIn(location.href === "/" ? undefined : location.href));
    }
    throw error;
  }
}

/** Everything of a tenant: needs a session, shown in the frame with the navigation. */
const tenant = createRoute({
  getParentRoute: () => root,
  id: "tenant",
  beforeLoad: demandSession,
  component: lazyRouteComponent(() => import("./components/shell"), "Shell"),
});

const overview = createRoute({
  getParentRoute: () => tenant,
  path: "/",
  validateSearch: overviewSearch,
  component: lazyRouteComponent(() => import("./pages/overview"), "OverviewPage"),
});

const firstRequest = createRoute({
  getParentRoute: () => tenant,
  path: "/first-request",
  validateSearch: texts("apiKey"),
  component: lazyRouteComponent(() => import("./pages/first-request"), "FirstRequestPage"),
});

const apis = createRoute({
  getParentRoute: () => tenant,
  path: "/apis",
  validateSearch: texts("after"),
  component: lazyRouteComponent(() => import("./pages/apis/list"), "ApisPage"),
});
const newApi = createRoute({
  getParentRoute: () => tenant,
  path: "/apis/new",
  component: lazyRouteComponent(() => import("./pages/apis/new"), "NewApiPage"),
});
const api = createRoute({
  getParentRoute: () => tenant,
  path: "/apis/$api",
  component: lazyRouteComponent(() => import("./pages/apis/api"), "ApiFrame"),
});
const routes = createRoute({
  getParentRoute: () => api,
  path: "/",
  component: lazyRouteComponent(() => import("./pages/apis/routes"), "RoutesPage"),
});
const resources = createRoute({
  getParentRoute: () => api,
  path: "/resources",
  component: lazyRouteComponent(() => import("./pages/apis/resources"), "ResourcesPage"),
});
const method = createRoute({
  getParentRoute: () => resources,
  path: "/$route",
  component: lazyRouteComponent(() => import("./pages/apis/method"), "MethodPage"),
});
const stages = createRoute({
  getParentRoute: () => api,
  path: "/stages",
  component: lazyRouteComponent(() => import("./pages/apis/stages"), "StagesPage"),
});
const stage = createRoute({
  getParentRoute: () => api,
  path: "/stages/$stage",
  component: lazyRouteComponent(() => import("./pages/apis/stage"), "StagePage"),
});
const deployments = createRoute({
  getParentRoute: () => api,
  path: "/deployments",
  component: lazyRouteComponent(() => import("./pages/apis/deployments"), "DeploymentsPage"),
});
const deployment = createRoute({
  getParentRoute: () => api,
  path: "/deployments/$deployment",
  component: lazyRouteComponent(() => import("./pages/apis/deployment"), "DeploymentPage"),
});
const requests = createRoute({
  getParentRoute: () => api,
  path: "/requests",
  validateSearch: requestsSearch,
  component: lazyRouteComponent(() => import("./pages/apis/requests"), "RequestsPage"),
});
const gatewayResponses = createRoute({
  getParentRoute: () => api,
  path: "/gateway-responses",
  component: lazyRouteComponent(() => import("./pages/apis/gateway-responses"), "GatewayResponsesPage"),
});
const apiSettings = createRoute({
  getParentRoute: () => api,
  path: "/settings",
  component: lazyRouteComponent(() => import("./pages/apis/settings"), "ApiSettingsPage"),
});

const explanation = createRoute({
  getParentRoute: () => tenant,
  path: "/explanation",
  validateSearch: texts("request"),
  component: lazyRouteComponent(() => import("./pages/explanation"), "ExplanationPage"),
});

const usagePlans = createRoute({
  getParentRoute: () => tenant,
  path: "/usage-plans",
  validateSearch: texts("after"),
  component: lazyRouteComponent(() => import("./pages/usage-plans/list"), "UsagePlansPage"),
});
const newUsagePlan = createRoute({
  getParentRoute: () => tenant,
  path: "/usage-plans/new",
  component: lazyRouteComponent(() => import("./pages/usage-plans/new"), "NewUsagePlanPage"),
});
const usagePlan = createRoute({
  getParentRoute: () => tenant,
  path: "/usage-plans/$plan",
  component: lazyRouteComponent(() => import("./pages/usage-plans/usage-plan"), "UsagePlanPage"),
});

const apiKeys = createRoute({
  getParentRoute: () => tenant,
  path: "/api-keys",
  validateSearch: texts("after"),
  component: lazyRouteComponent(() => import("./pages/api-keys/list"), "ApiKeysPage"),
});
const newApiKey = createRoute({
  getParentRoute: () => tenant,
  path: "/api-keys/new",
  validateSearch: texts("usagePlan"),
  component: lazyRouteComponent(() => import("./pages/api-keys/new"), "NewApiKeyPage"),
});
const apiKey = createRoute({
  getParentRoute: () => tenant,
  path: "/api-keys/$apiKey",
  component: lazyRouteComponent(() => import("./pages/api-keys/api-key"), "ApiKeyPage"),
});

const usage = createRoute({
  getParentRoute: () => tenant,
  path: "/usage",
  validateSearch: usageSearch,
  component: lazyRouteComponent(() => import("./pages/usage/usage"), "UsagePage"),
});
const reconciliations = createRoute({
  getParentRoute: () => tenant,
  path: "/usage/reconciliations",
  validateSearch: reconciliationSearch,
  component: lazyRouteComponent(() => import("./pages/usage/reconciliations"), "ReconciliationsPage"),
});
const billing = createRoute({
  getParentRoute: () => tenant,
  path: "/billing",
  validateSearch: texts("month"),
  component: lazyRouteComponent(() => import("./pages/billing/billing"), "BillingPage"),
});

const settings = createRoute({
  getParentRoute: () => tenant,
  path: "/settings",
  component: lazyRouteComponent(() => import("./pages/settings/frame"), "SettingsFrame"),
});
const tenantSettings = createRoute({
  getParentRoute: () => settings,
  path: "/",
  component: lazyRouteComponent(() => import("./pages/settings/tenant"), "TenantPage"),
});
const profile = createRoute({
  getParentRoute: () => settings,
  path: "/profile",
  component: lazyRouteComponent(() => import("./pages/settings/profile"), "ProfilePage"),
});
const members = createRoute({
  getParentRoute: () => settings,
  path: "/members",
  validateSearch: texts("after"),
  component: lazyRouteComponent(() => import("./pages/settings/members"), "MembersPage"),
});
const sessions = createRoute({
  getParentRoute: () => settings,
  path: "/sessions",
  validateSearch: texts("after"),
  component: lazyRouteComponent(() => import("./pages/settings/sessions"), "SessionsPage"),
});
const accessKeys = createRoute({
  getParentRoute: () => settings,
  path: "/access-keys",
  validateSearch: texts("after"),
  component: lazyRouteComponent(() => import("./pages/settings/access-keys"), "AccessKeysPage"),
});
const secrets = createRoute({
  getParentRoute: () => settings,
  path: "/secrets",
  validateSearch: texts("after"),
  component: lazyRouteComponent(() => import("./pages/settings/secrets"), "SecretsPage"),
});
const vpcLinks = createRoute({
  getParentRoute: () => settings,
  path: "/vpc-links",
  validateSearch: texts("after"),
  component: lazyRouteComponent(() => import("./pages/settings/vpc-links"), "VpcLinksPage"),
});
const clientCertificates = createRoute({
  getParentRoute: () => settings,
  path: "/client-certificates",
  validateSearch: texts("after"),
  component: lazyRouteComponent(
    () => import("./pages/settings/client-certificates"),
    "ClientCertificatesPage",
  ),
});
const audit = createRoute({
  getParentRoute: () => settings,
  path: "/audit",
  validateSearch: auditSearch,
  component: lazyRouteComponent(() => import("./pages/settings/audit"), "AuditPage"),
});

const auditEntry = createRoute({
  getParentRoute: () => settings,
  path: "/audit/$entry",
  component: lazyRouteComponent(() => import("./pages/settings/audit-entry"), "AuditEntryPage"),
});

const managementRequests = createRoute({
  getParentRoute: () => settings,
  path: "/requests",
  validateSearch: managementRequestsSearch,
  component: lazyRouteComponent(() => import("./pages/settings/requests"), "ManagementRequestsPage"),
});

const managementRequest = createRoute({
  getParentRoute: () => settings,
  path: "/requests/$request",
  component: lazyRouteComponent(() => import("./pages/settings/request"), "ManagementRequestPage"),
});

/** What runs the installation: the operator's alone. */
const installation = createRoute({
  getParentRoute: () => root,
  id: "installation",
  beforeLoad: demandSession,
  component: lazyRouteComponent(() => import("./components/operator-shell"), "OperatorShell"),
});
const tenants = createRoute({
  getParentRoute: () => installation,
  path: "/operator/tenants",
  validateSearch: tenantsSearch,
  component: lazyRouteComponent(() => import("./pages/operator/tenants"), "TenantsPage"),
});
const tenantAccount = createRoute({
  getParentRoute: () => installation,
  path: "/operator/tenants/$tenant",
  component: lazyRouteComponent(() => import("./pages/operator/tenant"), "TenantAccountPage"),
});
const nodes = createRoute({
  getParentRoute: () => installation,
  path: "/operator/nodes",
  validateSearch: nodesSearch,
  component: lazyRouteComponent(() => import("./pages/operator/nodes"), "NodesPage"),
});
const node = createRoute({
  getParentRoute: () => installation,
  path: "/operator/nodes/$node",
  component: lazyRouteComponent(() => import("./pages/operator/node"), "NodePage"),
});
const quarantine = createRoute({
  getParentRoute: () => installation,
  path: "/operator/quarantined-segments",
  validateSearch: quarantineSearch,
  component: lazyRouteComponent(() => import("./pages/operator/quarantined-segments"), "QuarantinePage"),
});
const quarantinedSegment = createRoute({
  getParentRoute: () => installation,
  path: "/operator/quarantined-segments/$segment",
  component: lazyRouteComponent(
    () => import("./pages/operator/quarantined-segment"),
    "QuarantinedSegmentPage",
  ),
});
const tenantReconciliations = createRoute({
  getParentRoute: () => installation,
  path: "/operator/reconciliations",
  validateSearch: reconciliationSearch,
  component: lazyRouteComponent(
    () => import("./pages/operator/reconciliations"),
    "TenantReconciliationsPage",
  ),
});
const joinTokens = createRoute({
  getParentRoute: () => installation,
  path: "/operator/join-tokens",
  validateSearch: texts("after"),
  component: lazyRouteComponent(() => import("./pages/operator/join-tokens"), "JoinTokensPage"),
});
const tenantInvitations = createRoute({
  getParentRoute: () => installation,
  path: "/operator/invitations",
  validateSearch: texts("after"),
  component: lazyRouteComponent(() => import("./pages/operator/invitations"), "TenantInvitationsPage"),
});
const price = createRoute({
  getParentRoute: () => installation,
  path: "/operator/price",
  component: lazyRouteComponent(() => import("./pages/operator/price"), "PricePage"),
});
const operatorAudit = createRoute({
  getParentRoute: () => installation,
  path: "/operator/audit",
  validateSearch: auditSearch,
  component: lazyRouteComponent(() => import("./pages/operator/audit"), "OperatorAuditPage"),
});

/** Every URL of the console. */
export const routeTree = root.addChildren([
  visitor.addChildren([signUp, logIn, logOut, invitation, resetPassword, verifyEmail, operator]),
  tenant.addChildren([
    overview,
    firstRequest,
    apis,
    newApi,
    api.addChildren([
      routes,
      resources.addChildren([method]),
      stages,
      stage,
      deployments,
      deployment,
      requests,
      gatewayResponses,
      apiSettings,
    ]),
    explanation,
    usagePlans,
    newUsagePlan,
    usagePlan,
    apiKeys,
    newApiKey,
    apiKey,
    usage,
    reconciliations,
    billing,
    settings.addChildren([
      tenantSettings,
      profile,
      members,
      sessions,
      accessKeys,
      secrets,
      vpcLinks,
      clientCertificates,
      audit,
      auditEntry,
      managementRequests,
      managementRequest,
    ]),
  ]),
  installation.addChildren([
    tenants,
    tenantAccount,
    tenantInvitations,
    nodes,
    node,
    quarantine,
    quarantinedSegment,
    tenantReconciliations,
    joinTokens,
    price,
    operatorAudit,
  ]),
]);
