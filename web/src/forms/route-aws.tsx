import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { z } from "zod";
import { graphql } from "../api/generated";
import type { AwsSettingsInput, InvocationType } from "../api/generated/graphql";
import { query } from "../api/query";
import { paths } from "../lib/paths";
import { SelectField, TextField } from "../ui/field";

const SecretChoicesDocument = graphql(`
  query SecretChoices {
    secrets(first: 100) { nodes { id name kind } }
  }
`);

/** How a function that an ARN names is called. */
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

/** Nothing where the function's URI is no ARN. */
export const awsSettings = (uri: string, typed: z.output<typeof aws>): { aws?: AwsSettingsInput } =>
  isArn(uri) ? { aws: typed } : {};

export const isArn = (uri: string) => uri.trim().startsWith("arn:");

type Registered = { name: string };
type Field = keyof z.output<typeof aws>;

export function RouteAwsFields({
  register,
  error,
}: {
  register: (field: Field) => Registered;
  error: (field: Field) => string | undefined;
}) {
  const secrets = useQuery(query(SecretChoicesDocument));
  const choices = secrets.data?.secrets.nodes.filter(({ kind }) => kind === "AWS_CREDENTIALS") ?? [];
  return (
    <>
      <SelectField
        label="Credentials"
        hint={
          <>
            A <Link {...paths.secrets()}>secret</Link> with credentials of AWS: invocations are signed by it.
          </>
        }
        error={error("secretId")}
        {...register("secretId")}
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
        hint="Of what speaks Lambda's API in the place of AWS."
        className="font-mono text-xs"
        error={error("endpointUrl")}
        {...register("endpointUrl")}
      />
      <SelectField label="Invocation" error={error("invocationType")} {...register("invocationType")}>
        <option value="REQUEST_RESPONSE">Callers wait for the function</option>
        <option value="EVENT">Callers are answered at once, with nothing</option>
      </SelectField>
    </>
  );
}
