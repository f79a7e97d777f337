import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { RoleSelect } from "../components/role-select";
import { TextField } from "../ui/field";
import { email } from "./fields";
import { Form, useSchemaForm } from "./form";

const CreateInvitationDocument = graphql(`
  mutation CreateInvitation($input: CreateInvitationInput!) {
    createInvitation(input: $input) {
      invitation { id email } link userErrors { code message param }
    }
  }
`);

const schema = z.object({
  email,
  role: z.enum(["OWNER", "ADMIN", "DEVELOPER", "BILLING", "VIEWER"]),
});

/** An invitation and its link, which is there only where no mail goes out. */
export type SentInvitation = { email: string; link: string | undefined };

export function InvitationCreateForm({
  onDone,
  onCancel,
}: {
  onDone: (sent: SentInvitation) => void;
  onCancel: () => void;
}) {
  const form = useSchemaForm(schema, { email: "", role: "DEVELOPER" });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      needs="manageMembers"
      submit="Invite"
      onCancel={onCancel}
      send={async (input) => {
        const { invitation, link, userErrors } = (await request(CreateInvitationDocument, { input }))
          .createInvitation;
        if (invitation) {
          await refreshAll();
          onDone({ email: invitation.email, link: link ?? undefined });
        }
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
      <RoleSelect chosen={form.watch("role")} error={errors.role?.message} {...form.register("role")} />
    </Form>
  );
}
