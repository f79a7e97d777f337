import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { SelectField } from "../ui/field";
import { Form, useSchemaForm } from "./form";

const RotateApiKeyDocument = graphql(`
  mutation RotateApiKey($input: RotateApiKeyInput!) {
    rotateApiKey(input: $input) { apiKey { id } value userErrors { code message param } }
  }
`);

const HOUR_MS = 3_600_000;
/** For how many hours both values may work. */
const OVERLAPS = [
  { hours: "24", label: "one more day" },
  { hours: "168", label: "one more week" },
  { hours: "720", label: "30 more days" },
  { hours: "0", label: "no longer: it stops at once" },
];

const schema = z.object({ overlapEndsAt: z.string() });

type Props = { apiKey: { id: string }; onDone: (value: string) => void; onCancel: () => void };

/** Gives a key another value. */
export function ApiKeyRotateForm({ apiKey, onDone, onCancel }: Props) {
  const form = useSchemaForm(schema, { overlapEndsAt: "168" });
  return (
    <Form
      form={form}
      needs="manageApiKeys"
      submit="Rotate key"
      onCancel={onCancel}
      send={async ({ overlapEndsAt: hours }) => {
        const end = new Date(Date.now() + Number(hours) * HOUR_MS).toISOString();
        const input = { id: apiKey.id, ...(hours === "0" ? {} : { overlapEndsAt: end }) };
        const { value, userErrors } = (await request(RotateApiKeyDocument, { input })).rotateApiKey;
        if (value) {
          await refreshAll();
          onDone(value);
        }
        return userErrors;
      }}
    >
      <p>
        The key gets another value, shown once. Plans, limits and usage stay: both values are the same key.
      </p>
      <SelectField
        label="The present value works"
        error={form.formState.errors.overlapEndsAt?.message}
        {...form.register("overlapEndsAt")}
      >
        {OVERLAPS.map(({ hours, label }) => (
          <option key={hours} value={hours}>
            {label}
          </option>
        ))}
      </SelectField>
    </Form>
  );
}
