import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { TextArea, TextField } from "../ui/field";
import { requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";

const CreateApiDocument = graphql(`
  mutation CreateApi($input: CreateApiInput!) {
    createApi(input: $input) { api { id } userErrors { code message param } }
  }
`);

const schema = z.object({ name: requiredText("Name the API."), description: z.string().trim() });

export function ApiCreateForm({ onDone, onCancel }: { onDone: (api: string) => void; onCancel: () => void }) {
  const form = useSchemaForm(schema, { name: "", description: "" });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      needs="manageApis"
      submit="Create API"
      onCancel={onCancel}
      send={async (input) => {
        const { api, userErrors } = (await request(CreateApiDocument, { input })).createApi;
        if (api) {
          await refreshAll();
          onDone(api.id);
        }
        return userErrors;
      }}
    >
      <TextField
        label="Name"
        placeholder="Pet store"
        error={errors.name?.message}
        {...form.register("name")}
      />
      <TextArea
        label="Description"
        optional
        error={errors.description?.message}
        {...form.register("description")}
      />
    </Form>
  );
}
