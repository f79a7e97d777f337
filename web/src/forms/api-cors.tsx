import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { SwitchField } from "../ui/field";
import { toast } from "../ui/toast";
import { CorsFields, cors, corsTyped } from "./cors-fields";
import { Form, useSchemaForm } from "./form";

const UpdateApiCorsDocument = graphql(`
  mutation UpdateApiCors($input: UpdateApiInput!) {
    updateApi(input: $input) { api { id } userErrors { code message param } }
  }
`);

const schema = z.object({ on: z.boolean(), corsConfiguration: cors });

type Api = { id: string; corsConfiguration?: Parameters<typeof corsTyped>[0] };

/** Which pages may read an API's answers. */
export function ApiCorsForm({ api }: { api: Api }) {
  const form = useSchemaForm(schema, {
    on: !!api.corsConfiguration,
    corsConfiguration: corsTyped(api.corsConfiguration),
  });
  return (
    <Form
      form={form}
      needs="manageApis"
      submit="Save CORS"
      send={async ({ on, corsConfiguration }) => {
        const input = { id: api.id, corsConfiguration: on ? corsConfiguration : null };
        const { api: saved, userErrors } = (await request(UpdateApiCorsDocument, { input })).updateApi;
        if (saved) {
          toast("CORS saved");
          await refreshAll();
        }
        return userErrors;
      }}
    >
      <SwitchField
        label="Answer preflights here"
        hint="Before keys and limits, and not billed. What backends say of it is dropped, and refusals tell the page too. Live with the next deployment."
        {...form.register("on")}
      />
      {form.watch("on") && (
        <CorsFields
          register={(field) => form.register(`corsConfiguration.${field}`)}
          wrong={form.formState.errors.corsConfiguration}
        />
      )}
    </Form>
  );
}
