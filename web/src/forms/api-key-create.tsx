import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { shownOnce } from "../lib/shown-once";
import { SelectField, TextField } from "../ui/field";
import { ApiKeyPlaces } from "./api-key-places";
import { lines, requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";
import { PlanChoices } from "./plan-choices";

const CreateApiKeyDocument = graphql(`
  mutation CreateApiKey($input: CreateApiKeyInput!) {
    createApiKey(input: $input) { apiKey { id } value userErrors { code message param } }
  }
`);

const schema = z.object({
  name: requiredText("Name the key."),
  description: z.string().trim(),
  mode: z.enum(["LIVE", "TEST"]),
  expiresAt: z.string(),
  clientNetworks: lines,
  origins: lines,
  usagePlanIds: z.array(z.string()).min(1, "Choose a plan: a key without one opens nothing."),
});

type Props = { usagePlan: string | undefined; onDone: (apiKey: string) => void; onCancel: () => void };

export function ApiKeyCreateForm({ usagePlan, onDone, onCancel }: Props) {
  const form = useSchemaForm(schema, {
    name: "",
    description: "",
    mode: "LIVE",
    expiresAt: "",
    clientNetworks: "",
    origins: "",
    usagePlanIds: usagePlan ? [usagePlan] : [],
  });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      needs="manageApiKeys"
      submit="Create API key"
      onCancel={onCancel}
      send={async ({ expiresAt, ...values }) => {
        // A day as typed means its end, in UTC like all times of the ledger.
        const input = { ...values, ...(expiresAt ? { expiresAt: `${expiresAt}T23:59:59Z` } : {}) };
        const { apiKey, value, userErrors } = (await request(CreateApiKeyDocument, { input })).createApiKey;
        if (apiKey && value) {
          shownOnce.keep(apiKey.id, value);
          await refreshAll();
          onDone(apiKey.id);
        }
        return userErrors;
      }}
    >
      <TextField
        label="Name"
        placeholder="Mobile app"
        hint="Who will call with it."
        error={errors.name?.message}
        {...form.register("name")}
      />
      <TextField
        label="Description"
        optional
        error={errors.description?.message}
        {...form.register("description")}
      />
      <PlanChoices register={() => form.register("usagePlanIds")} error={errors.usagePlanIds?.message} />
      <div className="grid grid-cols-1 gap-4 sm:grid-cols-2">
        <SelectField
          label="Mode"
          hint="Calls with a test key are counted, never billed."
          error={errors.mode?.message}
          {...form.register("mode")}
        >
          <option value="LIVE">Live</option>
          <option value="TEST">Test</option>
        </SelectField>
        <TextField
          label="Expires after"
          optional
          type="date"
          error={errors.expiresAt?.message}
          {...form.register("expiresAt")}
        />
      </div>
      <ApiKeyPlaces register={form.register} errors={errors} />
    </Form>
  );
}
