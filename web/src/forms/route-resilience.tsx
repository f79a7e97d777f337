import { z } from "zod";
import type { IntegrationInput } from "../api/generated/graphql";
import type { Route } from "../pages/apis/routes";
import { TextField } from "../ui/field";
import type { RouteFormState } from "./route-schema";
import { Section } from "./section";

/** What a route's form asks of failures of its backend. Empty: nothing is sent again, and nobody is left alone. */
export const resilienceFields = {
  retryPolicy: z.object({
    attempts: z
      .string()
      .trim()
      .regex(/^[1-5]?$/, "Enter 1 to 5, or nothing."),
    statuses: z
      .string()
      .trim()
      .regex(/^(5\d\d(\s*,\s*5\d\d)*)?$/, "Enter statuses from 500 to 599, such as 502, 503."),
    hedgingDelayMs: z.string().trim().regex(/^\d*$/, "Enter milliseconds, such as 200, or nothing."),
  }),
  circuitBreaker: z.object({
    consecutiveFailures: z.string().trim().regex(/^\d*$/, "Enter a number, such as 5, or nothing."),
  }),
};

type Resilience = { [K in keyof typeof resilienceFields]: z.output<(typeof resilienceFields)[K]> };
type Integration = Route["integration"];

export function resilienceOf(integration: Integration | undefined): Resilience {
  const { retryPolicy, circuitBreaker } = integration ?? {};
  const failures = circuitBreaker?.consecutiveFailures;
  return {
    retryPolicy: {
      attempts: retryPolicy ? String(retryPolicy.attempts) : "",
      statuses: retryPolicy?.statuses.join(", ") ?? "",
      hedgingDelayMs: retryPolicy?.hedgingDelayMs ? String(retryPolicy.hedgingDelayMs) : "",
    },
    circuitBreaker: { consecutiveFailures: failures ? String(failures) : "" },
  };
}

/** Settings that the form does not ask for stay as they were. */
export function retryPolicyOf(
  { retryPolicy: { attempts, statuses, hedgingDelayMs } }: Resilience,
  before: Integration | undefined,
): Pick<IntegrationInput, "retryPolicy"> {
  if (!attempts) return {};
  const { on, anyMethod, perTryTimeoutMs } = before?.retryPolicy ?? {
    on: ["CONNECT_FAILURE", "RESET"] as const,
    anyMethod: false,
    perTryTimeoutMs: 0,
  };
  const given = statuses ? statuses.split(",").map(Number) : [];
  return {
    retryPolicy: {
      attempts: Number(attempts),
      on: [...on],
      statuses: given,
      anyMethod,
      perTryTimeoutMs,
      hedgingDelayMs: Number(hedgingDelayMs),
    },
  };
}

export function circuitBreakerOf(
  { circuitBreaker }: Resilience,
  before: Integration | undefined,
): Pick<IntegrationInput, "circuitBreaker"> {
  const consecutiveFailures = Number(circuitBreaker.consecutiveFailures);
  const kept = before?.circuitBreaker;
  if (!consecutiveFailures && !kept?.failurePercent) return {};
  if (!kept) return { circuitBreaker: { consecutiveFailures } };
  const { failurePercent, minimumRequests, openMs, halfOpenProbes } = kept;
  return {
    circuitBreaker: { consecutiveFailures, failurePercent, minimumRequests, openMs, halfOpenProbes },
  };
}

/** What happens when a backend fails. */
export function ResilienceSection({ form }: { form: RouteFormState }) {
  const errors = form.formState.errors.integration;
  const type = form.watch("integration.type");
  const retries = type === "HTTP_PROXY" && form.watch("integration.protocolVersion") === "HTTP1";
  return (
    <Section
      form={form}
      name="resilience"
      title="When the backend fails"
      fields={["integration.retryPolicy", "integration.circuitBreaker"]}
    >
      {retries && (
        <>
          <div className="grid grid-cols-[7.5rem_1fr] gap-3">
            <TextField
              label="Retries"
              optional
              inputMode="numeric"
              placeholder="2"
              error={errors?.retryPolicy?.attempts?.message}
              {...form.register("integration.retryPolicy.attempts")}
            />
            <TextField
              label="Retry on statuses"
              optional
              placeholder="502, 503"
              hint="Beside connections that fail or break."
              error={errors?.retryPolicy?.statuses?.message}
              {...form.register("integration.retryPolicy.statuses")}
            />
          </div>
          <TextField
            label="Second try beside the first after, in ms"
            optional
            inputMode="numeric"
            placeholder="200"
            hint="One of the retries, for calls that repeat safely and have no body: who answers first has the call."
            error={errors?.retryPolicy?.hedgingDelayMs?.message}
            {...form.register("integration.retryPolicy.hedgingDelayMs")}
          />
        </>
      )}
      <TextField
        label="Failures in a row that open the circuit"
        optional
        inputMode="numeric"
        placeholder="5"
        hint="The backend is then left alone for a while, and callers are answered 504 at once."
        error={errors?.circuitBreaker?.consecutiveFailures?.message}
        {...form.register("integration.circuitBreaker.consecutiveFailures")}
      />
    </Section>
  );
}
