import { request } from "../api/client";
import { settled } from "../api/errors";
import { graphql } from "../api/generated";
import { shownOnce } from "../lib/shown-once";

const SampleApiDocument = graphql(`
  mutation SampleApi($input: CreateApiInput!) {
    createApi(input: $input) { api { id } userErrors { code message param } }
  }
`);
const SampleRouteDocument = graphql(`
  mutation SampleRoute($input: CreateRouteInput!) {
    createRoute(input: $input) { route { id } userErrors { code message param } }
  }
`);
const SampleDeploymentDocument = graphql(`
  mutation SampleDeployment($input: CreateDeploymentInput!) {
    createDeployment(input: $input) { stage { id } userErrors { code message param } }
  }
`);
const SamplePlanDocument = graphql(`
  mutation SamplePlan($input: CreateUsagePlanInput!) {
    createUsagePlan(input: $input) { usagePlan { id } userErrors { code message param } }
  }
`);
const SampleKeyDocument = graphql(`
  mutation SampleKey($input: CreateApiKeyInput!) {
    createApiKey(input: $input) { apiKey { id } value userErrors { code message param } }
  }
`);

/** A working API without a backend: one route with a fixed answer, deployed, on a plan with a key. Gives the key's id. */
export async function createSample(): Promise<string> {
  const { api } = settled(
    (
      await request(SampleApiDocument, {
        input: { name: "Sample API", description: "Answers by itself, to try Tollgate." },
      })
    ).createApi,
  );
  const apiId = made(api).id;
  settled(
    (
      await request(SampleRouteDocument, {
        input: {
          apiId,
          method: "GET",
          path: "/hello",
          apiKeyRequired: true,
          integration: {
            type: "MOCK",
            mockResponse: {
              status: 200,
              headers: [{ name: "content-type", value: "application/json" }],
              body: '{"message":"Hello from Tollgate"}',
            },
          },
        },
      })
    ).createRoute,
  );
  const { stage } = settled(
    (await request(SampleDeploymentDocument, { input: { apiId, stage: "prod", description: "The sample" } }))
      .createDeployment,
  );
  const { usagePlan } = settled(
    (
      await request(SamplePlanDocument, {
        input: {
          name: "Sample plan",
          throttle: { rateLimit: 10, burstLimit: 20 },
          quota: { limit: 10_000, period: "MONTH" },
          stageIds: [made(stage).id],
        },
      })
    ).createUsagePlan,
  );
  const { apiKey, value } = settled(
    (await request(SampleKeyDocument, { input: { name: "Sample key", usagePlanIds: [made(usagePlan).id] } }))
      .createApiKey,
  );
  const { id } = made(apiKey);
  shownOnce.keep(id, made(value));
  return id;
}

/** A payload without userErrors carries what was made. */
function made<T>(thing: T | null | undefined): T {
  if (thing === null || thing === undefined) throw new Error("The server made nothing and gave no reason.");
  return thing;
}
