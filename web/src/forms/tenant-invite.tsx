import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { TextField } from "../ui/field";
import { email } from "./fields";
import { Form, useSchemaForm } from "./form";
import type { SentInvitation } from "./invitation-create";

const InviteTenantDocument = graphql(`
  mutation InviteTenant($input: InviteTenantInput!) {
    inviteTenant(input: $input) { invitation { email } link userErrors { code message param } }
  }
`);

const schema = z.object({
  email,
  tenantName: z
    .string()
    .trim()
    .transform((typed) => typed || null),
});

export function TenantInviteForm({
  onDone,
  onCancel,
}: {
  onDone: (sent: SentInvitation) => void;
  onCancel: () => void;
}) {
  const form = useSchemaForm(schema, { email: "", tenantName: "" });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      submit="Invite"
      onCancel={onCancel}
      send={async (input) => {
        const { invitation, link, userErrors } = (await request(InviteTenantDocument, { input }))
          .inviteTenant;
        if (invitation) onDone({ email: invitation.email, link: link ?? undefined });
        return userErrors;
      }}
    >
      <TextField
        label="Email"
        type="email"
        placeholder="grace@example.com"
        error={errors.email?.message}
        {...form.register("email")}
      />
      <TextField
        label="Organisation"
        optional
        hint="Theirs to choose when left empty."
        error={errors.tenantName?.message}
        {...form.register("tenantName")}
      />
    </Form>
  );
}
