import { RequestError } from "./errors";
import type { TypedDocumentString } from "./generated/graphql";
import { asked, isUnknown } from "./persisted";
import { browserSession, SignedOut } from "./session";
import { noteTraced, traceHeaders } from "./trace";

export const session = browserSession();

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
  const body = { ...asked(document), variables };
  const response = await fetch("/graphql", {
    method: "POST",
    credentials: "same-origin",
    headers: { "content-type": "application/json", ...traceHeaders(), ...headers },
    body: JSON.stringify(body),
  }).catch(() => {
    throw new RequestError("The server cannot be reached. Is it running?", "unreachable", undefined);
  });
  noteTraced(response.headers);
  const answer = (await response.json().catch(() => ({}))) as Answer<R>;
  if (answer.data && !answer.errors) return answer.data;
  const error = answer.errors?.[0];
  if (isUnknown(document, body, error)) return send(document, variables, headers);
  throw new RequestError(
    error?.message ?? `The server answered with status ${response.status}.`,
    error?.extensions?.code ?? (response.status === 401 ? "unauthenticated" : "internal"),
    error?.extensions?.requestId ?? response.headers.get("x-request-id") ?? undefined,
    !!error?.extensions?.logUrl,
  );
}

type Answer<R> = {
  data?: R | null;
  errors?: {
    message: string;
    extensions?: { code?: string; param?: string; requestId?: string; logUrl?: string };
  }[];
};

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
