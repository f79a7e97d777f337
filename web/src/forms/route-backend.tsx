import { z } from "zod";
import { SelectField, SwitchField, TextField } from "../ui/field";
import type { RouteFormState } from "./route-schema";
import { Section } from "./section";

const milliseconds = z.string().trim().regex(/^\d*$/, "Enter milliseconds, such as 29000.");

/** How a backend is spoken to, as typed; an empty time is the default. */
export const backendFields = {
  preserveHost: z.boolean(),
  forwarded: z.enum(["", "APPEND", "REPLACE", "REMOVE"]),
  responseTransferMode: z.enum(["", "BUFFERED", "STREAM"]),
  connectTimeoutMs: milliseconds,
  firstByteTimeoutMs: milliseconds,
  idleTimeoutMs: milliseconds,
  timeoutMs: milliseconds,
};

const schema = z.object(backendFields);
type Backend = z.output<typeof schema>;

type Stored = {
  preserveHost: boolean;
  forwarded?: "APPEND" | "REPLACE" | "REMOVE" | null;
  responseTransferMode?: "BUFFERED" | "STREAM" | null;
  connectTimeoutMs: number;
  firstByteTimeoutMs: number;
  idleTimeoutMs: number;
  timeoutMs: number;
};

const TIMES = ["connectTimeoutMs", "firstByteTimeoutMs", "idleTimeoutMs", "timeoutMs"] as const;

const typed = (ms: number | undefined) => (ms ? String(ms) : "");

export const backendTyped = (stored: Stored | null | undefined): Backend => ({
  preserveHost: stored?.preserveHost ?? false,
  forwarded: stored?.forwarded ?? "",
  responseTransferMode: stored?.responseTransferMode ?? "",
  connectTimeoutMs: typed(stored?.connectTimeoutMs),
  firstByteTimeoutMs: typed(stored?.firstByteTimeoutMs),
  idleTimeoutMs: typed(stored?.idleTimeoutMs),
  timeoutMs: typed(stored?.timeoutMs),
});

/** What of it belongs to a type of integration: a function is told of callers in its event. */
export function backendOf(backend: Backend, type: "HTTP_PROXY" | "HTTP" | "AWS_PROXY" | "AWS") {
  const times = TIMES.filter((name) => backend[name] !== "").map((name) => [name, Number(backend[name])]);
  const both = {
    ...(backend.responseTransferMode ? { responseTransferMode: backend.responseTransferMode } : {}),
    ...Object.fromEntries(times),
  };
  if (type !== "HTTP_PROXY") return both;
  return {
    preserveHost: backend.preserveHost,
    ...(backend.forwarded ? { forwarded: backend.forwarded } : {}),
    ...both,
  };
}

const TIMEOUTS = [
  ["timeoutMs", "Timeout in milliseconds", "Of the whole exchange; empty: the dialect's."],
  ["connectTimeoutMs", "To connect", "Empty: 5000."],
  ["firstByteTimeoutMs", "To the first byte", "Empty: as the whole, or 30000."],
  ["idleTimeoutMs", "Between two pieces", "Empty: 300000."],
] as const;

/** How long a backend has. */
export function TimeoutsSection({ form }: { form: RouteFormState }) {
  const errors = form.formState.errors.integration;
  return (
    <Section
      form={form}
      name="timeouts"
      title="Timeouts"
      fields={TIMEOUTS.map(([name]) => `integration.${name}` as const)}
    >
      <div className="grid gap-3 sm:grid-cols-2">
        {TIMEOUTS.map(([name, label, hint]) => (
          <TextField
            key={name}
            label={label}
            optional
            inputMode="numeric"
            hint={hint}
            error={errors?.[name]?.message}
            {...form.register(`integration.${name}`)}
          />
        ))}
      </div>
    </Section>
  );
}

/** What a backend is told of callers. */
export function ForwardingSection({ form }: { form: RouteFormState }) {
  const errors = form.formState.errors.integration;
  return (
    <Section
      form={form}
      name="forwarding"
      title="What the backend is told of callers"
      fields={["integration.forwarded", "integration.preserveHost"]}
    >
      <SelectField
        label="The caller's address"
        hint="In X-Forwarded-…, and in AWS's HTTP APIs in Forwarded. What callers say of themselves is dropped, but where a trusted proxy says it."
        error={errors?.forwarded?.message}
        {...form.register("integration.forwarded")}
      >
        <option value="">The caller's address, behind those of trusted proxies</option>
        <option value="APPEND">The caller's address, behind those of trusted proxies, always</option>
        <option value="REPLACE">The client's address alone</option>
        <option value="REMOVE">Nothing</option>
      </SelectField>
      <SwitchField
        label="Keep the caller's Host"
        hint="The backend gets the host that was called, not its own."
        error={errors?.preserveHost?.message}
        {...form.register("integration.preserveHost")}
      />
    </Section>
  );
}

/** How a backend's answers, or a function's, reach callers. */
export function AnswersSection({ form }: { form: RouteFormState }) {
  const errors = form.formState.errors.integration;
  const ofFunction = form.watch("integration.type") === "AWS_PROXY";
  return (
    <Section
      form={form}
      name="answers"
      title="How answers reach callers"
      fields={["integration.responseTransferMode"]}
    >
      <SelectField
        label="Answers"
        hint={
          ofFunction
            ? "A streamed answer begins with its status and headers in JSON, then 8 NUL bytes; its body follows as it comes."
            : "A buffered answer has at most 10 MiB; one that breaks off or is larger is refused as a whole."
        }
        error={errors?.responseTransferMode?.message}
        {...form.register("integration.responseTransferMode")}
      >
        <option value="">{ofFunction ? "Whole, as one JSON" : "As the dialect has it"}</option>
        <option value="STREAM">Streamed as they come</option>
        <option value="BUFFERED">Buffered</option>
      </SelectField>
    </Section>
  );
}
