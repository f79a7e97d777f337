import { Plus, Trash2 } from "lucide-react";
import { useFieldArray } from "react-hook-form";
import { z } from "zod";
import { request } from "../api/client";
import { settled } from "../api/errors";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { minute } from "../lib/format";
import { Button, IconButton } from "../ui/button";
import { SelectField, TextField } from "../ui/field";
import { toast } from "../ui/toast";
import { percentTraffic, requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";

const SaveCanaryDocument = graphql(`
  mutation SaveCanary($input: UpdateStageInput!) {
    updateStage(input: $input) { stage { id } userErrors { code message param } }
  }
`);

const PromoteCanaryDocument = graphql(`
  mutation PromoteCanary($input: PromoteCanaryInput!) {
    promoteCanary(input: $input) { stage { id } userErrors { code message param } }
  }
`);

const schema = z.object({
  canarySettings: z.object({
    deploymentId: requiredText("Choose a deployment."),
    percentTraffic,
    stickiness: z.enum(["NONE", "API_KEY", "HEADER", "COOKIE"]),
    stickinessName: z
      .string()
      .trim()
      .transform((name) => name || null),
    stageVariableOverrides: z.array(
      z.object({ name: requiredText("Name the variable."), value: z.string() }),
    ),
  }),
});

type Deployment = { id: string; deploymentId: string; description: string; createdAt: string };
type Stage = {
  id: string;
  deployment?: { id: string } | null;
  canarySettings?: {
    deployment?: { id: string } | null;
    percentTraffic: number;
    stickiness: z.input<typeof schema>["canarySettings"]["stickiness"];
    stickinessName?: string | null;
    stageVariableOverrides: readonly { name: string; value: string }[];
  } | null;
};

/** A part of a stage's calls goes to another deployment, until that is promoted or ended. */
export function StageCanaryForm({
  stage,
  deployments,
}: {
  stage: Stage;
  deployments: readonly Deployment[];
}) {
  const canary = stage.canarySettings;
  const form = useSchemaForm(schema, {
    canarySettings: {
      deploymentId: canary?.deployment?.id ?? "",
      percentTraffic: String(canary?.percentTraffic ?? 10),
      stickiness: canary?.stickiness ?? "NONE",
      stickinessName: canary?.stickinessName ?? "",
      stageVariableOverrides: (canary?.stageVariableOverrides ?? []).map(({ name, value }) => ({
        name,
        value,
      })),
    },
  });
  const overrides = useFieldArray({
    control: form.control,
    name: "canarySettings.stageVariableOverrides",
  });
  const errors = form.formState.errors.canarySettings;
  const stickiness = form.watch("canarySettings.stickiness");
  const named = stickiness === "HEADER" || stickiness === "COOKIE";
  const end = async (done: string, change: () => Promise<unknown>) => {
    try {
      await change();
      toast(done);
      await refreshAll();
    } catch (error) {
      form.setError("root", { message: error instanceof Error ? error.message : String(error) });
    }
  };
  return (
    <Form
      form={form}
      needs="deploy"
      submit={canary ? "Save canary" : "Begin canary"}
      send={async ({ canarySettings }) => {
        const stickinessName = named ? canarySettings.stickinessName : null;
        const input = { id: stage.id, canarySettings: { ...canarySettings, stickinessName } };
        const answer = (await request(SaveCanaryDocument, { input })).updateStage;
        if (answer.stage) {
          toast("Canary saved");
          await refreshAll();
        }
        return answer.userErrors;
      }}
    >
      <div className="grid grid-cols-1 gap-4 sm:grid-cols-2">
        <SelectField
          label="Canary deployment"
          hint={canary ? "Deploy again with a percentage to try another draft." : undefined}
          error={errors?.deploymentId?.message}
          {...form.register("canarySettings.deploymentId")}
        >
          <option value="">Choose</option>
          {deployments.map((deployment) => (
            <option key={deployment.id} value={deployment.id}>
              {`${minute(deployment.createdAt)} · ${deployment.description || deployment.deploymentId}`}
            </option>
          ))}
        </SelectField>
        <TextField
          label="Percent of calls"
          inputMode="decimal"
          hint="From 0 to 100: how many of the stage's calls go to the canary."
          error={errors?.percentTraffic?.message}
          {...form.register("canarySettings.percentTraffic")}
        />
        <SelectField
          label="Callers stay by"
          hint="Calls without it are drawn one by one."
          error={errors?.stickiness?.message}
          {...form.register("canarySettings.stickiness")}
        >
          <option value="NONE">Nothing: each call is drawn</option>
          <option value="API_KEY">Their API key</option>
          <option value="HEADER">A header</option>
          <option value="COOKIE">A cookie</option>
        </SelectField>
        {named && (
          <TextField
            label={stickiness === "HEADER" ? "Header callers stay by" : "Cookie callers stay by"}
            className="font-mono text-xs"
            placeholder={stickiness === "HEADER" ? "x-user" : "session"}
            error={errors?.stickinessName?.message}
            {...form.register("canarySettings.stickinessName")}
          />
        )}
      </div>
      <fieldset className="flex flex-col gap-2">
        <legend className="mb-1.5 font-medium">Variables of the canary</legend>
        <p className="text-xs text-muted">
          In the place of the stage's of the same name. Promoting makes them the stage's.
        </p>
        {errors?.stageVariableOverrides?.message && (
          <p className="text-bad">{errors.stageVariableOverrides.message}</p>
        )}
        {overrides.fields.map((field, at) => (
          <div key={field.id} className="grid grid-cols-[1fr_1fr_auto] items-end gap-2">
            <TextField
              label={`Name of canary's variable ${at + 1}`}
              className="font-mono text-xs"
              error={errors?.stageVariableOverrides?.[at]?.name?.message}
              {...form.register(`canarySettings.stageVariableOverrides.${at}.name`)}
            />
            <TextField
              label={`Value of canary's variable ${at + 1}`}
              className="font-mono text-xs"
              error={errors?.stageVariableOverrides?.[at]?.value?.message}
              {...form.register(`canarySettings.stageVariableOverrides.${at}.value`)}
            />
            <IconButton
              label={`Remove canary's variable ${at + 1}`}
              onClick={() => overrides.remove(at)}
              className="mb-0.5"
            >
              <Trash2 size={14} aria-hidden="true" />
            </IconButton>
          </div>
        ))}
        <div>
          <Button onClick={() => overrides.append({ name: "", value: "" })}>
            <Plus size={14} aria-hidden="true" />
            Add canary's variable
          </Button>
        </div>
      </fieldset>
      {canary && (
        <div className="flex flex-wrap gap-2 border-t border-line pt-4">
          <Button
            onClick={() =>
              end("Canary promoted", async () =>
                settled((await request(PromoteCanaryDocument, { input: { id: stage.id } })).promoteCanary),
              )
            }
          >
            Promote canary
          </Button>
          <Button
            look="danger"
            onClick={() =>
              end("Canary ended", async () => {
                const input = { id: stage.id, canarySettings: null };
                settled((await request(SaveCanaryDocument, { input })).updateStage);
              })
            }
          >
            End canary
          </Button>
          <p className="self-center text-xs text-muted">
            Promoting sends every call to the canary's deployment; ending sends every call to the stage's.
          </p>
        </div>
      )}
    </Form>
  );
}
