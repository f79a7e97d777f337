import { ClientError, GraphQLClient } from "graphql-request";
import { RequestError } from "./errors";
import type { TypedDocumentString } from "./generated/graphql";
import { browserSession, SignedOut } from "./session";

export const session = browserSession();

const graphql = new GraphQLClient(new URL("/graphql", location.origin).href, {
  credentials: "same-origin",
  // A document in flight is never parsed here; the server names what is wrong with it.
  excludeOperationName: true,
});

type Variables<V> = V extends Record<string, never> ? [] : [variables: V];

/** One GraphQL call as the person logged in; a token that is refused is renewed once. */
export async function request<R, V>(
  document: TypedDocumentString<R, V>,
  ...[variables]: Variables<V>
): Promise<R> {
  const call = (token: string) => send(document, variables, { authorization: `Bearer ${token}` });
  try {
    return await call(await session.accessToken());
  } catch (error) {
    if (!(error instanceof RequestError && error.code === "unauthenticated")) throw error;
  }
  const renewed = await session.renew();
  try {
    return await call(renewed);
  } catch (error) {
    if (!(error instanceof RequestError && error.code === "unauthenticated")) throw error;
    session.forget();
    throw new SignedOut();
  }
}

/** One GraphQL call as nobody: sign-up and log-in. */
export function requestAsNobody<R, V>(document: TypedDocumentString<R, V>, ...[variables]: Variables<V>) {
  return send(document, variables, {});
}

async function send<R, V>(
  document: TypedDocumentString<R, V>,
  variables: V | undefined,
  headers: Record<string, string>,
): Promise<R> {
  try {
    return await graphql.request<R>(document.toString(), variables as object | undefined, headers);
  } catch (error) {
    throw refusal(error);
  }
}

function refusal(error: unknown): RequestError {
  if (!(error instanceof ClientError)) {
    return new RequestError("The server cannot be reached. Is it running?", "unreachable", undefined);
  }
  const { status, body } = error.response;
  const first = error.response.errors?.[0];
  const extensions = first?.extensions as { code?: string; requestId?: string } | undefined;
  // Refused before GraphQL was asked: the answer is a problem, as everywhere under /v1.
  const problem = first ? undefined : parsedProblem(body);
  const code = extensions?.code ?? problem?.code ?? (status === 401 ? "unauthenticated" : "internal");
  const message =
    first?.message ?? problem?.detail ?? problem?.title ?? `The server answered with status ${status}.`;
  return new RequestError(message, code, extensions?.requestId ?? problem?.requestId);
}

function parsedProblem(body: string): Problem | undefined {
  try {
    return JSON.parse(body) as Problem;
  } catch {
    return undefined;
  }
}

type Problem = { title?: string; detail?: string; code?: string; param?: string; requestId?: string };

/** The one REST call beside the session: the operator's one-time link. */
export async function openOperatorSession(input: { token: string; email: string; password: string }) {
  const response = await fetch("/v1/operator/session", {
    method: "POST",
    credentials: "same-origin",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(input),
  });
  const body: unknown = await response.json().catch(() => ({}));
  if (response.ok) {
    session.start(body as { accessToken: string; expiresInSeconds: number });
    return undefined;
  }
  return body as Problem;
}
