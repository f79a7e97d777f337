import { z } from "zod";
import type { IntegrationInput } from "../api/generated/graphql";
import { TextArea } from "../ui/field";
import type { StoredMock } from "./route-mock";
import type { RouteFormState } from "./route-schema";
import { Section } from "./section";

/** What callers get of answers, as typed: a list in JSON, in the words of GraphQL; empty: what was answered. */
export const responseFields = { responses: z.string().trim() };

type Stored = Pick<StoredMock, "integrationResponses">;

export const responsesTyped = (stored: Stored | undefined) => {
  const responses = stored?.integrationResponses ?? [];
  return { responses: responses.length > 0 ? JSON.stringify(responses, null, 2) : "" };
};

export const responsesOf = ({ responses }: { responses: string }): Partial<IntegrationInput> => ({
  integrationResponses: responses === "" ? [] : JSON.parse(responses),
});

/** What callers get in the place of what a backend, a service or a function answered. */
export function ResponsesSection({ form }: { form: RouteFormState }) {
  const errors = form.formState.errors.integration;
  const taken =
    form.watch("integration.type") === "HTTP"
      ? "the backend's status"
      : "the service's status, or what a function throws";
  return (
    <Section
      form={form}
      name="responses"
      title="What callers get"
      fields={["integration.responses", "integration.integrationResponses"]}
      set={form.watch("integration.responses") !== ""}
    >
      <TextArea
        label="Integration responses"
        optional
        rows={8}
        placeholder={'[{ "statusCode": 404, "selectionPattern": "4\\\\d\\\\d" }]'}
        hint={`As JSON: the first whose selectionPattern takes ${taken}. Empty: what was answered.`}
        className="font-mono text-xs"
        error={errors?.responses?.message ?? errors?.integrationResponses?.message}
        {...form.register("integration.responses")}
      />
    </Section>
  );
}
