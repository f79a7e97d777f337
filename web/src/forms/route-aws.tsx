import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { z } from "zod";
import { graphql } from "../api/generated";
import type { AwsSettingsInput, InvocationType } from "../api/generated/graphql";
import { query } from "../api/query";
import { paths } from "../lib/paths";
import { parametersOf } from "../lib/subtypes";
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
  subtype: z.string(),
  parameters: z.record(z.string(), z.string().optional()),
});

type AwsSettings = {
  secretId: string;
  endpointUrl: string;
  invocationType: InvocationType;
  subtype?: string | null;
  parameters: readonly { name: string; value: string }[];
};

export const awsTyped = (settings: AwsSettings | null | undefined): z.input<typeof aws> => ({
  secretId: settings?.secretId ?? "",
  endpointUrl: settings?.endpointUrl ?? "",
  invocationType: settings?.invocationType ?? "REQUEST_RESPONSE",
  subtype: settings?.subtype ?? "",
  parameters: Object.fromEntries((settings?.parameters ?? []).map(({ name, value }) => [name, value])),
});

/** Nothing where the URI is no ARN, and no action is asked for by its subtype. */
export function awsSettings(
  type: string,
  uri: string,
  { subtype, parameters, invocationType, ...both }: z.output<typeof aws>,
): { aws?: AwsSettingsInput } {
  if (type === "AWS_PROXY" && subtype !== "") {
    const given = parametersOf(subtype).map(({ name }) => ({ name, value: parameters[name] ?? "" }));
    return { aws: { ...both, subtype, parameters: given.filter(({ value }) => value !== "") } };
  }
  if (!isArn(uri)) return {};
  return { aws: isService(uri) ? both : { ...both, invocationType } };
}

export const isArn = (uri: string) => uri.trim().startsWith("arn:");

/** `arn:aws:apigateway:eu-west-1:sqs:action/SendMessage`; Lambda's has the path of a function. */
export const isService = (uri: string) => /^arn:[^:]*:apigateway:[^:]*:(?!lambda:)/.test(uri.trim());

/** As whom a function or a service is called, and where. */
export function RouteAwsSection({ form }: { form: RouteFormState }) {
  const errors = form.formState.errors.integration?.aws;
  const ofSubtype =
    form.watch("integration.type") === "AWS_PROXY" && form.watch("integration.aws.subtype") !== "";
  const ofService = ofSubtype || isService(form.watch("integration.uri"));
  const secrets = useQuery(query(SecretChoicesDocument));
  const choices = secrets.data?.secrets.nodes.filter(({ kind }) => kind === "AWS_CREDENTIALS") ?? [];
  return (
    <Section
      form={form}
      name="function"
      title={ofService ? "The service's credentials" : "The function's credentials"}
      fields={["integration.aws.secretId", "integration.aws.endpointUrl", "integration.aws.invocationType"]}
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
