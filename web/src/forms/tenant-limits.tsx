import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import type { TenantLimitName } from "../api/generated/graphql";
import { refreshAll } from "../api/query";
import { count } from "../lib/format";
import { isRate, isUnused, LIMITS } from "../lib/limits";
import { TextField } from "../ui/field";
import { toast } from "../ui/toast";
import { Form, useSchemaForm } from "./form";

const UpdateTenantLimitsDocument = graphql(`
  mutation UpdateTenantLimits($input: UpdateTenantLimitsInput!) {
    updateTenantLimits(input: $input) { tenant { id } userErrors { code message param } }
  }
`);

/** The server's bound. */
const LIMIT_MAX = 1_000_000;

const limit = z
  .string()
  .trim()
  .refine((typed) => typed === "" || (/^\d+$/.test(typed) && Number(typed) <= LIMIT_MAX), {
    message: `Enter a whole number up to ${count(LIMIT_MAX)}, or nothing for the default.`,
  });

// As the mutation's input, so that a refusal finds its field.
const schema = z.object({ limits: z.array(z.object({ limit })) });

export type TenantLimit = {
  name: TenantLimitName;
  limit: number;
  default: number;
  adjusted: boolean;
  used: number;
};

/** All limits at once; an empty one has its default. */
export function TenantLimitsForm({
  id,
  limits,
  onDone,
}: {
  id: string;
  limits: readonly TenantLimit[];
  onDone: () => void;
}) {
  const typed = ({ limit, adjusted }: TenantLimit) => (adjusted ? String(limit) : "");
  const form = useSchemaForm(schema, { limits: limits.map((one) => ({ limit: typed(one) })) });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      submit="Set limits"
      onCancel={onDone}
      send={async (values) => {
        const input = {
          tenantId: id,
          limits: values.limits.map(({ limit }, at) => ({
            name: (limits[at] as TenantLimit).name,
            limit: limit === "" ? null : Number(limit),
          })),
        };
        const { tenant, userErrors } = (await request(UpdateTenantLimitsDocument, { input }))
          .updateTenantLimits;
        if (tenant) {
          await refreshAll();
          toast("Limits set");
          onDone();
        }
        return userErrors;
      }}
    >
      <p>
        An empty limit is the default. What the organisation has beyond a lowered limit stays; it makes no
        more.
      </p>
      <div className="grid gap-4 sm:grid-cols-2">
        {limits.map(({ name, default: usual, used }, at) => (
          <TextField
            key={name}
            label={LIMITS[name]}
            inputMode="numeric"
            placeholder={isUnused(name) ? "No limit" : count(usual)}
            hint={
              isRate(name)
                ? "Over all its APIs. Empty: as the other."
                : isUnused(name)
                  ? "Of a whole exchange. Empty: as its integration says."
                  : `${count(used)} used`
            }
            error={errors.limits?.[at]?.limit?.message}
            {...form.register(`limits.${at}.limit`)}
          />
        ))}
      </div>
    </Form>
  );
}
