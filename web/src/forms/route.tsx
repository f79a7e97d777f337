import { z } from "zod";
import { request } from "../api/client";
import type { UserError } from "../api/errors";
import { graphql } from "../api/generated";
import type { IntegrationInput } from "../api/generated/graphql";
import { refreshAll } from "../api/query";
import type { Route } from "../pages/apis/routes";
import { SelectField, SwitchField, TextArea, TextField } from "../ui/field";
import { Form, useSchemaForm } from "./form";

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

const schema = z
  .object({
    method: z.string(),
    path: z.string().trim(),
    apiKeyRequired: z.boolean(),
    integration: z.object({
      type: z.enum(["HTTP_PROXY", "AWS_PROXY", "MOCK"]),
      uri: z.string().trim(),
      protocolVersion: z.enum(["HTTP1", "HTTP2"]),
      payloadFormatVersion: z.enum(["1.0", "2.0"]),
      timeoutMs: z.string().trim().regex(/^\d*$/, "Enter milliseconds, such as 29000."),
      mockResponse: z.object({
        status: z.string().regex(/^[2-5]\d\d$/, "Enter a status from 200 to 599."),
        contentType: z.string().trim(),
        body: z.string(),
        contentHandling: z.enum(["", "CONVERT_TO_BINARY", "CONVERT_TO_TEXT"]),
      }),
    }),
  })
  .superRefine(({ path, integration }, context) => {
    if (!/^(\/|\$default$)/.test(path)) {
      context.addIssue({
        code: "custom",
        path: ["path"],
        message: "A path starts with /, such as /pets/{id}.",
      });
    }
    if (integration.type !== "MOCK" && !/^https?:\/\/./.test(integration.uri)) {
      const whose = integration.type === "AWS_PROXY" ? "function" : "backend";
      const message = `Enter the ${whose}'s URL, starting with http:// or https://.`;
      context.addIssue({ code: "custom", path: ["integration", "uri"], message });
    }
  });

type Values = z.output<typeof schema>;

/** Adds a route, or changes one. Its method and path are what it is, so they stay. */
export function RouteForm({
  api,
  route,
  at,
  onDone,
  onCancel,
}: {
  api: string;
  route: Route | undefined;
  /** The place in the tree that a new route is made at; else its path is typed. */
  at?: { path: string; resource: string | undefined };
  onDone: () => void;
  onCancel: () => void;
}) {
  const integration = route?.integration;
  const mock = integration?.mockResponse;
  const form = useSchemaForm(schema, {
    method: route?.method || "GET",
    path: route?.path || (route ? "$default" : (at?.path ?? "/")),
    apiKeyRequired: route?.apiKeyRequired ?? true,
    integration: {
      type: integration?.type ?? "HTTP_PROXY",
      uri: integration?.uri ?? "",
      protocolVersion: integration?.protocolVersion ?? "HTTP1",
      payloadFormatVersion: integration?.payloadFormatVersion === "1.0" ? "1.0" : "2.0",
      timeoutMs: integration ? String(integration.timeoutMs) : "",
      mockResponse: {
        status: String(mock?.status ?? 200),
        contentType:
          mock?.headers.find(({ name }) => name.toLowerCase() === "content-type")?.value ??
          "application/json",
        body: mock?.body ?? '{"message":"Hello"}',
        contentHandling: integration?.contentHandling ?? "",
      },
    },
  });
  const { errors } = form.formState;
  const type = form.watch("integration.type");
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
      <div className="grid grid-cols-[7.5rem_1fr] gap-3">
        <SelectField
          label="Method"
          disabled={!!route}
          error={errors.method?.message}
          {...form.register("method")}
        >
          {METHODS.map((method) => (
            <option key={method}>{method}</option>
          ))}
        </SelectField>
        <TextField
          label="Path"
          readOnly={!!route || !!at}
          className="font-mono text-xs"
          error={errors.path?.message}
          {...form.register("path")}
        />
      </div>
      <SelectField
        label="Answered by"
        error={errors.integration?.type?.message}
        {...form.register("integration.type")}
      >
        <option value="HTTP_PROXY">Your HTTP backend</option>
        <option value="AWS_PROXY">Your function, by AWS Lambda's events</option>
        <option value="MOCK">A fixed answer (mock)</option>
      </SelectField>
      {type !== "MOCK" ? (
        <>
          <TextField
            label={type === "AWS_PROXY" ? "Function URL" : "Backend URL"}
            type="url"
            placeholder={
              type === "AWS_PROXY" ? "https://functions.example.com/pets" : "https://backend.example.com/pets"
            }
            className="font-mono text-xs"
            error={errors.integration?.uri?.message}
            {...form.register("integration.uri")}
          />
          {type === "AWS_PROXY" && (
            <SelectField
              label="Payload format version"
              error={errors.integration?.payloadFormatVersion?.message}
              {...form.register("integration.payloadFormatVersion")}
            >
              <option>2.0</option>
              <option>1.0</option>
            </SelectField>
          )}
          <SelectField
            label="Protocol version"
            error={errors.integration?.protocolVersion?.message}
            {...form.register("integration.protocolVersion")}
          >
            <option value="HTTP1">HTTP/1.1</option>
            <option value="HTTP2">HTTP/2 (gRPC)</option>
          </SelectField>
          <TextField
            label="Timeout in milliseconds"
            optional
            inputMode="numeric"
            placeholder="29000"
            error={errors.integration?.timeoutMs?.message}
            {...form.register("integration.timeoutMs")}
          />
        </>
      ) : (
        <>
          <div className="grid grid-cols-[7.5rem_1fr] gap-3">
            <TextField
              label="Status"
              inputMode="numeric"
              error={errors.integration?.mockResponse?.status?.message}
              {...form.register("integration.mockResponse.status")}
            />
            <TextField
              label="Content type"
              error={errors.integration?.mockResponse?.contentType?.message}
              {...form.register("integration.mockResponse.contentType")}
            />
          </div>
          <TextArea
            label="Body"
            rows={4}
            className="font-mono text-xs"
            error={errors.integration?.mockResponse?.body?.message}
            {...form.register("integration.mockResponse.body")}
          />
          <SelectField
            label="The body is"
            error={errors.integration?.mockResponse?.contentHandling?.message}
            {...form.register("integration.mockResponse.contentHandling")}
          >
            <option value="">Text</option>
            <option value="CONVERT_TO_BINARY">Base64 of the bytes to send</option>
            <option value="CONVERT_TO_TEXT">Text, for callers who take binary too</option>
          </SelectField>
        </>
      )}
      <SwitchField
        label="API key required"
        hint="Callers send an API key; their usage plan throttles and meters them."
        error={errors.apiKeyRequired?.message}
        {...form.register("apiKeyRequired")}
      />
    </Form>
  );
}

function integrationOf({ integration }: Values): IntegrationInput {
  const { type, uri, protocolVersion, payloadFormatVersion, timeoutMs, mockResponse } = integration;
  if (type === "MOCK") {
    const { status, contentType, body, contentHandling } = mockResponse;
    const headers = contentType ? [{ name: "content-type", value: contentType }] : [];
    const handling = contentHandling ? { contentHandling } : {};
    return { type, mockResponse: { status: Number(status), headers, body }, ...handling };
  }
  return {
    type,
    uri,
    protocolVersion,
    ...(type === "AWS_PROXY" ? { payloadFormatVersion } : {}),
    ...(timeoutMs ? { timeoutMs: Number(timeoutMs) } : {}),
  };
}

async function create(
  apiId: string,
  values: Values,
  resourceId: string | undefined,
): Promise<readonly UserError[]> {
  const { method, path, apiKeyRequired } = values;
  const place = resourceId ? { resourceId } : { path };
  const input = { apiId, method, ...place, apiKeyRequired, integration: integrationOf(values) };
  return (await request(CreateRouteDocument, { input })).createRoute.userErrors;
}

async function update(route: Route, values: Values): Promise<readonly UserError[]> {
  const input = { id: route.id, apiKeyRequired: values.apiKeyRequired, integration: integrationOf(values) };
  return (await request(UpdateRouteDocument, { input })).updateRoute.userErrors;
}
