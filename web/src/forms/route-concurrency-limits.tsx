import { Plus, Trash2 } from "lucide-react";
import { useFieldArray } from "react-hook-form";
import { Button, IconButton } from "../ui/button";
import { TextField } from "../ui/field";
import { EnforcementField } from "./enforcement-field";
import { concurrencyLimitTyped } from "./fields";
import type { StageForm } from "./stage-update";

/** How many requests of some routes may be in progress at once: part of a stage's settings. */
export function RouteConcurrencyLimits({ form }: { form: StageForm }) {
  const { control, register } = form;
  const { errors } = form.formState;
  const limits = useFieldArray({ control, name: "routeConcurrencyLimits" });
  return (
    <fieldset className="flex flex-col gap-2">
      <legend className="mb-1.5 font-medium">Requests in progress of routes</legend>
      <p className="text-xs text-muted">
        {limits.fields.length === 0
          ? "None. A route can have a limit of its own, over all its callers."
          : "Over all callers of a route, beside the limits of the stage and of keys."}
      </p>
      {limits.fields.map((field, at) => {
        const wrong = errors.routeConcurrencyLimits?.[at];
        return (
          <div key={field.id} className="grid grid-cols-2 items-end gap-2 lg:grid-cols-[2fr_1fr_1.5fr_auto]">
            <TextField
              label={`Route of limit ${at + 1}`}
              className="font-mono text-xs"
              placeholder="GET /pets/{id}"
              error={wrong?.routeKey?.message}
              {...register(`routeConcurrencyLimits.${at}.routeKey`)}
            />
            <TextField
              label={`Requests in progress of limit ${at + 1}`}
              inputMode="numeric"
              error={wrong?.maxInFlight?.message}
              {...register(`routeConcurrencyLimits.${at}.maxInFlight`)}
            />
            <EnforcementField
              label={`Beyond limit ${at + 1}`}
              error={wrong?.enforcement?.message}
              {...register(`routeConcurrencyLimits.${at}.enforcement`)}
            />
            <IconButton label={`Remove limit ${at + 1}`} onClick={() => limits.remove(at)} className="mb-0.5">
              <Trash2 size={14} aria-hidden="true" />
            </IconButton>
          </div>
        );
      })}
      {errors.routeConcurrencyLimits?.message && (
        <p className="text-bad">{errors.routeConcurrencyLimits.message}</p>
      )}
      <div>
        <Button onClick={() => limits.append({ routeKey: "", ...concurrencyLimitTyped(null) })}>
          <Plus size={14} aria-hidden="true" />
          Add limit of a route
        </Button>
      </div>
    </fieldset>
  );
}
