import { z } from "zod";
import { requestAsNobody, session } from "../api/client";
import { graphql } from "../api/generated";
import { TextField } from "../ui/field";
import { email, newPassword, PASSWORD_LENGTH_MIN, requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";

const SignUpDocument = graphql(`
  mutation SignUp($input: SignUpInput!) {
    signUp(input: $input) { accessToken expiresInSeconds verificationSent userErrors { code message param } }
  }
`);

const schema = z.object({ tenant: requiredText("Name your organisation."), email, password: newPassword });

export function SignUpForm({
  token,
  onDone,
  onSent,
}: {
  /** Of the operator's invitation, where there is one. */
  token?: string | undefined;
  onDone: () => void;
  /** A letter went to the address; the link in it begins the account. */
  onSent: (email: string) => void;
}) {
  const form = useSchemaForm(schema, { tenant: "", email: "", password: "" });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      submit="Sign up"
      wide
      send={async (input) => {
        const { accessToken, expiresInSeconds, verificationSent, userErrors } = (
          await requestAsNobody(SignUpDocument, { input: token ? { ...input, token } : input })
        ).signUp;
        if (accessToken && expiresInSeconds) {
          session.start({ accessToken, expiresInSeconds });
          onDone();
        } else if (verificationSent) onSent(input.email);
        return userErrors;
      }}
    >
      <TextField
        label="Organisation"
        autoComplete="organization"
        error={errors.tenant?.message}
        {...form.register("tenant")}
      />
      <TextField
        label="Email"
        type="email"
        autoComplete="username"
        error={errors.email?.message}
        {...form.register("email")}
      />
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
