import { z } from "zod";
import type { ContentHandling, IntegrationInput } from "../api/generated/graphql";
import { SelectField, TextArea, TextField } from "../ui/field";
import type { RouteFormState } from "./route-schema";
import { Section } from "./section";

/** What a mock answers, as typed: lists are JSON, in the words of GraphQL. */
export const mockFields = {
  mockWay: z.enum(["FIXED", "EXAMPLES", "OPENAPI", "RESPONSES"]),
  mockResponse: z.object({
    status: z.string().regex(/^[2-5]\d\d$/, "Enter a status from 200 to 599."),
    contentType: z.string().trim(),
    body: z.string(),
  }),
  contentHandling: z.enum(["", "CONVERT_TO_BINARY", "CONVERT_TO_TEXT"]),
  examples: z.string(),
  openapiOperation: z.string(),
  requestTemplates: z.string(),
  integrationResponses: z.string(),
};

const schema = z.object(mockFields);
type Mock = z.output<typeof schema>;
type Text = "examples" | "openapiOperation" | "requestTemplates" | "integrationResponses";
type Header = { name: string; value: string };
type Template = { mediaType: string; template: string };

export type StoredMock = {
  mockResponse?: { status: number; headers: readonly Header[]; body: string } | null;
  examples?: readonly {
    name: string;
    status: number;
    headers: readonly Header[];
    mediaType: string;
    body: string;
  }[];
  requestTemplates?: readonly Template[];
  integrationResponses?: readonly {
    statusCode: number;
    selectionPattern: string;
    headers: readonly Header[];
    responseTemplates: readonly Template[];
    contentHandling?: ContentHandling | null;
  }[];
  contentHandling?: ContentHandling | null;
};

const isContentType = ({ name }: Header) => name.toLowerCase() === "content-type";
const asText = (list: readonly unknown[] | undefined, sample: unknown) =>
  JSON.stringify(list && list.length > 0 ? list : sample, null, 2);

const EXAMPLES = [
  { name: "hello", status: 200, mediaType: "application/json", body: '{"message":"Hello"}' },
  { name: "unknown", status: 404, mediaType: "application/json", body: '{"message":"Unknown"}' },
];
const TEMPLATES = [{ mediaType: "application/json", template: '{"statusCode": 200}' }];
const RESPONSES = [
  {
    statusCode: 200,
    selectionPattern: "",
    responseTemplates: [{ mediaType: "application/json", template: '{"message":"Hello"}' }],
  },
];

export function mockTyped(stored: StoredMock): Mock {
  const fixed = stored.mockResponse;
  return {
    mockWay: stored.examples?.length
      ? "EXAMPLES"
      : stored.integrationResponses?.length
        ? "RESPONSES"
        : "FIXED",
    mockResponse: {
      status: String(fixed?.status ?? 200),
      contentType: fixed?.headers.find(isContentType)?.value ?? "application/json",
      body: fixed?.body ?? '{"message":"Hello"}',
    },
    contentHandling: stored.contentHandling ?? "",
    examples: asText(stored.examples, EXAMPLES),
    openapiOperation: "",
    requestTemplates: asText(stored.requestTemplates, TEMPLATES),
    integrationResponses: asText(stored.integrationResponses, RESPONSES),
  };
}

export const isList = (text: string) => {
  try {
    return Array.isArray(JSON.parse(text));
  } catch {
    return false;
  }
};

/** The fields of which the text is no list, where lists are what the mock answers by. */
export function unreadable(mock: Mock): Text[] {
  const read: Text[] =
    mock.mockWay === "EXAMPLES"
      ? ["examples"]
      : mock.mockWay === "RESPONSES"
        ? ["requestTemplates", "integrationResponses"]
        : [];
  return read.filter((name) => !isList(mock[name]));
}

/** `stored` has the headers that this form does not show. */
export function mockOf(
  mock: Mock,
  stored: Pick<StoredMock, "mockResponse"> | null | undefined,
): Partial<IntegrationInput> {
  const handling = mock.contentHandling ? { contentHandling: mock.contentHandling } : {};
  switch (mock.mockWay) {
    case "EXAMPLES":
      return { examples: JSON.parse(mock.examples), ...handling };
    case "OPENAPI":
      return { openapiOperation: mock.openapiOperation, ...handling };
    case "RESPONSES":
      return {
        requestTemplates: JSON.parse(mock.requestTemplates),
        integrationResponses: JSON.parse(mock.integrationResponses),
      };
    default: {
      const { status, contentType, body } = mock.mockResponse;
      const others = (stored?.mockResponse?.headers ?? []).filter((header) => !isContentType(header));
      const headers = contentType ? [{ name: "content-type", value: contentType }, ...others] : others;
      return { mockResponse: { status: Number(status), headers, body }, ...handling };
    }
  }
}

const FIELDS = [
  "integration.mockWay",
  "integration.mockResponse",
  "integration.examples",
  "integration.openapiOperation",
  "integration.requestTemplates",
  "integration.integrationResponses",
  "integration.contentHandling",
] as const;

/** What a mock answers. */
export function MockSection({ form }: { form: RouteFormState }) {
  return (
    <Section form={form} name="mock" title="The mock's answers" fields={FIELDS}>
      <MockFields form={form} />
    </Section>
  );
}

function MockFields({ form }: { form: RouteFormState }) {
  const errors = form.formState.errors.integration;
  const way = form.watch("integration.mockWay");
  const json = (name: Text, label: string, hint: string) => (
    <TextArea
      label={label}
      hint={hint}
      rows={8}
      className="font-mono text-xs"
      error={errors?.[name]?.message}
      {...form.register(`integration.${name}`)}
    />
  );
  return (
    <>
      <SelectField
        label="What it answers"
        error={errors?.mockWay?.message}
        {...form.register("integration.mockWay")}
      >
        <option value="FIXED">Always the same</option>
        <option value="EXAMPLES">Examples that callers choose by Prefer and Accept</option>
        <option value="OPENAPI">Examples from an OpenAPI operation</option>
        <option value="RESPONSES">AWS's integration responses, by status</option>
      </SelectField>
      {way === "EXAMPLES" &&
        json(
          "examples",
          "Examples",
          "As JSON. The first is the answer to whoever sends no Prefer: code=404, example=unknown.",
        )}
      {way === "OPENAPI" &&
        json(
          "openapiOperation",
          "OpenAPI operation",
          "As JSON, with its responses, and beside them the components that they refer to.",
        )}
      {way === "RESPONSES" && (
        <>
          {json("requestTemplates", "Request templates", "As JSON: the status by the request's media type.")}
          {json(
            "integrationResponses",
            "Integration responses",
            "As JSON: the first whose selectionPattern takes the status answers; without a pattern it is the default.",
          )}
        </>
      )}
      {way === "FIXED" && (
        <>
          <div className="grid grid-cols-[7.5rem_1fr] gap-3">
            <TextField
              label="Status"
              inputMode="numeric"
              error={errors?.mockResponse?.status?.message}
              {...form.register("integration.mockResponse.status")}
            />
            <TextField
              label="Content type"
              error={errors?.mockResponse?.contentType?.message}
              {...form.register("integration.mockResponse.contentType")}
            />
          </div>
          <TextArea
            label="Body"
            rows={4}
            className="font-mono text-xs"
            error={errors?.mockResponse?.body?.message}
            {...form.register("integration.mockResponse.body")}
          />
        </>
      )}
      {way !== "RESPONSES" && (
        <SelectField
          label="Bodies are"
          error={errors?.contentHandling?.message}
          {...form.register("integration.contentHandling")}
        >
          <option value="">Text</option>
          <option value="CONVERT_TO_BINARY">Base64 of the bytes to send</option>
          <option value="CONVERT_TO_TEXT">Text, for callers who take binary too</option>
        </SelectField>
      )}
    </>
  );
}
