import { Plus, Trash2 } from "lucide-react";
import { useFieldArray } from "react-hook-form";
import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { Button, IconButton } from "../ui/button";
import { SelectField, TextField } from "../ui/field";
import { toast } from "../ui/toast";
import { EnforcementField } from "./enforcement-field";
import { clientThrottle, clientThrottleTyped } from "./fields";
import { Form, useSchemaForm } from "./form";
import { ThrottleWays } from "./throttle-ways";

const SaveClientThrottlesDocument = graphql(`
  mutation SaveClientThrottles($input: UpdateStageInput!) {
    updateStage(input: $input) { stage { id } userErrors { code message param } }
  }
`);

const schema = z.object({ clientThrottles: z.array(clientThrottle) });

type Stage = {
  id: string;
  clientThrottles: readonly Parameters<typeof clientThrottleTyped>[0][];
};

export function StageClientsForm({ stage }: { stage: Stage }) {
  const form = useSchemaForm(schema, {
    clientThrottles: stage.clientThrottles.map(clientThrottleTyped),
  });
  const throttles = useFieldArray({ control: form.control, name: "clientThrottles" });
  const { errors } = form.formState;
  const typed = form.watch("clientThrottles");
  return (
    <Form
      form={form}
      needs="deploy"
      submit="Save clients' throttles"
      send={async (values) => {
        const input = { id: stage.id, ...values };
        const answer = (await request(SaveClientThrottlesDocument, { input })).updateStage;
        if (answer.stage) {
          toast("Clients' throttles saved");
          await refreshAll();
        }
        return answer.userErrors;
      }}
    >
      <p className="text-xs text-muted">
        {throttles.fields.length === 0
          ? "None. Each address, or each value of a header, can have a limit of its own."
          : "Each client counts by itself, beside the limits of the stage, its routes and keys."}
      </p>
      {throttles.fields.map((field, at) => {
        const wrong = errors.clientThrottles?.[at];
        const of = `of clients' throttle ${at + 1}`;
        return (
          <fieldset
            key={field.id}
            aria-label={`Clients' throttle ${at + 1}`}
            className="flex flex-col gap-3 rounded-md border border-line p-3"
          >
            <div className="grid grid-cols-1 gap-3 sm:grid-cols-2 lg:grid-cols-3">
              <TextField
                label={`Name ${of}`}
                className="font-mono text-xs"
                placeholder="per-ip"
                hint="Callers are told of the limit by it."
                error={wrong?.name?.message}
                {...form.register(`clientThrottles.${at}.name`)}
              />
              <SelectField
                label={`Client ${of}`}
                error={wrong?.key?.message}
                {...form.register(`clientThrottles.${at}.key`)}
              >
                <option value="IP">An address</option>
                <option value="HEADER">A header's value</option>
              </SelectField>
              {typed[at]?.key === "HEADER" && (
                <TextField
                  label={`Header ${of}`}
                  className="font-mono text-xs"
                  placeholder="x-user"
                  hint="Calls without it are not counted, and callers choose its value."
                  error={wrong?.headerName?.message}
                  {...form.register(`clientThrottles.${at}.headerName`)}
                />
              )}
              <TextField
                label={`Route ${of}`}
                optional
                className="font-mono text-xs"
                placeholder="Every call of the stage"
                error={wrong?.routeKey?.message}
                {...form.register(`clientThrottles.${at}.routeKey`)}
              />
              <TextField
                label={`Requests a second ${of}`}
                inputMode="decimal"
                error={wrong?.rateLimit?.message}
                {...form.register(`clientThrottles.${at}.rateLimit`)}
              />
              <TextField
                label={`Burst ${of}`}
                inputMode="numeric"
                error={wrong?.burstLimit?.message}
                {...form.register(`clientThrottles.${at}.burstLimit`)}
              />
              <EnforcementField
                label={`Beyond clients' throttle ${at + 1}`}
                error={wrong?.enforcement?.message}
                {...form.register(`clientThrottles.${at}.enforcement`)}
              />
              <ThrottleWays
                of={of}
                mode={form.register(`clientThrottles.${at}.mode`)}
                outage={form.register(`clientThrottles.${at}.outage`)}
                wrong={wrong}
              />
            </div>
            <div className="flex justify-end">
              <IconButton label={`Remove clients' throttle ${at + 1}`} onClick={() => throttles.remove(at)}>
                <Trash2 size={14} aria-hidden="true" />
              </IconButton>
            </div>
          </fieldset>
        );
      })}
      {errors.clientThrottles?.message && <p className="text-bad">{errors.clientThrottles.message}</p>}
      <div>
        <Button onClick={() => throttles.append(clientThrottleTyped(null))}>
          <Plus size={14} aria-hidden="true" />
          Add throttle of clients
        </Button>
      </div>
    </Form>
  );
}
