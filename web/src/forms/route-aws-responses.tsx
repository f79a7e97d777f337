import { z } from "zod";
import type { IntegrationInput } from "../api/generated/graphql";
import { TextArea } from "../ui/field";
import type { StoredMock } from "./route-mock";
import type { RouteFormState } from "./route-schema";
import { Section } from "./section";

/** What callers get of a service's answers, as typed: a list in JSON, in the words of GraphQL; empty: what was answered. */
export const awsResponseFields = { awsResponses: z.string().trim() };

type Stored = Pick<StoredMock, "integrationResponses">;

export const awsResponsesTyped = (stored: Stored | undefined) => {
  const responses = stored?.integrationResponses ?? [];
  return { awsResponses: responses.length > 0 ? JSON.stringify(responses, null, 2) : "" };
};

export const awsResponsesOf = ({ awsResponses }: { awsResponses: string }): Partial<IntegrationInput> => ({
  integrationResponses: awsResponses === "" ? [] : JSON.parse(awsResponses),
});

/** What callers get in the place of what a service, or a function, answered. */
export function AwsResponsesSection({ form }: { form: RouteFormState }) {
  const errors = form.formState.errors.integration;
  return (
    <Section
      form={form}
      name="aws-responses"
      title="What callers get"
      fields={["integration.awsResponses", "integration.integrationResponses"]}
      set={form.watch("integration.awsResponses") !== ""}
    >
      <TextArea
        label="Integration responses"
        optional
        rows={8}
        placeholder={'[{ "statusCode": 404, "selectionPattern": "4\\\\d\\\\d" }]'}
        hint="As JSON: the first whose selectionPattern takes the service's status, or what a function throws. Empty: what was answered."
        className="font-mono text-xs"
        error={errors?.awsResponses?.message ?? errors?.integrationResponses?.message}
        {...form.register("integration.awsResponses")}
      />
    </Section>
  );
}
