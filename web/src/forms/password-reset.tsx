import { z } from "zod";
import { requestAsNobody } from "../api/client";
import { graphql } from "../api/generated";
import { TextField } from "../ui/field";
import { newPassword, PASSWORD_LENGTH_MIN } from "./fields";
import { Form, useSchemaForm } from "./form";

const ResetPasswordDocument = graphql(`
  mutation ResetPassword($input: ResetPasswordInput!) {
    resetPassword(input: $input) { done userErrors { code message param } }
  }
`);

const schema = z.object({ password: newPassword });

export function PasswordResetForm({ token, onDone }: { token: string; onDone: () => void }) {
  const form = useSchemaForm(schema, { password: "" });
  return (
    <Form
      form={form}
      submit="Set password"
      wide
      send={async ({ password }) => {
        const { done, userErrors } = (
          await requestAsNobody(ResetPasswordDocument, { input: { token, password } })
        ).resetPassword;
        if (done) onDone();
        return userErrors;
      }}
    >
      <TextField
        label="New password"
        type="password"
        autoComplete="new-password"
        hint={`At least ${PASSWORD_LENGTH_MIN} characters.`}
        error={form.formState.errors.password?.message}
        {...form.register("password")}
      />
    </Form>
  );
}
