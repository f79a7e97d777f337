import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { TextArea, TextField } from "../ui/field";
import { toast } from "../ui/toast";
import { lines, linesTyped, requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";

const UpdateApiDocument = graphql(`
  mutation UpdateApi($input: UpdateApiInput!) {
    updateApi(input: $input) { api { id } userErrors { code message param } }
  }
`);

const schema = z.object({
  name: requiredText("Name the API."),
  description: z.string().trim(),
  apiKeyLocations: lines,
});

type Api = { id: string; name: string; description: string; apiKeyLocations: readonly string[] };

export function ApiUpdateForm({ api }: { api: Api }) {
  const form = useSchemaForm(schema, {
    name: api.name,
    description: api.description,
    apiKeyLocations: linesTyped(api.apiKeyLocations),
  });
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
      <TextArea
        label="Where callers put their API key"
        hint={
          <>
            One a line, up to five; the first that a call has decides. A header, such as{" "}
            <code>$request.header.x-api-key</code>; <code>$request.header.Authorization</code> for Bearer; a
            query parameter, such as <code>$request.querystring.api_key</code>, which is not passed on. Live
            with the next deployment.
          </>
        }
        className="font-mono text-xs"
        error={errors.apiKeyLocations?.message}
        {...form.register("apiKeyLocations")}
      />
    </Form>
  );
}
