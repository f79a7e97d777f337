import type { ErrorCode } from "./generated/graphql";

/** A refusal that no field of a form caused: forbidden, throttled, internal, unreachable. */
export class RequestError extends Error {
  constructor(
    message: string,
    readonly code: string,
    /** Finds the call in the server's log. */
    readonly requestId: string | undefined,
    /** Whether the tenant's request log shows the call, a moment later. */
    readonly logged = false,
  ) {
    super(message);
    this.name = "RequestError";
  }
}

/** What the person can mend. `param` names the field of the input, as a path: `throttle.rateLimit`. */
export type UserError = { code: ErrorCode; message: string; param?: string | null };

/** Thrown by `settled` for a mutation outside a form, where there is no field to show it at. */
export class Refused extends Error {
  constructor(readonly userErrors: readonly UserError[]) {
    super(userErrors.map((error) => error.message).join(" "));
    this.name = "Refused";
  }
}

/** The payload of a mutation, or `Refused` with its `userErrors`. */
export function settled<T extends { userErrors: readonly UserError[] }>(payload: T): T {
  if (payload.userErrors.length > 0) throw new Refused(payload.userErrors);
  return payload;
}

/** A sentence for a toast or a banner. */
export function sentence(error: unknown): string {
  return error instanceof Error ? error.message : "Something went wrong.";
}

export function requestIdOf(error: unknown): string | undefined {
  return error instanceof RequestError ? error.requestId : undefined;
}
