import { Link } from "@tanstack/react-router";
import { Plus, Trash2 } from "lucide-react";
import { type UseFormReturn, useFieldArray } from "react-hook-form";
import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { ClientCertificateChoices } from "../components/client-certificate-choices";
import { minute } from "../lib/format";
import { paths } from "../lib/paths";
import { Button, IconButton } from "../ui/button";
import { SelectField, SwitchField, TextField } from "../ui/field";
import { toast } from "../ui/toast";
import { EnforcementField } from "./enforcement-field";
import {
  type ConcurrencyLimit,
  concurrencyLimit,
  concurrencyLimitTyped,
  requiredText,
  routeConcurrencyLimit,
  routeThrottle,
  type Throttle,
  throttle,
  throttleTyped,
} from "./fields";
import { Form, useSchemaForm } from "./form";
import { RouteConcurrencyLimits } from "./route-concurrency-limits";
import { ThrottleWays } from "./throttle-ways";

const UpdateStageDocument = graphql(`
  mutation UpdateStage($input: UpdateStageInput!) {
    updateStage(input: $input) { stage { id } userErrors { code message param } }
  }
`);

const schema = z.object({
  description: z.string().trim(),
  deploymentId: z.string(),
  autoDeploy: z.boolean(),
  rateLimitHeaders: z.boolean(),
  clientCertificateId: z.string(),
  throttle,
  routeThrottles: z.array(routeThrottle),
  concurrencyLimit,
  routeConcurrencyLimits: z.array(routeConcurrencyLimit),
  variables: z.array(z.object({ name: requiredText("Name the variable."), value: z.string() })),
});

export type StageForm = UseFormReturn<z.input<typeof schema>, unknown, z.output<typeof schema>>;

type Stage = {
  id: string;
  description: string;
  autoDeploy: boolean;
  rateLimitHeaders: boolean;
  variables: readonly { name: string; value: string }[];
  throttle?: Throttle | null;
  routeThrottles: readonly (Throttle & { routeKey: string })[];
  concurrencyLimit?: ConcurrencyLimit | null;
  routeConcurrencyLimits: readonly (ConcurrencyLimit & { routeKey: string })[];
  deployment?: { id: string } | null;
  clientCertificate?: { id: string } | null;
};
type Deployment = {
  id: string;
  deploymentId: string;
  label?: string | null;
  description: string;
  createdAt: string;
};

export function StageUpdateForm({
  stage,
  deployments,
}: {
  stage: Stage;
  deployments: readonly Deployment[];
}) {
  const form = useSchemaForm(schema, {
    description: stage.description,
    deploymentId: stage.deployment?.id ?? "",
    autoDeploy: stage.autoDeploy,
    rateLimitHeaders: stage.rateLimitHeaders,
    clientCertificateId: stage.clientCertificate?.id ?? "",
    throttle: throttleTyped(stage.throttle),
    routeThrottles: stage.routeThrottles.map(({ routeKey, ...limit }) => ({
      routeKey,
      ...throttleTyped(limit),
    })),
    concurrencyLimit: concurrencyLimitTyped(stage.concurrencyLimit),
    routeConcurrencyLimits: stage.routeConcurrencyLimits.map(({ routeKey, ...limit }) => ({
      routeKey,
      ...concurrencyLimitTyped(limit),
    })),
    variables: stage.variables.map(({ name, value }) => ({ name, value })),
  });
  const routes = useFieldArray({ control: form.control, name: "routeThrottles" });
  const variables = useFieldArray({ control: form.control, name: "variables" });
  const { errors } = form.formState;
  const autoDeploy = form.watch("autoDeploy");
  return (
    <Form
      form={form}
      needs="deploy"
      submit="Save settings"
      send={async ({ deploymentId, clientCertificateId, ...values }) => {
        const chosen = deploymentId && deploymentId !== stage.deployment?.id && !values.autoDeploy;
        const moved = chosen ? { deploymentId } : {};
        const shown = { clientCertificateId: clientCertificateId || null };
        const input = { id: stage.id, ...values, ...moved, ...shown };
        const { stage: saved, userErrors } = (await request(UpdateStageDocument, { input })).updateStage;
        if (saved) {
          toast("Stage saved");
          await refreshAll();
        }
        return userErrors;
      }}
    >
      <div className="grid grid-cols-1 gap-4 sm:grid-cols-2">
        <TextField
          label="Requests a second"
          optional
          inputMode="decimal"
          placeholder="No throttle"
          error={errors.throttle?.rateLimit?.message}
          {...form.register("throttle.rateLimit")}
        />
        <TextField
          label="Burst"
          optional
          inputMode="numeric"
          hint="How many at once, over all callers of the stage."
          error={errors.throttle?.burstLimit?.message}
          {...form.register("throttle.burstLimit")}
        />
        <EnforcementField
          label="Beyond the throttle"
          hint="Reported ones are marked among the API's requests; their callers notice nothing."
          error={errors.throttle?.enforcement?.message}
          {...form.register("throttle.enforcement")}
        />
        <ThrottleWays
          mode={form.register("throttle.mode")}
          outage={form.register("throttle.outage")}
          wrong={errors.throttle}
        />
        <TextField
          label="Requests in progress"
          optional
          inputMode="numeric"
          placeholder="No limit"
          hint="How many at the same time, over all callers. None waits for its turn."
          error={errors.concurrencyLimit?.maxInFlight?.message}
          {...form.register("concurrencyLimit.maxInFlight")}
        />
        <EnforcementField
          label="Beyond those in progress"
          error={errors.concurrencyLimit?.enforcement?.message}
          {...form.register("concurrencyLimit.enforcement")}
        />
        <SelectField
          label="Deployment"
          hint={autoDeploy ? "The stage serves the draft as it is." : "Choose an earlier one to roll back."}
          disabled={autoDeploy}
          error={errors.deploymentId?.message}
          {...form.register("deploymentId")}
        >
          {!stage.deployment && <option value="">None</option>}
          {deployments.map((deployment) => (
            <option key={deployment.id} value={deployment.id}>
              {`${minute(deployment.createdAt)} · ${deployment.label || deployment.description || deployment.deploymentId}`}
            </option>
          ))}
        </SelectField>
        <SelectField
          label="Client certificate"
          hint={
            <>
              What backends over https are shown where they ask for one; see{" "}
              <Link {...paths.clientCertificates()}>client certificates</Link>.
            </>
          }
          error={errors.clientCertificateId?.message}
          {...form.register("clientCertificateId")}
        >
          <option value="">None</option>
          <ClientCertificateChoices by="id" />
        </SelectField>
        <TextField
          label="Description"
          optional
          error={errors.description?.message}
          {...form.register("description")}
        />
      </div>
      <SwitchField
        label="Deploy by itself"
        hint="The stage serves the draft: each change of the API is deployed to it within moments."
        error={errors.autoDeploy?.message}
        {...form.register("autoDeploy")}
      />
      <SwitchField
        label="Rate limit headers"
        hint="Answers tell callers what is left of their limits."
        error={errors.rateLimitHeaders?.message}
        {...form.register("rateLimitHeaders")}
      />
      <fieldset className="flex flex-col gap-2">
        <legend className="mb-1.5 font-medium">Throttles of routes</legend>
        <p className="text-xs text-muted">
          {routes.fields.length === 0
            ? "None. A route can have a limit of its own, over all its callers."
            : "Over all callers of a route, beside the limits of the stage and of keys."}
        </p>
        {routes.fields.map((field, at) => {
          const wrong = errors.routeThrottles?.[at];
          const of = `of throttle ${at + 1}`;
          return (
            <div key={field.id} className="grid grid-cols-2 items-end gap-2 lg:grid-cols-4">
              <TextField
                label={`Route ${of}`}
                className="font-mono text-xs"
                placeholder="GET /pets/{id}"
                error={wrong?.routeKey?.message}
                {...form.register(`routeThrottles.${at}.routeKey`)}
              />
              <TextField
                label={`Requests a second ${of}`}
                inputMode="decimal"
                error={wrong?.rateLimit?.message}
                {...form.register(`routeThrottles.${at}.rateLimit`)}
              />
              <TextField
                label={`Burst ${of}`}
                inputMode="numeric"
                error={wrong?.burstLimit?.message}
                {...form.register(`routeThrottles.${at}.burstLimit`)}
              />
              <EnforcementField
                label={`Beyond throttle ${at + 1}`}
                error={wrong?.enforcement?.message}
                {...form.register(`routeThrottles.${at}.enforcement`)}
              />
              <ThrottleWays
                of={of}
                mode={form.register(`routeThrottles.${at}.mode`)}
                outage={form.register(`routeThrottles.${at}.outage`)}
                wrong={wrong}
              />
              <IconButton
                label={`Remove throttle ${at + 1}`}
                onClick={() => routes.remove(at)}
                className="mb-0.5"
              >
                <Trash2 size={14} aria-hidden="true" />
              </IconButton>
            </div>
          );
        })}
        {errors.routeThrottles?.message && <p className="text-bad">{errors.routeThrottles.message}</p>}
        <div>
          <Button onClick={() => routes.append({ routeKey: "", ...throttleTyped(null) })}>
            <Plus size={14} aria-hidden="true" />
            Add throttle of a route
          </Button>
        </div>
      </fieldset>
      <RouteConcurrencyLimits form={form} />
      <fieldset className="flex flex-col gap-2">
        <legend className="mb-1.5 font-medium">Stage variables</legend>
        {variables.fields.length === 0 && (
          <p className="text-xs text-muted">None. Integrations can refer to them.</p>
        )}
        {variables.fields.map((field, at) => (
          <div key={field.id} className="grid grid-cols-[1fr_1fr_auto] items-end gap-2">
            <TextField
              label={`Name of variable ${at + 1}`}
              className="font-mono text-xs"
              error={errors.variables?.[at]?.name?.message}
              {...form.register(`variables.${at}.name`)}
            />
            <TextField
              label={`Value of variable ${at + 1}`}
              className="font-mono text-xs"
              error={errors.variables?.[at]?.value?.message}
              {...form.register(`variables.${at}.value`)}
            />
            <IconButton
              label={`Remove variable ${at + 1}`}
              onClick={() => variables.remove(at)}
              className="mb-0.5"
            >
              <Trash2 size={14} aria-hidden="true" />
            </IconButton>
          </div>
        ))}
        <div>
          <Button onClick={() => variables.append({ name: "", value: "" })}>
            <Plus size={14} aria-hidden="true" />
            Add variable
          </Button>
        </div>
      </fieldset>
    </Form>
  );
}
