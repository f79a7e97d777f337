import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { SelectField, TextField } from "../ui/field";
import { Form, useSchemaForm } from "./form";

const CreateJoinTokenDocument = graphql(`
  mutation CreateJoinToken($input: CreateJoinTokenInput!) {
    createJoinToken(input: $input) { token userErrors { code message param } }
  }
`);

const LIVES = [
  { label: "An hour", seconds: 3600 },
  { label: "A day", seconds: 86_400 },
  { label: "A week", seconds: 604_800 },
  { label: "30 days", seconds: 2_592_000 },
] as const;

const schema = z.object({
  name: z.string().trim(),
  cells: z
    .string()
    .transform((typed) => typed.split(/[\s,]+/).filter(Boolean))
    .refine((cells) => cells.length > 0, "Name at least one cell."),
  expiresInSeconds: z.string().transform(Number),
});

export function JoinTokenCreateForm({
  onDone,
  onCancel,
}: {
  onDone: (token: string) => void;
  onCancel: () => void;
}) {
  const form = useSchemaForm(schema, { name: "", cells: "default", expiresInSeconds: "3600" });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      submit="Create"
      onCancel={onCancel}
      send={async (input) => {
        const { token, userErrors } = (await request(CreateJoinTokenDocument, { input })).createJoinToken;
        if (token) {
          await refreshAll();
          onDone(token);
        }
        return userErrors;
      }}
    >
      <TextField
        label="Name"
        optional
        hint="What it is for."
        error={errors.name?.message}
        {...form.register("name")}
      />
      <TextField
        label="Cells"
        hint="What the nodes may serve, with commas between."
        error={errors.cells?.message}
        {...form.register("cells")}
      />
      <SelectField
        label="Works for"
        error={errors.expiresInSeconds?.message}
        {...form.register("expiresInSeconds")}
      >
        {LIVES.map(({ label, seconds }) => (
          <option key={seconds} value={seconds}>
            {label}
          </option>
        ))}
      </SelectField>
    </Form>
  );
}
