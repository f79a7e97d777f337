import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { TextField } from "../ui/field";
import { toast } from "../ui/toast";
import { requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";
import { PlanChoices } from "./plan-choices";

const UpdateApiKeyDocument = graphql(`
  mutation UpdateApiKey($input: UpdateApiKeyInput!) {
    updateApiKey(input: $input) { apiKey { id } userErrors { code message param } }
  }
`);

const schema = z.object({
  name: requiredText("Name the key."),
  description: z.string().trim(),
  usagePlanIds: z.array(z.string()),
});

type Key = { id: string; name: string; description: string; usagePlans: readonly { id: string }[] };

/** Renames a key, or moves it to other plans. */
export function ApiKeyUpdateForm({ apiKey }: { apiKey: Key }) {
  const form = useSchemaForm(schema, {
    name: apiKey.name,
    description: apiKey.description,
    usagePlanIds: apiKey.usagePlans.map((plan) => plan.id),
  });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      needs="manageApiKeys"
      submit="Save key"
      send={async (values) => {
        const input = { id: apiKey.id, ...values };
        const { apiKey: saved, userErrors } = (await request(UpdateApiKeyDocument, { input })).updateApiKey;
        if (saved) {
          toast("API key saved");
          await refreshAll();
        }
        return userErrors;
      }}
    >
      <TextField label="Name" error={errors.name?.message} {...form.register("name")} />
      <TextField
        label="Description"
        optional
        error={errors.description?.message}
        {...form.register("description")}
      />
      <PlanChoices register={() => form.register("usagePlanIds")} error={errors.usagePlanIds?.message} />
    </Form>
  );
}
