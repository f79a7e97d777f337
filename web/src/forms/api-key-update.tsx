import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { TextField } from "../ui/field";
import { toast } from "../ui/toast";
import { ApiKeyPlaces } from "./api-key-places";
import { lines, linesTyped, requiredText } from "./fields";
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
  clientNetworks: lines,
  origins: lines,
});

type Key = {
  id: string;
  name: string;
  description: string;
  usagePlans: readonly { id: string }[];
  clientNetworks: readonly string[];
  origins: readonly string[];
};

/** Renames a key, moves it to other plans, or changes from where it is good. */
export function ApiKeyUpdateForm({ apiKey }: { apiKey: Key }) {
  const form = useSchemaForm(schema, {
    name: apiKey.name,
    description: apiKey.description,
    usagePlanIds: apiKey.usagePlans.map((plan) => plan.id),
    clientNetworks: linesTyped(apiKey.clientNetworks),
    origins: linesTyped(apiKey.origins),
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
      <ApiKeyPlaces register={form.register} errors={errors} />
    </Form>
  );
}
