import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { TextField } from "../ui/field";
import { toast } from "../ui/toast";
import { decimal } from "./fields";
import { Form, useSchemaForm } from "./form";

const SetPriceDocument = graphql(`
  mutation SetPrice($input: SetPriceInput!) {
    setPrice(input: $input) { price { effectiveFrom } userErrors { code message param } }
  }
`);

const schema = z.object({
  currency: z
    .string()
    .trim()
    .toUpperCase()
    .regex(/^[A-Z]{3}$/, "Enter a currency code such as USD."),
  perMillionRequests: decimal,
  perGbOut: decimal,
  freeRequests: z.string().trim().regex(/^\d+$/, "Enter a whole number, or 0."),
});

type Price = { currency: string; perMillionRequests: string; perGbOut: string; freeRequests: number };

export function SetPriceForm({ price }: { price: Price }) {
  const form = useSchemaForm(schema, {
    currency: price.currency || "USD",
    perMillionRequests: price.perMillionRequests,
    perGbOut: price.perGbOut,
    freeRequests: String(price.freeRequests),
  });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      submit="Set price"
      send={async ({ freeRequests, ...values }) => {
        const input = { ...values, freeRequests: Number(freeRequests) };
        const { price: saved, userErrors } = (await request(SetPriceDocument, { input })).setPrice;
        if (saved) {
          toast("Price set");
          await refreshAll();
        }
        return userErrors;
      }}
    >
      <TextField label="Currency" error={errors.currency?.message} {...form.register("currency")} />
      <TextField
        label="Per million requests"
        inputMode="decimal"
        error={errors.perMillionRequests?.message}
        {...form.register("perMillionRequests")}
      />
      <TextField
        label="Per GB out"
        inputMode="decimal"
        error={errors.perGbOut?.message}
        {...form.register("perGbOut")}
      />
      <TextField
        label="Free requests a month"
        inputMode="numeric"
        hint="The first of each tenant's month."
        error={errors.freeRequests?.message}
        {...form.register("freeRequests")}
      />
    </Form>
  );
}
