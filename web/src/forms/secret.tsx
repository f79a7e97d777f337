import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import type { SecretKind } from "../api/generated/graphql";
import { refreshAll } from "../api/query";
import { SelectField, TextArea, TextField } from "../ui/field";
import { requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";

const CreateSecretDocument = graphql(`
  mutation CreateSecret($input: CreateSecretInput!) {
    createSecret(input: $input) { secret { id } userErrors { code message param } }
  }
`);

const UpdateSecretDocument = graphql(`
  mutation UpdateSecret($input: UpdateSecretInput!) {
    updateSecret(input: $input) { secret { id } userErrors { code message param } }
  }
`);

const schema = z.object({
  name: requiredText("Name the secret."),
  kind: z.enum(["TEXT", "AWS_CREDENTIALS"]),
  text: z.string(),
  awsCredentials: z.object({
    accessKeyId: z.string().trim(),
    secretAccessKey: z.string().trim(),
    sessionToken: z.string().trim(),
  }),
});

type Values = z.output<typeof schema>;

/** Makes a secret, or changes one: a value that is left empty stays as it is. */
export function SecretForm({
  secret,
  onDone,
  onCancel,
}: {
  secret?: { id: string; name: string; kind: SecretKind };
  onDone: () => void;
  onCancel: () => void;
}) {
  const form = useSchemaForm(schema, {
    name: secret?.name ?? "",
    kind: secret?.kind ?? "AWS_CREDENTIALS",
    text: "",
    awsCredentials: { accessKeyId: "", secretAccessKey: "", sessionToken: "" },
  });
  const { errors } = form.formState;
  const isText = form.watch("kind") === "TEXT";
  const hint = secret ? "Left empty, the present one stays. A new one is live at once." : undefined;
  return (
    <Form
      form={form}
      needs="manageApis"
      submit={secret ? "Save secret" : "Create secret"}
      onCancel={onCancel}
      send={async (values) => {
        const value = valueGiven(values, !secret);
        const { userErrors } = secret
          ? (await request(UpdateSecretDocument, { input: { id: secret.id, name: values.name, ...value } }))
              .updateSecret
          : (await request(CreateSecretDocument, { input: { name: values.name, ...value } })).createSecret;
        if (userErrors.length === 0) {
          await refreshAll();
          onDone();
        }
        return userErrors;
      }}
    >
      <TextField label="Name" error={errors.name?.message} {...form.register("name")} />
      <SelectField label="Kind" disabled={!!secret} error={errors.kind?.message} {...form.register("kind")}>
        <option value="AWS_CREDENTIALS">AWS credentials</option>
        <option value="TEXT">Text</option>
      </SelectField>
      {isText ? (
        <TextArea
          label="Text"
          rows={4}
          hint={hint}
          className="font-mono text-xs"
          error={errors.text?.message}
          {...form.register("text")}
        />
      ) : (
        <>
          <TextField
            label="Access key id"
            hint={hint}
            className="font-mono text-xs"
            error={errors.awsCredentials?.accessKeyId?.message}
            {...form.register("awsCredentials.accessKeyId")}
          />
          <TextField
            label="Secret access key"
            type="password"
            className="font-mono text-xs"
            error={errors.awsCredentials?.secretAccessKey?.message}
            {...form.register("awsCredentials.secretAccessKey")}
          />
          <TextField
            label="Session token"
            optional
            type="password"
            hint="Of temporary credentials, which end when AWS says so."
            className="font-mono text-xs"
            error={errors.awsCredentials?.sessionToken?.message}
            {...form.register("awsCredentials.sessionToken")}
          />
        </>
      )}
    </Form>
  );
}

/** What the server is sent; nothing where an existing value stays. */
function valueGiven({ kind, text, awsCredentials }: Values, isNew: boolean) {
  if (kind === "TEXT") return isNew || text ? { text } : {};
  const { accessKeyId, secretAccessKey, sessionToken } = awsCredentials;
  if (!(isNew || accessKeyId || secretAccessKey)) return {};
  return {
    awsCredentials: { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) },
  };
}
