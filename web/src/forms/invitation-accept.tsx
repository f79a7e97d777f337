import { z } from "zod";
import { requestAsNobody, session } from "../api/client";
import { graphql } from "../api/generated";
import { TextField } from "../ui/field";
import { newPassword, PASSWORD_LENGTH_MIN } from "./fields";
import { Form, useSchemaForm } from "./form";

export const AcceptInvitationDocument = graphql(`
  mutation AcceptInvitation($input: AcceptInvitationInput!) {
    acceptInvitation(input: $input) {
      tenant { id name } accessToken expiresInSeconds userErrors { code message param }
    }
  }
`);

const schema = z.object({ password: newPassword });

/** Who has no account yet chooses a password, and is then logged in. */
export function InvitationAcceptForm({
  token,
  email,
  onDone,
}: {
  token: string;
  email: string;
  onDone: () => void;
}) {
  const form = useSchemaForm(schema, { password: "" });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      submit="Create account and join"
      wide
      send={async ({ password }) => {
        const { accessToken, expiresInSeconds, userErrors } = (
          await requestAsNobody(AcceptInvitationDocument, { input: { token, password } })
        ).acceptInvitation;
        if (accessToken && expiresInSeconds) {
          session.start({ accessToken, expiresInSeconds });
          onDone();
        }
        return userErrors;
      }}
    >
      <TextField label="Email" type="email" autoComplete="username" readOnly value={email} />
      <TextField
        label="Password"
        type="password"
        autoComplete="new-password"
        hint={`At least ${PASSWORD_LENGTH_MIN} characters.`}
        error={errors.password?.message}
        {...form.register("password")}
      />
    </Form>
  );
}
