import { useId } from "react";
import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { TextField } from "../ui/field";
import { percentTraffic, requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";

const CreateDeploymentDocument = graphql(`
  mutation CreateDeployment($input: CreateDeploymentInput!) {
    createDeployment(input: $input) {
      deployment { id }
      stage { id name }
      userErrors { code message param }
    }
  }
`);

const schema = z.object({
  stage: requiredText("Name the stage."),
  description: z.string().trim(),
  canarySettings: z.object({
    percentTraffic: z.union([z.literal("").transform(() => null), percentTraffic]),
  }),
});

type Props = {
  api: string;
  /** The stages there are; another name makes a new one. */
  stages: readonly string[];
  onDone: (stage: string) => void;
  onCancel: () => void;
};

export function DeploymentCreateForm({ api, stages, onDone, onCancel }: Props) {
  const form = useSchemaForm(schema, {
    stage: stages[0] ?? "prod",
    description: "",
    canarySettings: { percentTraffic: "" },
  });
  const { errors } = form.formState;
  const listId = useId();
  return (
    <Form
      form={form}
      needs="deploy"
      submit="Deploy"
      onCancel={onCancel}
      send={async ({ stage, description, canarySettings: { percentTraffic } }) => {
        const canarySettings = percentTraffic === null ? null : { percentTraffic };
        const input = { apiId: api, stage, description, canarySettings };
        const { deployment, userErrors } = (await request(CreateDeploymentDocument, { input }))
          .createDeployment;
        if (deployment) {
          await refreshAll();
          onDone(stage);
        }
        return userErrors;
      }}
    >
      <p className="text-muted">
        The draft is checked and frozen. The stage then serves exactly this, until the next deployment.
      </p>
      <TextField
        label="Stage"
        list={listId}
        hint="A name in the URL, such as prod. A new name makes a new stage."
        error={errors.stage?.message}
        {...form.register("stage")}
      />
      <datalist id={listId}>
        {stages.map((stage) => (
          <option key={stage} value={stage} />
        ))}
      </datalist>
      <TextField
        label="Description"
        optional
        placeholder="What changes"
        error={errors.description?.message}
        {...form.register("description")}
      />
      <TextField
        label="Percent of calls"
        optional
        inputMode="decimal"
        placeholder="All"
        hint="With a percentage it becomes the stage's canary, beside what the stage serves."
        error={errors.canarySettings?.percentTraffic?.message}
        {...form.register("canarySettings.percentTraffic")}
      />
    </Form>
  );
}
