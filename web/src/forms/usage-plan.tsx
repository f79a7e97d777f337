import { useQuery } from "@tanstack/react-query";
import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { query, refreshAll } from "../api/query";
import { Loaded } from "../components/loaded";
import { Choice, Choices, SelectField, TextArea, TextField } from "../ui/field";
import { EnforcementField } from "./enforcement-field";
import {
  type ConcurrencyLimit,
  concurrencyLimit,
  concurrencyLimitTyped,
  quota,
  quotaTyped,
  requiredText,
  type Throttle,
  throttle,
  throttleTyped,
} from "./fields";
import { Form, useSchemaForm } from "./form";
import { ThrottleWays } from "./throttle-ways";

const CreateUsagePlanDocument = graphql(`
  mutation CreateUsagePlan($input: CreateUsagePlanInput!) {
    createUsagePlan(input: $input) { usagePlan { id } userErrors { code message param } }
  }
`);

const UpdateUsagePlanDocument = graphql(`
  mutation UpdateUsagePlan($input: UpdateUsagePlanInput!) {
    updateUsagePlan(input: $input) { usagePlan { id } userErrors { code message param } }
  }
`);

export const StageChoicesDocument = graphql(`
  query StageChoices {
    apis(first: 50) { nodes { id apiId name stages(first: 20) { nodes { id name invokeUrl } } } }
  }
`);

const schema = z.object({
  name: requiredText("Name the plan."),
  description: z.string().trim(),
  throttle,
  concurrencyLimit,
  quota,
  stageIds: z.array(z.string()),
});

type Plan = {
  id: string;
  name: string;
  description: string;
  throttle?: Throttle | null;
  concurrencyLimit?: ConcurrencyLimit | null;
  quota?: Parameters<typeof quotaTyped>[0];
  stages: readonly { id: string }[];
};

/** Creates a plan, or changes one. */
export function UsagePlanForm({
  plan,
  onDone,
  onCancel,
}: {
  plan?: Plan;
  onDone: (plan: string) => void;
  onCancel?: () => void;
}) {
  const stages = useQuery(query(StageChoicesDocument));
  const form = useSchemaForm(schema, {
    name: plan?.name ?? "",
    description: plan?.description ?? "",
    throttle: throttleTyped(plan ? plan.throttle : { rateLimit: 10, burstLimit: 20, enforcement: "HARD" }),
    concurrencyLimit: concurrencyLimitTyped(plan?.concurrencyLimit),
    quota: quotaTyped(plan?.quota),
    stageIds: plan?.stages.map((stage) => stage.id) ?? [],
  });
  const { errors } = form.formState;
  const ofAnniversary = form.watch("quota.anchor") === "ANNIVERSARY";
  return (
    <Form
      form={form}
      needs="manageUsagePlans"
      submit={plan ? "Save plan" : "Create usage plan"}
      onCancel={onCancel}
      send={async (values) => {
        const { usagePlan, userErrors } = plan
          ? (await request(UpdateUsagePlanDocument, { input: { id: plan.id, ...values } })).updateUsagePlan
          : (await request(CreateUsagePlanDocument, { input: values })).createUsagePlan;
        if (usagePlan) {
          await refreshAll();
          onDone(usagePlan.id);
        }
        return userErrors;
      }}
    >
      <TextField label="Name" placeholder="Gold" error={errors.name?.message} {...form.register("name")} />
      <TextArea
        label="Description"
        optional
        rows={2}
        error={errors.description?.message}
        {...form.register("description")}
      />
      <div className="grid grid-cols-1 gap-4 sm:grid-cols-2">
        <TextField
          label="Requests a second"
          optional
          inputMode="decimal"
          hint="For each key, in the long run. Empty: no throttle."
          error={errors.throttle?.rateLimit?.message}
          {...form.register("throttle.rateLimit")}
        />
        <TextField
          label="Burst"
          optional
          inputMode="numeric"
          hint="How many at once."
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
          hint="How many of each key at the same time. Empty: no limit."
          error={errors.concurrencyLimit?.maxInFlight?.message}
          {...form.register("concurrencyLimit.maxInFlight")}
        />
        <EnforcementField
          label="Beyond those in progress"
          error={errors.concurrencyLimit?.enforcement?.message}
          {...form.register("concurrencyLimit.enforcement")}
        />
        <TextField
          label="Quota"
          optional
          inputMode="numeric"
          hint="Calls in each period. Empty: no quota."
          error={errors.quota?.limit?.message}
          {...form.register("quota.limit")}
        />
        <SelectField
          label="Quota period"
          error={errors.quota?.period?.message}
          {...form.register("quota.period")}
        >
          <option value="DAY">Each day</option>
          <option value="WEEK">Each week</option>
          <option value="MONTH">Each month</option>
        </SelectField>
        <SelectField
          label="Periods begin"
          error={errors.quota?.anchor?.message}
          {...form.register("quota.anchor")}
        >
          <option value="CALENDAR">With the calendar's, weeks on Monday</option>
          <option value="ANNIVERSARY">From a day on</option>
        </SelectField>
        <TextField
          label="Time zone"
          placeholder="Europe/Berlin"
          hint="Whose clocks say when a period begins."
          error={errors.quota?.timeZone?.message}
          {...form.register("quota.timeZone")}
        />
        {ofAnniversary && (
          <TextField
            label="From (UTC)"
            type="datetime-local"
            step={1}
            hint="Each period begins at this time of day. A month without the day begins on its last."
            error={errors.quota?.startsAt?.message}
            {...form.register("quota.startsAt")}
          />
        )}
        <SelectField
          label="Beyond the quota"
          hint={plan && "Other periods begin a new count. All else keeps what keys have used."}
          error={errors.quota?.enforcement?.message}
          {...form.register("quota.enforcement")}
        >
          <option value="HARD">Calls are refused</option>
          <option value="SOFT">Calls pass and are counted</option>
        </SelectField>
        <TextField
          label="Used before"
          optional
          inputMode="numeric"
          hint="Missing from a key's first period on this plan."
          error={errors.quota?.initialUsed?.message}
          {...form.register("quota.initialUsed")}
        />
      </div>
      <Choices label="Stages" hint="Keys of this plan open these stages." error={errors.stageIds?.message}>
        <Loaded query={stages} lines={2}>
          {({ apis }) => {
            const choices = apis.nodes.flatMap((api) => api.stages.nodes.map((stage) => ({ api, stage })));
            if (choices.length === 0) {
              return (
                <p className="text-muted">
                  There are none. Deploy an API first; you can add its stage later.
                </p>
              );
            }
            return choices.map(({ api, stage }) => (
              <Choice
                key={stage.id}
                label={`${api.name} / ${stage.name}`}
                note={stage.invokeUrl}
                value={stage.id}
                {...form.register("stageIds")}
              />
            ));
          }}
        </Loaded>
      </Choices>
    </Form>
  );
}
