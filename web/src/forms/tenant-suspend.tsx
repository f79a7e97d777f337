import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { TextArea } from "../ui/field";
import { toast } from "../ui/toast";
import { requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";

const SuspendTenantDocument = graphql(`
  mutation SuspendTenant($input: SuspendTenantInput!) {
    suspendTenant(input: $input) { tenant { id name } userErrors { code message param } }
  }
`);

const schema = z.object({ reason: requiredText("Say why; the members of the organisation read it.") });

export function TenantSuspendForm({
  id,
  name,
  reason,
  onDone,
}: {
  id: string;
  name: string;
  /** What was said before, where it is suspended already. */
  reason: string | null | undefined;
  onDone: () => void;
}) {
  const form = useSchemaForm(schema, { reason: reason ?? "" });
  return (
    <Form
      form={form}
      submit={reason ? "Change the reason" : "Suspend"}
      onCancel={onDone}
      send={async (values) => {
        const { tenant, userErrors } = (await request(SuspendTenantDocument, { input: { id, ...values } }))
          .suspendTenant;
        if (tenant) {
          await refreshAll();
          toast(reason ? "Reason changed" : `Suspended ${name}`);
          onDone();
        }
        return userErrors;
      }}
    >
      <p>
        Calls to the APIs of <strong className="wrap-anywhere">{name}</strong> are refused with 403 within
        seconds. Its members log in and read, and change nothing. Nothing is lost: “Resume” undoes it.
      </p>
      <TextArea
        label="Reason"
        hint="Members see it on each page."
        error={form.formState.errors.reason?.message}
        {...form.register("reason")}
      />
    </Form>
  );
}
