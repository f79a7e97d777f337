import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { TextField } from "../ui/field";
import { toast } from "../ui/toast";
import { newPassword, PASSWORD_LENGTH_MIN, requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";

const ChangePasswordDocument = graphql(`
  mutation ChangePassword($input: ChangePasswordInput!) {
    changePassword(input: $input) { done userErrors { code message param } }
  }
`);

const schema = z.object({ currentPassword: requiredText("Enter your present password."), newPassword });

export function PasswordChangeForm() {
  const form = useSchemaForm(schema, { currentPassword: "", newPassword: "" });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      submit="Change password"
      send={async (input) => {
        const { done, userErrors } = (await request(ChangePasswordDocument, { input })).changePassword;
        if (done) {
          form.reset();
          toast("Password changed. Your other sessions have ended.");
          await refreshAll();
        }
        return userErrors;
      }}
    >
      <TextField
        label="Present password"
        type="password"
        autoComplete="current-password"
        error={errors.currentPassword?.message}
        {...form.register("currentPassword")}
      />
      <TextField
        label="New password"
        type="password"
        autoComplete="new-password"
        hint={`At least ${PASSWORD_LENGTH_MIN} characters.`}
        error={errors.newPassword?.message}
        {...form.register("newPassword")}
      />
    </Form>
  );
}
