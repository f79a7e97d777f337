import { useQuery } from "@tanstack/react-query";
import { request } from "../api/client";
import type { UserError } from "../api/errors";
import { graphql } from "../api/generated";
import type { CorsConfigurationInput, IntegrationInput } from "../api/generated/graphql";
import { query, refreshAll } from "../api/query";
import { Loaded } from "../components/loaded";
import type { Route } from "../pages/apis/routes";
import { SelectField, SwitchField, TextField } from "../ui/field";
import { CorsFields, corsTyped } from "./cors-fields";
import { Form, useSchemaForm } from "./form";
import { awsSettings, awsTyped, isArn, RouteAwsSection } from "./route-aws";
import { AnswersSection, backendOf, backendTyped, ForwardingSection, TimeoutsSection } from "./route-backend";
import { ConnectionSection, connectionOf } from "./route-connection";
import { MockSection, mockOf, mockTyped, type StoredMock } from "./route-mock";
import { circuitBreakerOf, ResilienceSection, resilienceOf, retryPolicyOf } from "./route-resilience";
import { ResponsesSection, responsesOf, responsesTyped } from "./route-responses";
import { type RouteFormState, schema, type Typed, type Values } from "./route-schema";
import { ParametersSection, SubtypeField } from "./route-subtype";
import { TlsSection, tlsConfig, tlsTyped } from "./route-tls";
import { Part, Section } from "./section";

const CreateRouteDocument = graphql(`
  mutation CreateRoute($input: CreateRouteInput!) {
    createRoute(input: $input) { route { id } userErrors { code message param } }
  }
`);

const UpdateRouteDocument = graphql(`
  mutation UpdateRoute($input: UpdateRouteInput!) {
    updateRoute(input: $input) { route { id } userErrors { code message param } }
  }
`);

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "ANY"] as const;

/** What of an integration a list of routes does not ask for. */
export const RouteMockDocument = graphql(`
  query RouteMock($id: ID!) {
    node(id: $id) {
      __typename
      ... on Integration {
        requestTemplates { mediaType template }
        integrationResponses {
          statusCode selectionPattern headers { name value } responseTemplates { mediaType template } contentHandling
        }
        examples { name status headers { name value } mediaType body }
      }
    }
  }
`);

type MockLists = Omit<StoredMock, "mockResponse" | "contentHandling">;

type Props = {
  api: string;
  route: Route | undefined;
  /** The place in the tree that a new route is made at; else its path is typed. */
  at?: { path: string; resource: string | undefined };
  onDone: () => void;
  onCancel?: () => void;
};

/** Whether it has lists of answers, which are asked for one route at a time. */
export const answersByList = (type: string) => ["MOCK", "HTTP", "AWS"].includes(type);

/** Adds a route, or changes one. Its method and path are what it is, so they stay. */
export function RouteForm(props: Props) {
  const integration = props.route?.integration;
  if (integration && answersByList(integration.type))
    return <WholeRouteForm {...props} integration={integration.id} />;
  return <RouteFields {...props} lists={undefined} />;
}

function WholeRouteForm({ integration, ...props }: Props & { integration: string }) {
  const answer = useQuery(query(RouteMockDocument, { id: integration }));
  return (
    <Loaded query={answer}>
      {({ node }) => <RouteFields {...props} lists={node?.__typename === "Integration" ? node : undefined} />}
    </Loaded>
  );
}

function RouteFields({ api, route, at, onDone, onCancel, lists }: Props & { lists: MockLists | undefined }) {
  const integration = route?.integration;
  const own = route?.corsConfiguration;
  const form = useSchemaForm<Typed, Values>(schema, {
    method: route?.method || "GET",
    path: route?.path || (route ? "$default" : (at?.path ?? "/")),
    apiKeyRequired: route?.apiKeyRequired ?? true,
    operationName: route?.operationName ?? "",
    corsOf: !own ? "API" : own.allowOrigins.length > 0 ? "OWN" : "OFF",
    corsConfiguration: corsTyped(own),
    integration: {
      type: integration?.type ?? "HTTP_PROXY",
      uri: integration?.uri ?? "",
      protocolVersion: integration?.protocolVersion ?? "HTTP1",
      payloadFormatVersion: integration?.payloadFormatVersion === "1.0" ? "1.0" : "2.0",
      aws: awsTyped(integration?.aws),
      ...responsesTyped(lists),
      tlsConfig: tlsTyped(integration?.tlsConfig),
      ...backendTyped(integration),
      connectionId: integration?.connectionId ?? "",
      ...resilienceOf(integration),
      ...mockTyped({
        mockResponse: integration?.mockResponse,
        contentHandling: integration?.contentHandling,
        ...lists,
      }),
    },
  });
  return (
    <Form
      form={form}
      needs="manageApis"
      submit={route ? "Save route" : "Add route"}
      onCancel={onCancel}
      send={async (values) => {
        const errors = route ? await update(route, values) : await create(api, values, at?.resource);
        if (errors.length === 0) {
          await refreshAll();
          onDone();
        }
        return errors;
      }}
    >
      <MethodPart form={form} isNew={!route} placed={!!at} />
      <TargetPart form={form} />
      <Sections form={form} />
    </Form>
  );
}

/** What is called, and by whom it may be. */
function MethodPart({ form, isNew, placed }: { form: RouteFormState; isNew: boolean; placed: boolean }) {
  const { errors } = form.formState;
  return (
    <Part name="method">
      <div className="grid grid-cols-[7.5rem_1fr] gap-3">
        <SelectField
          label="Method"
          disabled={!isNew}
          error={errors.method?.message}
          {...form.register("method")}
        >
          {METHODS.map((method) => (
            <option key={method}>{method}</option>
          ))}
        </SelectField>
        <TextField
          label="Path"
          readOnly={!isNew || placed}
          className="font-mono text-xs"
          error={errors.path?.message}
          {...form.register("path")}
        />
      </div>
      <SwitchField
        label="API key required"
        hint="Callers send an API key; their usage plan throttles and meters them."
        error={errors.apiKeyRequired?.message}
        {...form.register("apiKeyRequired")}
      />
    </Part>
  );
}

const URIS = {
  HTTP_PROXY: { label: "Backend URL", type: "url", placeholder: "https://backend.example.com/pets" },
  AWS_PROXY: {
    label: "Function URL or ARN",
    type: "text",
    placeholder: "https://functions.example.com/pets",
  },
  HTTP: { label: "Backend URL", type: "url", placeholder: "https://backend.example.com/pets" },
  AWS: { label: "ARN", type: "text", placeholder: "arn:aws:apigateway:eu-west-1:sqs:action/SendMessage" },
};

/** What answers it. */
function TargetPart({ form }: { form: RouteFormState }) {
  const errors = form.formState.errors.integration;
  const type = form.watch("integration.type");
  const subtype = subtypeOf(form);
  return (
    <Part name="target">
      <SelectField label="Answered by" error={errors?.type?.message} {...form.register("integration.type")}>
        <option value="HTTP_PROXY">Your HTTP backend, by calls as they are</option>
        <option value="HTTP">Your HTTP backend, by callers' bodies and its status</option>
        <option value="AWS_PROXY">Your function, by AWS Lambda's events</option>
        <option value="AWS">A service of AWS, or your function by callers' bodies</option>
        <option value="MOCK">A fixed answer (mock)</option>
      </SelectField>
      {type === "AWS_PROXY" && <SubtypeField form={form} />}
      {type !== "MOCK" && !subtype && (
        <TextField
          {...URIS[type]}
          className="font-mono text-xs"
          error={errors?.uri?.message}
          {...form.register("integration.uri")}
        />
      )}
      {type === "AWS_PROXY" && !subtype && (
        <SelectField
          label="Payload format version"
          error={errors?.payloadFormatVersion?.message}
          {...form.register("integration.payloadFormatVersion")}
        >
          <option>2.0</option>
          <option>1.0</option>
        </SelectField>
      )}
      {type !== "MOCK" && (
        <SelectField
          label="Protocol version"
          error={errors?.protocolVersion?.message}
          {...form.register("integration.protocolVersion")}
        >
          <option value="HTTP1">HTTP/1.1</option>
          <option value="HTTP2">HTTP/2 (gRPC)</option>
        </SelectField>
      )}
    </Part>
  );
}

/** The action of a service that is asked for; nothing where a function is, or anything else. */
const subtypeOf = (form: RouteFormState) =>
  form.watch("integration.type") === "AWS_PROXY" ? form.watch("integration.aws.subtype") : "";

/** What is seldom set, each in a section of its own. */
function Sections({ form }: { form: RouteFormState }) {
  const type = form.watch("integration.type");
  const subtype = subtypeOf(form);
  const isSigned =
    type === "AWS" || !!subtype || (type === "AWS_PROXY" && isArn(form.watch("integration.uri")));
  return (
    <div className="flex flex-col gap-2">
      {type === "MOCK" && <MockSection form={form} />}
      {subtype && <ParametersSection form={form} subtype={subtype} />}
      {isSigned && <RouteAwsSection form={form} />}
      {(type === "HTTP" || type === "AWS") && <ResponsesSection form={form} />}
      {(type === "HTTP_PROXY" || type === "HTTP") && <ConnectionSection form={form} />}
      {type !== "MOCK" && <TlsSection form={form} />}
      {type !== "MOCK" && <TimeoutsSection form={form} />}
      {type !== "MOCK" && <ResilienceSection form={form} />}
      {type === "HTTP_PROXY" && <ForwardingSection form={form} />}
      {type !== "MOCK" && <AnswersSection form={form} />}
      <CorsSection form={form} />
      <DocumentsSection form={form} />
    </div>
  );
}

/** Which pages may read its answers. */
function CorsSection({ form }: { form: RouteFormState }) {
  const { errors } = form.formState;
  return (
    <Section
      form={form}
      name="cors"
      title="Pages of other origins (CORS)"
      fields={["corsOf", "corsConfiguration"]}
      set={form.watch("corsOf") !== "API"}
    >
      <SelectField label="Pages of other origins" error={errors.corsOf?.message} {...form.register("corsOf")}>
        <option value="API">As the API says</option>
        <option value="OWN">As this route says</option>
        <option value="OFF">As the backend says</option>
      </SelectField>
      {form.watch("corsOf") === "OWN" && (
        <CorsFields
          register={(field) => form.register(`corsConfiguration.${field}`)}
          wrong={errors.corsConfiguration}
        />
      )}
    </Section>
  );
}

/** What documents call it. */
function DocumentsSection({ form }: { form: RouteFormState }) {
  return (
    <Section form={form} name="documents" title="Its name in documents" fields={["operationName"]}>
      <TextField
        label="Operation name"
        optional
        hint="What documents, SDKs and the access log call it; one of the API's routes has it."
        error={form.formState.errors.operationName?.message}
        {...form.register("operationName")}
      />
    </Section>
  );
}

function integrationOf({ integration }: Values, stored: Route["integration"] | undefined): IntegrationInput {
  const { type, uri, protocolVersion, payloadFormatVersion, aws } = integration;
  if (type === "MOCK") return { type, ...mockOf(integration, stored) };
  const overHttp = type === "HTTP_PROXY" || type === "HTTP";
  const asksAction = type === "AWS_PROXY" && aws.subtype !== "";
  return {
    type,
    ...(asksAction ? {} : { uri }),
    protocolVersion,
    ...(type === "AWS_PROXY"
      ? { payloadFormatVersion: asksAction ? "1.0" : payloadFormatVersion }
      : { method: stored?.method || undefined }),
    ...(overHttp ? {} : awsSettings(type, uri, aws)),
    ...(type === "HTTP" || type === "AWS" ? responsesOf(integration) : {}),
    ...backendOf(integration, type),
    ...(overHttp ? connectionOf(integration) : {}),
    ...(overHttp && protocolVersion === "HTTP1" ? retryPolicyOf(integration, stored) : {}),
    ...circuitBreakerOf(integration, stored),
    ...tlsConfig(integration.tlsConfig),
  };
}

/** Null: the API's; without origins: none here. */
function corsOf({ corsOf, corsConfiguration }: Values): CorsConfigurationInput | null {
  if (corsOf === "API") return null;
  return corsOf === "OWN" ? corsConfiguration : { allowOrigins: [] };
}

async function create(
  apiId: string,
  values: Values,
  resourceId: string | undefined,
): Promise<readonly UserError[]> {
  const { method, path, apiKeyRequired, operationName } = values;
  const place = resourceId ? { resourceId } : { path };
  const integration = integrationOf(values, undefined);
  const corsConfiguration = corsOf(values);
  const input = { apiId, method, ...place, apiKeyRequired, operationName, integration, corsConfiguration };
  return (await request(CreateRouteDocument, { input })).createRoute.userErrors;
}

async function update(route: Route, values: Values): Promise<readonly UserError[]> {
  const { apiKeyRequired, operationName } = values;
  const integration = integrationOf(values, route.integration);
  const corsConfiguration = corsOf(values);
  const input = { id: route.id, apiKeyRequired, operationName, integration, corsConfiguration };
  return (await request(UpdateRouteDocument, { input })).updateRoute.userErrors;
}
