import { z } from "zod";
import type { IntegrationInput } from "../api/generated/graphql";
import type { Route } from "../pages/apis/routes";

/** What a route's form asks of failures of its backend. Empty: nothing is sent again, and nobody is left alone. */
export const resilience = {
  retryPolicy: z.object({
    attempts: z
      .string()
      .trim()
      .regex(/^[1-5]?$/, "Enter 1 to 5, or nothing."),
    statuses: z
      .string()
      .trim()
      .regex(/^(5\d\d(\s*,\s*5\d\d)*)?$/, "Enter statuses from 500 to 599, such as 502, 503."),
  }),
  circuitBreaker: z.object({
    consecutiveFailures: z.string().trim().regex(/^\d*$/, "Enter a number, such as 5, or nothing."),
  }),
};

type Resilience = { [K in keyof typeof resilience]: z.output<(typeof resilience)[K]> };
type Integration = Route["integration"];

export function resilienceOf(integration: Integration | undefined): Resilience {
  const { retryPolicy, circuitBreaker } = integration ?? {};
  const failures = circuitBreaker?.consecutiveFailures;
  return {
    retryPolicy: {
      attempts: retryPolicy ? String(retryPolicy.attempts) : "",
      statuses: retryPolicy?.statuses.join(", ") ?? "",
    },
    circuitBreaker: { consecutiveFailures: failures ? String(failures) : "" },
  };
}

/** Settings that the form does not ask for stay as they were. */
export function retryPolicyOf(
  { retryPolicy: { attempts, statuses } }: Resilience,
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
    retryPolicy: { attempts: Number(attempts), on: [...on], statuses: given, anyMethod, perTryTimeoutMs },
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
