import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { TextField } from "../ui/field";
import { requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";

const DeleteAccountDocument = graphql(`
  mutation DeleteAccount($input: DeleteAccountInput!) {
    deleteAccount(input: $input) { done userErrors { code message param } }
  }
`);

const schema = z.object({ password: requiredText("Enter your password.") });

export function AccountDeleteForm({ onDone, onCancel }: { onDone: () => void; onCancel: () => void }) {
  const form = useSchemaForm(schema, { password: "" });
  return (
    <Form
      form={form}
      submit="Delete my account"
      onCancel={onCancel}
      send={async (input) => {
        const { done, userErrors } = (await request(DeleteAccountDocument, { input })).deleteAccount;
        if (done) onDone();
        return userErrors;
      }}
    >
      <p>
        You leave every organisation, and your sessions and access keys end at once. What you made stays with
        the organisations. This cannot be undone.
      </p>
      <TextField
        label="Password"
        type="password"
        autoComplete="current-password"
        error={form.formState.errors.password?.message}
        {...form.register("password")}
      />
    </Form>
  );
}
