import { z } from "zod";
import { requestAsNobody, session } from "../api/client";
import { graphql } from "../api/generated";
import { TextField } from "../ui/field";
import { email, requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";

const LogInDocument = graphql(`
  mutation LogIn($input: LogInInput!) {
    logIn(input: $input) { accessToken expiresInSeconds userErrors { code message param } }
  }
`);

const schema = z.object({ email, password: requiredText("Enter your password.") });

export function LogInForm({ onDone }: { onDone: () => void }) {
  const form = useSchemaForm(schema, { email: "", password: "" });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      submit="Log in"
      wide
      send={async (input) => {
        const { accessToken, expiresInSeconds, userErrors } = (
          await requestAsNobody(LogInDocument, { input })
        ).logIn;
        if (accessToken && expiresInSeconds) {
          session.start({ accessToken, expiresInSeconds });
          onDone();
        }
        return userErrors;
      }}
    >
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
        autoComplete="current-password"
        error={errors.password?.message}
        {...form.register("password")}
      />
    </Form>
  );
}
