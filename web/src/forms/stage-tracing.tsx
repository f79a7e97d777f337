import { ArrowUp, Plus, Trash2 } from "lucide-react";
import { useFieldArray } from "react-hook-form";
import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { Button, IconButton } from "../ui/button";
import { SwitchField, TextField } from "../ui/field";
import { toast } from "../ui/toast";
import { samplingRule, samplingRuleTyped } from "./fields";
import { Form, useSchemaForm } from "./form";

const SaveTracingDocument = graphql(`
  mutation SaveTracing($input: UpdateStageInput!) {
    updateStage(input: $input) { stage { id } userErrors { code message param } }
  }
`);

const schema = z.object({ tracingEnabled: z.boolean(), samplingRules: z.array(samplingRule) });

type Stage = {
  id: string;
  tracingEnabled: boolean;
  samplingRules: readonly Parameters<typeof samplingRuleTyped>[0][];
};

export function StageTracingForm({ stage }: { stage: Stage }) {
  const form = useSchemaForm(schema, {
    tracingEnabled: stage.tracingEnabled,
    samplingRules: stage.samplingRules.map(samplingRuleTyped),
  });
  const rules = useFieldArray({ control: form.control, name: "samplingRules" });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      needs="deploy"
      submit="Save tracing"
      send={async ({ tracingEnabled, samplingRules }) => {
        const input = {
          id: stage.id,
          tracingEnabled,
          samplingRules: samplingRules.map(({ percent, ...rule }) => ({ ...rule, rate: percent / 100 })),
        };
        const { stage: saved, userErrors } = (await request(SaveTracingDocument, { input })).updateStage;
        if (saved) {
          toast("Tracing saved");
          await refreshAll();
        }
        // The share is typed in percent.
        return userErrors.map((error) => ({
          ...error,
          param: error.param?.replace(/\.rate$/, ".percent") ?? null,
        }));
      }}
    >
      <SwitchField
        label="Sample by these rules"
        hint="Off: each node decides by its own setting."
        error={errors.tracingEnabled?.message}
        {...form.register("tracingEnabled")}
      />
      <fieldset className="flex flex-col gap-3">
        <legend className="mb-1.5 font-medium">Sampling rules</legend>
        <p className="text-xs text-muted">
          {rules.fields.length === 0
            ? "None. One trace a second is kept, and 5 % of the rest."
            : "The first that names a call's route decides; * is every call, and the last rule."}
        </p>
        {rules.fields.map((field, at) => {
          const wrong = errors.samplingRules?.[at];
          const of = `of rule ${at + 1}`;
          return (
            <fieldset
              key={field.id}
              aria-label={`Rule ${at + 1}`}
              className="flex flex-col gap-3 rounded-md border border-line p-3"
            >
              <div className="grid grid-cols-1 gap-3 sm:grid-cols-2">
                <TextField
                  label={`Route ${of}`}
                  className="font-mono text-xs"
                  placeholder="GET /pets/{id}"
                  error={wrong?.routeKey?.message}
                  {...form.register(`samplingRules.${at}.routeKey`)}
                />
                <TextField
                  label={`Percent ${of}`}
                  inputMode="decimal"
                  error={wrong?.percent?.message}
                  {...form.register(`samplingRules.${at}.percent`)}
                />
                <TextField
                  label={`Traces a second before it ${of}`}
                  inputMode="numeric"
                  error={wrong?.reservoirPerSecond?.message}
                  {...form.register(`samplingRules.${at}.reservoirPerSecond`)}
                />
                <TextField
                  label={`Keep calls longer than, in ms, ${of}`}
                  optional
                  inputMode="numeric"
                  error={wrong?.keepSlowerThanMillis?.message}
                  {...form.register(`samplingRules.${at}.keepSlowerThanMillis`)}
                />
              </div>
              <div className="flex items-center justify-between gap-2">
                <SwitchField
                  label={`Keep errors ${of}`}
                  error={wrong?.keepErrors?.message}
                  {...form.register(`samplingRules.${at}.keepErrors`)}
                />
                <span className="flex gap-1">
                  {at > 0 && (
                    <IconButton label={`Move rule ${at + 1} up`} onClick={() => rules.swap(at, at - 1)}>
                      <ArrowUp size={14} aria-hidden="true" />
                    </IconButton>
                  )}
                  <IconButton label={`Remove rule ${at + 1}`} onClick={() => rules.remove(at)}>
                    <Trash2 size={14} aria-hidden="true" />
                  </IconButton>
                </span>
              </div>
            </fieldset>
          );
        })}
        {errors.samplingRules?.message && <p className="text-bad">{errors.samplingRules.message}</p>}
        <div>
          <Button
            onClick={() =>
              rules.append({
                routeKey: rules.fields.length === 0 ? "*" : "",
                reservoirPerSecond: "1",
                percent: "5",
                keepErrors: true,
                keepSlowerThanMillis: "",
              })
            }
          >
            <Plus size={14} aria-hidden="true" />
            Add rule
          </Button>
        </div>
      </fieldset>
    </Form>
  );
}
