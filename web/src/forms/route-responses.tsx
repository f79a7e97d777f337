import { z } from "zod";
import type { ContentHandling, IntegrationInput } from "../api/generated/graphql";
import { SelectField, TextArea } from "../ui/field";
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

type Typed = { responses: string; contentHandling: ContentHandling | "" };

export const responsesOf = ({ responses, contentHandling }: Typed): Partial<IntegrationInput> => ({
  integrationResponses: responses === "" ? [] : JSON.parse(responses),
  ...(contentHandling ? { contentHandling } : {}),
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
      title="Bodies, and what callers get"
      fields={["integration.responses", "integration.integrationResponses", "integration.contentHandling"]}
      set={form.watch("integration.responses") !== "" || form.watch("integration.contentHandling") !== ""}
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
      <SelectField
        label="Callers' bodies"
        hint="In AWS's REST APIs the API's binary media types say more."
        error={errors?.contentHandling?.message}
        {...form.register("integration.contentHandling")}
      >
        <option value="">Go on as the dialect has it</option>
        <option value="CONVERT_TO_BINARY">Are base64 of the bytes that go on</option>
        <option value="CONVERT_TO_TEXT">Go on as text, binary ones as base64</option>
      </SelectField>
    </Section>
  );
}
