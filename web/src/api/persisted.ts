/**
 * How a document is asked for: by its hash, of which the server that this console came with knows the text; whole where
 * that one is of another release, as it may be while replicas are replaced, or for a tab that stayed open.
 */

/** What codegen makes of a document. */
type Document = { toString(): string; __meta__?: Record<string, unknown> | undefined };

export type Asked = {
  operationName: string | undefined;
  query?: string;
  extensions?: { persistedQuery: { version: 1; sha256Hash: string } };
};

/** The documents that are sent whole from now on: a server that does not know one hash is asked for it but once. */
const whole = new Set<string>();

/** The members of a request that name its document. The operation's name is for who reads along. */
export function asked(document: Document): Asked {
  const text = document.toString();
  const operationName = /^\s*\w+ (\w+)/.exec(text)?.[1];
  const sha256Hash = document.__meta__?.hash;
  return typeof sha256Hash === "string" && !whole.has(text)
    ? { operationName, extensions: { persistedQuery: { version: 1, sha256Hash } } }
    : { operationName, query: text };
}

type Refusal = { extensions?: { code?: string; param?: string } } | undefined;

/** Whether what was asked by a hash has to be asked again: `asked` gives the document whole then. */
export function isUnknown(document: Document, { extensions }: Asked, refusal: Refusal): boolean {
  const { code, param } = refusal?.extensions ?? {};
  // A server from before there were hashes misses the query.
  const unknown = code === "PERSISTED_QUERY_NOT_FOUND" || (code === "bad_request" && param === "query");
  if (!extensions || !unknown) return false;
  whole.add(document.toString());
  return true;
}
