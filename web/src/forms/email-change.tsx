import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { TextField } from "../ui/field";
import { toast } from "../ui/toast";
import { email, requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";

const ChangeEmailDocument = graphql(`
  mutation ChangeEmail($input: ChangeEmailInput!) {
    changeEmail(input: $input) { verificationSent userErrors { code message param } }
  }
`);

const schema = z.object({ email, currentPassword: requiredText("Enter your present password.") });

export function EmailChangeForm() {
  const form = useSchemaForm(schema, { email: "", currentPassword: "" });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      submit="Change email"
      send={async (input) => {
        const { verificationSent, userErrors } = (await request(ChangeEmailDocument, { input })).changeEmail;
        if (userErrors.length === 0) {
          form.reset();
          toast(
            verificationSent
              ? `A letter went to ${input.email}. It is your address once you open the link in it.`
              : `Your address is now ${input.email}`,
          );
          await refreshAll();
        }
        return userErrors;
      }}
    >
      <TextField
        label="New email"
        type="email"
        autoComplete="email"
        error={errors.email?.message}
        {...form.register("email")}
      />
      <TextField
        label="Password"
        type="password"
        autoComplete="current-password"
        error={errors.currentPassword?.message}
        {...form.register("currentPassword")}
      />
    </Form>
  );
}
