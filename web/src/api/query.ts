import { QueryClient, queryOptions } from "@tanstack/react-query";
import { request } from "./client";
import { RequestError } from "./errors";
import type { TypedDocumentString } from "./generated/graphql";
import { SignedOut } from "./session";

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      // Only what may pass by itself is tried again.
      retry: (failures, error) =>
        failures < 2 && error instanceof RequestError && ["unreachable", "internal"].includes(error.code),
    },
    mutations: { retry: false },
  },
});

/** A query by its document and variables; pages share the answer when both are the same. */
export function query<R, V>(
  document: TypedDocumentString<R, V>,
  ...variables: V extends Record<string, never> ? [] : [variables: V]
) {
  return queryOptions<R>({
    queryKey: [document.toString(), ...variables],
    queryFn: () => request(document, ...variables),
  });
}

type ListPage<T> = { nodes: readonly T[]; pageInfo: { hasNextPage: boolean; endCursor?: string | null } };

/** Every page of a list, one after the other: for lists that are short by their nature, and drawn whole. */
export async function everyPage<T>(
  page: (after: string | undefined) => Promise<ListPage<T> | undefined>,
): Promise<T[]> {
  const all: T[] = [];
  let found = await page(undefined);
  while (found) {
    all.push(...found.nodes);
    const { hasNextPage, endCursor } = found.pageInfo;
    found = hasNextPage && endCursor ? await page(endCursor) : undefined;
  }
  return all;
}

/** After a write: what is on screen is asked again, the rest when it is next shown. */
export function refreshAll() {
  return queryClient.invalidateQueries();
}

export function isSignedOut(error: unknown): boolean {
  return error instanceof SignedOut;
}
