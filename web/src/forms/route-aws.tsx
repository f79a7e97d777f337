import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { z } from "zod";
import { graphql } from "../api/generated";
import type { AwsSettingsInput, InvocationType } from "../api/generated/graphql";
import { query } from "../api/query";
import { paths } from "../lib/paths";
import { SelectField, TextField } from "../ui/field";
import type { RouteFormState } from "./route-schema";
import { Section } from "./section";

const SecretChoicesDocument = graphql(`
  query SecretChoices {
    secrets(first: 100) { nodes { id name kind } }
  }
`);

/** How what an ARN names is called. */
export const aws = z.object({
  secretId: z.string(),
  endpointUrl: z.string().trim(),
  invocationType: z.enum(["REQUEST_RESPONSE", "EVENT"]),
});

type AwsSettings = { secretId: string; endpointUrl: string; invocationType: InvocationType };

export const awsTyped = (settings: AwsSettings | null | undefined): z.input<typeof aws> => ({
  secretId: settings?.secretId ?? "",
  endpointUrl: settings?.endpointUrl ?? "",
  invocationType: settings?.invocationType ?? "REQUEST_RESPONSE",
});

/** Nothing where the URI is no ARN. */
export function awsSettings(uri: string, typed: z.output<typeof aws>): { aws?: AwsSettingsInput } {
  if (!isArn(uri)) return {};
  const { secretId, endpointUrl } = typed;
  return { aws: isService(uri) ? { secretId, endpointUrl } : typed };
}

export const isArn = (uri: string) => uri.trim().startsWith("arn:");

/** `arn:aws:apigateway:eu-west-1:sqs:action/SendMessage`; Lambda's has the path of a function. */
export const isService = (uri: string) => /^arn:[^:]*:apigateway:[^:]*:(?!lambda:)/.test(uri.trim());

/** As whom a function or a service is called, and where. */
export function RouteAwsSection({ form }: { form: RouteFormState }) {
  const errors = form.formState.errors.integration?.aws;
  const ofService = isService(form.watch("integration.uri"));
  const secrets = useQuery(query(SecretChoicesDocument));
  const choices = secrets.data?.secrets.nodes.filter(({ kind }) => kind === "AWS_CREDENTIALS") ?? [];
  return (
    <Section
      form={form}
      name="function"
      title={ofService ? "The service's credentials" : "The function's credentials"}
      fields={["integration.aws"]}
    >
      <SelectField
        label="Credentials"
        hint={
          <>
            A <Link {...paths.secrets()}>secret</Link> with credentials of AWS: calls are signed by it.
          </>
        }
        error={errors?.secretId?.message}
        {...form.register("integration.aws.secretId")}
      >
        <option value="">Choose a secret</option>
        {choices.map(({ id, name }) => (
          <option key={id} value={id}>
            {name}
          </option>
        ))}
      </SelectField>
      <TextField
        label="Endpoint"
        optional
        placeholder="http://127.0.0.1:9001"
        hint="Of what speaks its API in the place of AWS."
        className="font-mono text-xs"
        error={errors?.endpointUrl?.message}
        {...form.register("integration.aws.endpointUrl")}
      />
      {!ofService && (
        <SelectField
          label="Invocation"
          error={errors?.invocationType?.message}
          {...form.register("integration.aws.invocationType")}
        >
          <option value="REQUEST_RESPONSE">Callers wait for the function</option>
          <option value="EVENT">Callers are answered at once, with nothing</option>
        </SelectField>
      )}
    </Section>
  );
}
