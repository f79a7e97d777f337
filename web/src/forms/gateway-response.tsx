import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import type { GatewayResponsesQuery } from "../api/generated/graphql";
import { refreshAll } from "../api/query";
import { TextArea, TextField } from "../ui/field";
import { Form, useSchemaForm } from "./form";

const UpdateGatewayResponseDocument = graphql(`
  mutation UpdateGatewayResponse($input: UpdateGatewayResponseInput!) {
    updateGatewayResponse(input: $input) {
      gatewayResponse { version } userErrors { code message param }
    }
  }
`);

type ApiNode = Extract<GatewayResponsesQuery["node"], { __typename: "Api" }>;
export type GatewayResponse = ApiNode["gatewayResponses"][number];

const PREFIX = "gatewayresponse.header.";
const JSON_TYPE = "application/json";
const HTML_TYPE = "text/html;charset=utf-8";

const schema = z.object({
  statusCode: z
    .string()
    .trim()
    .regex(/^([2-5]\d\d)?$/, "Enter a status from 200 to 599, or nothing."),
  responseParameters: z
    .string()
    .transform((text) => text.split("\n").filter((line) => line.trim() !== ""))
    .refine((lines) => lines.every((line) => line.includes(":")), "Enter a name, a colon and a value a line.")
    .transform((lines) =>
      lines.map((line) => {
        const colon = line.indexOf(":");
        return { name: PREFIX + line.slice(0, colon).trim(), value: line.slice(colon + 1).trim() };
      }),
    ),
  json: z.string(),
  html: z.string(),
});

/** What an API has the gateway say of one type. */
export function GatewayResponseForm({
  api,
  response,
  onDone,
  onCancel,
}: {
  api: string;
  response: GatewayResponse;
  onDone: () => void;
  onCancel: () => void;
}) {
  const { responseType, responseParameters, responseTemplates, version } = response;
  const template = (of: string) => responseTemplates.find((it) => it.mediaType === of)?.template ?? "";
  const others = responseTemplates.filter(
    ({ mediaType }) => mediaType !== JSON_TYPE && mediaType !== HTML_TYPE,
  );
  const form = useSchemaForm(schema, {
    statusCode: response.statusCode == null ? "" : String(response.statusCode),
    responseParameters: responseParameters
      .map(({ name, value }) => `${name.replace(PREFIX, "")}: ${value}`)
      .join("\n"),
    json: template(JSON_TYPE),
    html: template(HTML_TYPE),
  });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      needs="manageApis"
      submit="Save response"
      onCancel={onCancel}
      send={async ({ statusCode, responseParameters, json, html }) => {
        const written = [
          { mediaType: JSON_TYPE, template: json },
          { mediaType: HTML_TYPE, template: html },
        ];
        const input = {
          apiId: api,
          responseType,
          expectedVersion: version,
          statusCode: statusCode === "" ? null : Number(statusCode),
          responseParameters,
          responseTemplates: [...written.filter(({ template }) => template !== ""), ...others],
        };
        const { userErrors } = (await request(UpdateGatewayResponseDocument, { input }))
          .updateGatewayResponse;
        if (userErrors.length === 0) {
          await refreshAll();
          onDone();
        }
        return userErrors;
      }}
    >
      <TextField
        label="Status"
        optional
        inputMode="numeric"
        placeholder={response.defaultStatusCode == null ? "" : String(response.defaultStatusCode)}
        hint={
          response.defaultStatusCode == null
            ? "Of every answer of this class that has no status of its own."
            : "Left empty, that of the default for its class, else this."
        }
        error={errors.statusCode?.message}
        {...form.register("statusCode")}
      />
      <TextArea
        label="Headers"
        optional
        rows={3}
        hint={
          <>
            One a line: <code>x-reason: 'constant'</code>, or a variable such as{" "}
            <code>x-reason: context.error.responseType</code>, <code>method.request.header.Accept</code> or{" "}
            <code>stageVariables.name</code>.
          </>
        }
        className="font-mono text-xs"
        error={errors.responseParameters?.message}
        {...form.register("responseParameters")}
      />
      <TextArea
        label="Body as JSON"
        optional
        rows={4}
        placeholder={'{"message":$context.error.messageString}'}
        hint={
          <>
            Such as <code>$context.error.messageString</code>, which is quoted, or{" "}
            <code>"$context.requestId"</code>. Left empty, the gateway's own.
          </>
        }
        className="font-mono text-xs"
        error={errors.json?.message}
        {...form.register("json")}
      />
      <TextArea
        label="Body as HTML"
        optional
        rows={4}
        hint="For callers whose Accept likes it better, as browsers do."
        className="font-mono text-xs"
        error={errors.html?.message}
        {...form.register("html")}
      />
      {others.length > 0 && (
        <p className="text-muted">Stays as it is: {others.map(({ mediaType }) => mediaType).join(", ")}.</p>
      )}
    </Form>
  );
}
