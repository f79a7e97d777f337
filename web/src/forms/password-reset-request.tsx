import { z } from "zod";
import { requestAsNobody } from "../api/client";
import { graphql } from "../api/generated";
import { TextField } from "../ui/field";
import { email } from "./fields";
import { Form, useSchemaForm } from "./form";

const RequestPasswordResetDocument = graphql(`
  mutation RequestPasswordReset($input: RequestPasswordResetInput!) {
    requestPasswordReset(input: $input) { done userErrors { code message param } }
  }
`);

const schema = z.object({ email });

export function PasswordResetRequestForm({ onDone }: { onDone: (email: string) => void }) {
  const form = useSchemaForm(schema, { email: "" });
  return (
    <Form
      form={form}
      submit="Send the link"
      wide
      send={async (input) => {
        const { done, userErrors } = (await requestAsNobody(RequestPasswordResetDocument, { input }))
          .requestPasswordReset;
        if (done) onDone(input.email);
        return userErrors;
      }}
    >
      <TextField
        label="Email"
        type="email"
        autoComplete="username"
        error={form.formState.errors.email?.message}
        {...form.register("email")}
      />
    </Form>
  );
}
