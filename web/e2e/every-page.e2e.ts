import { createMemoryHistory, createRouter } from "@tanstack/react-router";
import { vi } from "vitest";
import { expect, password, test, unique, url, type Visit } from "./console";
import { becomeOperator } from "./operator";
import { Planter, textFields } from "./plant";

vi.mock("../src/api/client", () => ({ session: {} }));

/** Fields whose text is compared with something, or stands for one of a few things. */
const NOT_KEPT = [
  "acceptInvitation.password",
  "acceptInvitation.token",
  "changeEmail.currentPassword",
  "changeEmail.email",
  "changePassword.currentPassword",
  "changePassword.newPassword",
  "closeTenant.name",
  "createApi.apiKeyLocations",
  "createApi.binaryMediaTypes",
  "createApi.corsConfiguration.allowHeaders",
  "createApi.corsConfiguration.allowMethods",
  "createApi.corsConfiguration.allowOrigins",
  "createApi.corsConfiguration.exposeHeaders",
  "createApiKey.clientNetworks",
  "createApiKey.origins",
  "createIntegration.integration.aws.endpointUrl",
  "createIntegration.integration.aws.parameters.name",
  "createIntegration.integration.aws.parameters.value",
  "createIntegration.integration.aws.subtype",
  "createIntegration.integration.connectionId",
  "createIntegration.integration.examples.mediaType",
  "createIntegration.integration.integrationResponses.responseTemplates.mediaType",
  "createIntegration.integration.integrationResponses.selectionPattern",
  "createIntegration.integration.method",
  "createIntegration.integration.openapiOperation",
  "createIntegration.integration.payloadFormatVersion",
  "createIntegration.integration.requestTemplates.mediaType",
  "createIntegration.integration.requestTemplates.template",
  "createIntegration.integration.tlsConfig.caBundle",
  "createIntegration.integration.tlsConfig.clientCertificateId",
  "createIntegration.integration.tlsConfig.serverNameToVerify",
  "createJoinToken.cells",
  "createQuarantinedSegmentDownload.quarantinedSegmentId",
  "createRoute.corsConfiguration.allowHeaders",
  "createRoute.corsConfiguration.allowMethods",
  "createRoute.corsConfiguration.allowOrigins",
  "createRoute.corsConfiguration.exposeHeaders",
  "createRoute.integration.aws.endpointUrl",
  "createRoute.integration.aws.parameters.name",
  "createRoute.integration.aws.parameters.value",
  "createRoute.integration.aws.subtype",
  "createRoute.integration.connectionId",
  "createRoute.integration.examples.mediaType",
  "createRoute.integration.integrationResponses.responseTemplates.mediaType",
  "createRoute.integration.integrationResponses.selectionPattern",
  "createRoute.integration.method",
  "createRoute.integration.openapiOperation",
  "createRoute.integration.payloadFormatVersion",
  "createRoute.integration.requestTemplates.mediaType",
  "createRoute.integration.requestTemplates.template",
  "createRoute.integration.tlsConfig.caBundle",
  "createRoute.integration.tlsConfig.clientCertificateId",
  "createRoute.integration.tlsConfig.serverNameToVerify",
  "createRoute.method",
  "createSecret.awsCredentials.accessKeyId",
  "createSecret.awsCredentials.secretAccessKey",
  "createSecret.awsCredentials.sessionToken",
  "createSecret.text",
  "createStage.clientThrottles.name",
  "createUsageDownload.month",
  "createUsageExport.filter.route",
  "createUsageExport.filter.stage",
  "createUsagePlan.quota.timeZone",
  "createVpcLink.balancing.hashKey.name",
  "createVpcLink.balancing.healthCheck.host",
  "createVpcLink.balancing.healthCheck.path",
  "createVpcLink.balancing.targets.host",
  "deleteAccount.password",
  "deleteJoinToken.joinTokenId",
  "deleteTenantInvitation.tenantInvitationId",
  "generateClientCertificate.tags.key",
  "generateClientCertificate.tags.value",
  "inviteTenant.email",
  "logIn.email",
  "logIn.password",
  "logIn.tenant",
  "requestPasswordReset.email",
  "resetPassword.password",
  "resetPassword.token",
  "revokeNode.nodeId",
  "setPrice.currency",
  "settleQuarantinedSegment.quarantinedSegmentId",
  "signUp.email",
  "signUp.password",
  "signUp.token",
  "updateApi.apiKeyLocations",
  "updateApi.binaryMediaTypes",
  "updateApi.corsConfiguration.allowHeaders",
  "updateApi.corsConfiguration.allowMethods",
  "updateApi.corsConfiguration.allowOrigins",
  "updateApi.corsConfiguration.exposeHeaders",
  "updateApiKey.clientNetworks",
  "updateApiKey.origins",
  "updateClientCertificate.tags.key",
  "updateClientCertificate.tags.value",
  "updateGatewayResponse.responseParameters.name",
  "updateGatewayResponse.responseParameters.value",
  "updateGatewayResponse.responseTemplates.mediaType",
  "updateGatewayResponse.responseTemplates.template",
  "updateIntegration.integration.aws.endpointUrl",
  "updateIntegration.integration.aws.parameters.name",
  "updateIntegration.integration.aws.parameters.value",
  "updateIntegration.integration.aws.subtype",
  "updateIntegration.integration.connectionId",
  "updateIntegration.integration.examples.mediaType",
  "updateIntegration.integration.integrationResponses.responseTemplates.mediaType",
  "updateIntegration.integration.integrationResponses.selectionPattern",
  "updateIntegration.integration.method",
  "updateIntegration.integration.openapiOperation",
  "updateIntegration.integration.payloadFormatVersion",
  "updateIntegration.integration.requestTemplates.mediaType",
  "updateIntegration.integration.requestTemplates.template",
  "updateIntegration.integration.tlsConfig.caBundle",
  "updateIntegration.integration.tlsConfig.clientCertificateId",
  "updateIntegration.integration.tlsConfig.serverNameToVerify",
  "updateRoute.corsConfiguration.allowHeaders",
  "updateRoute.corsConfiguration.allowMethods",
  "updateRoute.corsConfiguration.allowOrigins",
  "updateRoute.corsConfiguration.exposeHeaders",
  "updateRoute.integration.aws.endpointUrl",
  "updateRoute.integration.aws.parameters.name",
  "updateRoute.integration.aws.parameters.value",
  "updateRoute.integration.aws.subtype",
  "updateRoute.integration.connectionId",
  "updateRoute.integration.examples.mediaType",
  "updateRoute.integration.integrationResponses.responseTemplates.mediaType",
  "updateRoute.integration.integrationResponses.selectionPattern",
  "updateRoute.integration.method",
  "updateRoute.integration.openapiOperation",
  "updateRoute.integration.payloadFormatVersion",
  "updateRoute.integration.requestTemplates.mediaType",
  "updateRoute.integration.requestTemplates.template",
  "updateRoute.integration.tlsConfig.caBundle",
  "updateRoute.integration.tlsConfig.clientCertificateId",
  "updateRoute.integration.tlsConfig.serverNameToVerify",
  "updateSecret.awsCredentials.accessKeyId",
  "updateSecret.awsCredentials.secretAccessKey",
  "updateSecret.awsCredentials.sessionToken",
  "updateSecret.text",
  "updateStage.clientThrottles.name",
  "updateUsagePlan.quota.timeZone",
  "updateVpcLink.balancing.hashKey.name",
  "updateVpcLink.balancing.healthCheck.host",
  "updateVpcLink.balancing.healthCheck.path",
  "updateVpcLink.balancing.targets.host",
  "uploadClientCertificate.certificateChain",
  "uploadClientCertificate.description",
  "uploadClientCertificate.privateKey",
  "uploadClientCertificate.tags.key",
  "uploadClientCertificate.tags.value",
  "verifyEmail.token",
];

type Made = { id: string };

/** A tenant in which every text is planted, and the ids that its pages name. */
async function plantedTenant(member: Visit) {
  const stranger = new Planter(member, "");
  const base = { email: `${unique("ada")}@example.com`, password };
  const { accessToken } = await stranger.mutate<{ accessToken: string }>("signUp", "accessToken", base);
  const planter = new Planter(member, accessToken);
  const make = <T>(noun: string, selection: string, input: object) =>
    planter.mutate<T>(`create${noun}`, selection, { ...input });

  const { api } = await make<{ api: Made & { resources: { nodes: Made[] } } }>(
    "Api",
    "api { id resources(first: 1) { nodes { id } } }",
    {},
  );
  const apiId = api.id;
  await make("Resource", "resource { id }", { apiId, parentId: api.resources.nodes[0]?.id });
  const silent = {
    aws: null,
    connectionType: null,
    connectionId: null,
    mockResponse: null,
    requestTemplates: null,
    integrationResponses: null,
    examples: null,
    openapiOperation: null,
  };
  const mock = { ...silent, type: "MOCK", uri: null, method: null, payloadFormatVersion: null };
  const response = {
    statusCode: 200,
    selectionPattern: "",
    responseTemplates: [{ mediaType: "text/plain" }],
  };
  let shownRoute = "";
  for (const [method, kind] of Object.entries({
    POST: { ...silent, type: "HTTP_PROXY", payloadFormatVersion: null },
    PUT: { ...silent, type: "AWS_PROXY", payloadFormatVersion: "2.0", method: null },
    GET: { ...mock, mockResponse: { status: 200 } },
    PATCH: {
      ...mock,
      requestTemplates: [{ mediaType: "application/json", template: '{"statusCode": 200}' }],
      integrationResponses: [response],
    },
    DELETE: { ...mock, examples: [{ status: 200, mediaType: "text/plain" }] },
  })) {
    const { integration } = await make<{ integration: Made }>("Integration", "integration { id }", {
      apiId,
      integration: kind,
    });
    await planter.mutate("updateIntegration", "integration { id }", {
      id: integration.id,
      integration: kind,
    });
    const { route } = await make<{ route: Made }>("Route", "route { id }", {
      apiId,
      method,
      integration: kind,
    });
    await planter.mutate("updateRoute", "route { id }", { id: route.id, integration: kind });
    shownRoute = route.id;
  }
  const { deployment } = await make<{ deployment: Made }>("Deployment", "deployment { id }", {
    apiId,
  });
  await planter.mutate("updateDeployment", "deployment { id }", { id: deployment.id });
  const { stage } = await make<{ stage: Made & { name: string } }>("Stage", "stage { id name }", {
    apiId,
    deploymentId: deployment.id,
    routeThrottles: [{ rateLimit: 1000, burstLimit: 1000 }],
    routeConcurrencyLimits: [{ maxInFlight: 1000 }],
    clientThrottles: [{ name: "per-user", key: "HEADER", rateLimit: 1000, burstLimit: 1000 }],
  });
  await make("Deployment", "deployment { id }", {
    apiId,
    stage: stage.name,
    canarySettings: { percentTraffic: 5, stickiness: "HEADER" },
  });
  await planter.mutate("updateStage", "stage { id }", {
    id: stage.id,
    canarySettings: { deploymentId: deployment.id, percentTraffic: 10, stickiness: "COOKIE" },
    samplingRules: [{ rate: 0.5 }],
    routeThrottles: [{ rateLimit: 1000, burstLimit: 1000 }],
    routeConcurrencyLimits: [{ maxInFlight: 1000 }],
    clientThrottles: [{ name: "per-user", key: "HEADER", rateLimit: 1000, burstLimit: 1000 }],
  });
  const { usagePlan } = await make<{ usagePlan: Made }>("UsagePlan", "usagePlan { id }", {
    stageIds: [stage.id],
  });
  const { consumer } = await make<{ consumer: Made }>("Consumer", "consumer { id }", {});
  const { apiKey } = await make<{ apiKey: Made }>("ApiKey", "apiKey { id }", {
    usagePlanIds: [usagePlan.id],
    consumerId: consumer.id,
  });
  const value = { text: "not planted", awsCredentials: null };
  const { secret } = await make<{ secret: Made }>("Secret", "secret { id }", value);
  await planter.mutate("updateSecret", "secret { id }", { id: secret.id, ...value });
  const targets = [{ host: "backend.example.com", port: 8080, weight: 1 }];
  const balancing = { targets, algorithm: "ROUND_ROBIN", hashKey: null, healthCheck: null, ejection: null };
  const { vpcLink } = await make<{ vpcLink: Made }>("VpcLink", "vpcLink { id }", { balancing });
  await planter.mutate("updateVpcLink", "vpcLink { id }", { id: vpcLink.id, balancing });
  // Its chain and its key are no texts, and a tag's are of few letters.
  const { clientCertificate } = await planter.mutate<{ clientCertificate: Made }>(
    "generateClientCertificate",
    "clientCertificate { id }",
    { tags: null },
  );
  await planter.mutate("updateClientCertificate", "clientCertificate { id }", {
    id: clientCertificate.id,
    tags: null,
  });
  const { accessKey } = await make<{ accessKey: Made }>("AccessKey", "accessKey { id }", {});
  for (const [noun, { id }] of Object.entries({ api, usagePlan, apiKey, accessKey })) {
    const name = noun.charAt(0).toUpperCase() + noun.slice(1);
    await planter.mutate(`update${name}`, `${noun} { id }`, { id });
  }
  const { link } = await make<{ link: string }>("Invitation", "link", { role: "VIEWER" });

  const { viewer, auditEntries } = await member.graphql<{
    viewer: { tenant: Made };
    auditEntries: { nodes: Made[] };
  }>("{ viewer { tenant { id } } auditEntries(first: 100) { nodes { id } } }", {}, accessToken);
  const entries = auditEntries.nodes.map(({ id }) => id);
  // The longest id of a caller's own that is kept; it is there a moment later.
  const ownId = "W".repeat(128);
  await member.context.request.get(`${url}/v1/apis`, {
    headers: { authorization: `Bearer ${accessToken}`, "x-request-id": ownId },
  });
  let request: string | undefined;
  await expect
    .poll(async () => {
      const { managementRequest } = await member.graphql<{
        managementRequest: { requestId: string } | null;
      }>(
        "query ($id: String!) { managementRequest(requestId: $id) { requestId } }",
        { id: ownId },
        accessToken,
      );
      request = managementRequest?.requestId;
      return request;
    })
    .toBeDefined();
  const ids = {
    api: apiId,
    route: shownRoute,
    stage: stage.id,
    deployment: deployment.id,
    plan: usagePlan.id,
    apiKey: apiKey.id,
    entry: entries[0] ?? "",
    request: request ?? "",
    tenant: viewer.tenant.id,
  };
  return {
    ids,
    entries,
    invitation: new URL(link).search,
    planted: [...stranger.planted, ...planter.planted],
  };
}

/** What the operator writes, by the session of this tab. */
async function operatorPlanter(visit: Visit) {
  const grant = await visit.context.request.post(`${url}/v1/session`, { headers: { origin: url } });
  const { accessToken } = (await grant.json()) as { accessToken: string };
  return new Planter(visit, accessToken);
}

/** By the operator's invitation, under the name that stands in it. */
async function beginTenant(operator: Planter, invited: Visit) {
  const email = `${unique("grace")}@example.com`;
  const { link } = await operator.mutate<{ link: string }>("inviteTenant", "link", { email });
  const tenant = operator.planted.find(({ field }) => field === "inviteTenant.tenantName")?.text;
  const token = new URL(link).searchParams.get("token");
  await new Planter(invited, "").mutate("signUp", "accessToken", { email, password, tenant, token });
}

/** The first segment that the ledger did not take: the story that runs these had a node send some. */
async function settledSegment(visit: Visit, operator: Planter) {
  const { quarantinedSegments } = await visit.graphql<{ quarantinedSegments: { nodes: Made[] } }>(
    "{ quarantinedSegments(last: 1, settled: false) { nodes { id } } }",
    {},
    operator.accessToken,
  );
  const quarantinedSegmentId = quarantinedSegments.nodes[0]?.id ?? "";
  await operator.mutate("settleQuarantinedSegment", "quarantinedSegment { id }", { quarantinedSegmentId });
  return quarantinedSegmentId;
}

/** Runs in the page: what of the planted texts the browser took for more than text. */
function taken(): string[] {
  const found = document.querySelectorAll("img[src='x'], [onerror], body script, [href^='javascript:']");
  const ran = "planted" in window ? [`ran ${String(window.planted)}`] : [];
  return [...ran, ...[...found].map((element) => element.outerHTML.slice(0, 160))];
}

/** Runs in the page: which of these texts stand there, whole. */
function standing(texts: string[]): string[] {
  const fields = [...document.querySelectorAll<HTMLInputElement>("input, textarea")];
  const all = [document.body.textContent, ...fields.map(({ value }) => value)].join("\n");
  return texts.filter((text) => all.includes(text));
}

/** Runs in the page: tables that a long name pushed out of sight, and pictures that it squeezed. */
function pushed(): string[] {
  const tables = [...document.querySelectorAll("table")].filter(({ parentElement: around }) => {
    return around && around.scrollWidth > around.clientWidth;
  });
  const pictures = [...document.querySelectorAll("svg[width]")].filter((svg) => {
    const { width, height } = svg.getBoundingClientRect();
    return height > 0 && width < Number(svg.getAttribute("width")) - 1;
  });
  return [...tables, ...pictures].map((element) => element.outerHTML.slice(0, 160));
}

test("what anybody writes stays text, on every page", { timeout: 400_000 }, async ({ visit }) => {
  const { routeTree } = await import("../src/routes");
  const { routesByPath } = createRouter({ routeTree, history: createMemoryHistory() });
  await becomeOperator(visit);
  // A browser says of itself what it likes.
  const member = await visit.another(`"'><img src=x onerror=planted=1>${"W".repeat(300)}`);
  const { ids: own, entries, invitation, planted } = await plantedTenant(member);
  const operator = await operatorPlanter(visit);
  await operator.mutate("createJoinToken", "joinToken { id }", { cells: ["default"] });
  await beginTenant(operator, await visit.another());
  const { fleetNodes } = await visit.graphql<{ fleetNodes: { nodes: Made[] } }>(
    "{ fleetNodes(first: 1) { nodes { id } } }",
    {},
    operator.accessToken,
  );
  const segment = await settledSegment(visit, operator);
  const ids = { ...own, node: fleetNodes.nodes[0]?.id ?? "", segment };
  const visitors: Record<string, Visit> = {
    visitor: await visit.another(),
    tenant: member,
    installation: visit,
  };
  const searches: Record<string, string> = {
    "/invitation": invitation,
    "/first-request": `?apiKey=${encodeURIComponent(ids.apiKey)}`,
  };
  const id = (name: string) => {
    const known = ids[name as keyof typeof ids];
    if (!known) throw new Error(`the walk knows no $${name}: plant one, and name its id`);
    return encodeURIComponent(known);
  };
  const shown = new Set<string>();
  const faults: string[] = [];
  const walk = async (who: Visit, address: string, thoroughly = true) => {
    await who.go(address);
    await who.page.getByRole("heading", { level: 1 }).waitFor();
    try {
      await who.loaded();
      if (thoroughly) await who.isAccessible();
      expect(await who.page.getByText(/is not here|could not be loaded|nothing at this/).count()).toBe(0);
      expect(await who.page.evaluate(taken)).toEqual([]);
      expect(await who.page.evaluate(pushed)).toEqual([]);
    } catch (error) {
      // All pages are told of at once.
      faults.push(`${address}: ${error instanceof Error ? error.message : error}`);
    }
    const texts = [...planted, ...operator.planted].map(({ text }) => text);
    for (const text of await who.page.evaluate(standing, texts)) shown.add(text);
  };
  for (const [address, route] of Object.entries(routesByPath)) {
    const who = visitors[route.id.split("/")[1] ?? ""];
    if (!who) throw new Error(`${route.id}: nobody of the walk goes there`);
    await walk(who, address.replaceAll(/\$(\w+)/g, (_, name) => id(name)) + (searches[address] ?? ""));
  }
  // What a page shows no more stands in the log.
  for (const entry of entries) await walk(member, `/settings/audit/${encodeURIComponent(entry)}`, false);

  await operator.mutate("suspendTenant", "tenant { id }", { id: ids.tenant });
  await walk(visit, `/operator/tenants/${id("tenant")}`);
  await walk(member, "/");

  expect(faults).toEqual([]);
  planted.push(...operator.planted);
  const unplanted = textFields().filter((field) => !planted.some((one) => one.field === field));
  expect(unplanted.sort()).toEqual(NOT_KEPT);
  expect(planted.filter(({ text }) => !shown.has(text)).map(({ field }) => field)).toEqual([]);
});
