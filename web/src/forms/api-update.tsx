import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { TextArea, TextField } from "../ui/field";
import { toast } from "../ui/toast";
import { requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";

const UpdateApiDocument = graphql(`
  mutation UpdateApi($input: UpdateApiInput!) {
    updateApi(input: $input) { api { id } userErrors { code message param } }
  }
`);

const schema = z.object({ name: requiredText("Name the API."), description: z.string().trim() });

export function ApiUpdateForm({ api }: { api: { id: string; name: string; description: string } }) {
  const form = useSchemaForm(schema, { name: api.name, description: api.description });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      needs="manageApis"
      submit="Save"
      send={async (values) => {
        const input = { id: api.id, ...values };
        const { api: saved, userErrors } = (await request(UpdateApiDocument, { input })).updateApi;
        if (saved) {
          toast("API saved");
          await refreshAll();
        }
        return userErrors;
      }}
    >
      <TextField label="Name" error={errors.name?.message} {...form.register("name")} />
      <TextArea
        label="Description"
        optional
        error={errors.description?.message}
        {...form.register("description")}
      />
    </Form>
  );
}
