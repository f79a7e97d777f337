import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { SwitchField, TextField } from "../ui/field";
import { toast } from "../ui/toast";
import { Form, useSchemaForm } from "./form";

const UpdateDeploymentDocument = graphql(`
  mutation UpdateDeployment($input: UpdateDeploymentInput!) {
    updateDeployment(input: $input) { deployment { id } userErrors { code message param } }
  }
`);

const schema = z.object({
  label: z
    .string()
    .trim()
    .transform((label) => label || null),
  description: z.string().trim(),
  pinned: z.boolean(),
});

type Deployment = { id: string; label?: string | null; description: string; pinned: boolean };

export function DeploymentUpdateForm({ deployment }: { deployment: Deployment }) {
  const form = useSchemaForm(schema, {
    label: deployment.label ?? "",
    description: deployment.description,
    pinned: deployment.pinned,
  });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      needs="deploy"
      submit="Save deployment"
      send={async (values) => {
        const input = { id: deployment.id, ...values };
        const { deployment: saved, userErrors } = (await request(UpdateDeploymentDocument, { input }))
          .updateDeployment;
        if (saved) {
          toast("Deployment saved");
          await refreshAll();
        }
        return userErrors;
      }}
    >
      <div className="grid grid-cols-1 gap-4 sm:grid-cols-2">
        <TextField
          label="Label"
          optional
          placeholder="v1.4"
          hint="One deployment of the API has it."
          error={errors.label?.message}
          {...form.register("label")}
        />
        <TextField
          label="Description"
          optional
          error={errors.description?.message}
          {...form.register("description")}
        />
      </div>
      <SwitchField
        label="Pinned"
        hint="It is kept for good. Others give way, the oldest first, when the API has as many as it may."
        error={errors.pinned?.message}
        {...form.register("pinned")}
      />
    </Form>
  );
}
