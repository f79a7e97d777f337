import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Loading } from "../ui/panel";
import { LoadError } from "./load-error";

/** A query's answer, or that it is loading, or why it failed. */
export function Loaded<T>({
  query,
  lines,
  whole,
  children,
}: {
  query: UseQueryResult<T>;
  /** How tall the place is that is kept while loading. */
  lines?: number;
  /** The answer draws the whole page. */
  whole?: boolean;
  children: (data: T) => ReactNode;
}) {
  if (query.data !== undefined) return children(query.data);
  if (query.isError)
    return <LoadError error={query.error} retry={() => void query.refetch()} whole={whole} />;
  return <Loading lines={lines} />;
}
