import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { TextField } from "../ui/field";
import { requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";

const CreateAccessKeyDocument = graphql(`
  mutation CreateAccessKey($input: CreateAccessKeyInput!) {
    createAccessKey(input: $input) {
      accessKey { id accessKeyId } secretAccessKey userErrors { code message param }
    }
  }
`);

const schema = z.object({ name: requiredText("Name the key.") });

/** What a program needs to sign; the secret is never shown again. */
export type AccessKeyPair = { accessKeyId: string; secretAccessKey: string };

export function AccessKeyCreateForm({
  onDone,
  onCancel,
}: {
  onDone: (made: AccessKeyPair) => void;
  onCancel: () => void;
}) {
  const form = useSchemaForm(schema, { name: "" });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      needs="manageAccessKeys"
      submit="Create access key"
      onCancel={onCancel}
      send={async (input) => {
        const { accessKey, secretAccessKey, userErrors } = (await request(CreateAccessKeyDocument, { input }))
          .createAccessKey;
        if (accessKey && secretAccessKey) {
          onDone({ accessKeyId: accessKey.accessKeyId, secretAccessKey });
          await refreshAll();
        }
        return userErrors;
      }}
    >
      <TextField
        label="Name"
        placeholder="Deploys from CI"
        hint="What will sign with it. It may do what you may do."
        error={errors.name?.message}
        {...form.register("name")}
      />
    </Form>
  );
}
