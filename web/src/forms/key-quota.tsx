import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { TextField } from "../ui/field";
import { toast } from "../ui/toast";
import { wholeNumber } from "./fields";
import { Form, useSchemaForm } from "./form";

const UpdateKeyQuotaDocument = graphql(`
  mutation UpdateKeyQuota($input: UpdateKeyQuotaInput!) {
    updateKeyQuota(input: $input) { keyQuota { limit extraCalls } userErrors { code message param } }
  }
`);

const schema = z.object({ extraCalls: wholeNumber });

type Props = { apiKey: string; usagePlan: string; version: string; extraCalls: number; hint: string };

/** Grants a key calls beside its quota on a plan, until the present period ends. */
export function KeyQuotaForm({ apiKey, usagePlan, version, extraCalls, hint }: Props) {
  const form = useSchemaForm(schema, { extraCalls: String(extraCalls) });
  return (
    <Form
      form={form}
      needs="manageUsagePlans"
      submit="Extend quota"
      send={async (values) => {
        // Of the period that is shown, and of no other that has begun meanwhile.
        const input = { apiKeyId: apiKey, usagePlanId: usagePlan, expectedVersion: version, ...values };
        const { keyQuota, userErrors } = (await request(UpdateKeyQuotaDocument, { input })).updateKeyQuota;
        if (keyQuota) {
          await refreshAll();
          toast("Quota extended");
        }
        return userErrors;
      }}
    >
      <TextField
        label="Extra calls"
        inputMode="numeric"
        hint={hint}
        error={form.formState.errors.extraCalls?.message}
        {...form.register("extraCalls")}
      />
    </Form>
  );
}
