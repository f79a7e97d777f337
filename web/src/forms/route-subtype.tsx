import { parametersOf, SUBTYPES } from "../lib/subtypes";
import { SelectField, TextField } from "../ui/field";
import type { RouteFormState } from "./route-schema";
import { Section } from "./section";

/** Whether a function answers, or which action of a service. */
export function SubtypeField({ form }: { form: RouteFormState }) {
  const errors = form.formState.errors.integration?.aws;
  return (
    <SelectField label="Calls" error={errors?.subtype?.message} {...form.register("integration.aws.subtype")}>
      <option value="">A function</option>
      {Object.keys(SUBTYPES).map((name) => (
        <option key={name}>{name}</option>
      ))}
    </SelectField>
  );
}

/** What the action is asked for. */
export function ParametersSection({ form, subtype }: { form: RouteFormState; subtype: string }) {
  const errors = form.formState.errors.integration?.aws?.parameters;
  return (
    <Section
      form={form}
      name="parameters"
      title={`The parameters of ${subtype}`}
      fields={["integration.aws.parameters"]}
      set
    >
      <p className="text-muted text-xs">
        Each is a text, or what it takes of a call: $request.body, $request.body.name, $request.path.name,
        $request.querystring.name, $request.header.name, $context.name, $stageVariables.name; within text in
        braces, such as orders/$&#123;request.path.id&#125;.
      </p>
      {parametersOf(subtype).map(({ name, required }) => (
        <TextField
          key={`${subtype} ${name}`}
          label={name}
          optional={!required}
          className="font-mono text-xs"
          error={errors?.[name]?.message}
          {...form.register(`integration.aws.parameters.${name}`)}
        />
      ))}
    </Section>
  );
}
