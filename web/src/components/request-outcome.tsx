import { Badge } from "../ui/badge";
import { StatusClass } from "./status-class";

/** What was asked: GraphQL's fields, or REST's method and path. */
export function requestTitle({
  method,
  path,
  operations,
}: {
  method: string;
  path: string;
  operations: readonly string[];
}): string {
  return operations.length > 0 ? operations.join(", ") : `${method} ${path}`;
}

/** How a request to the management API ended: its status, and the codes of its errors. */
export function RequestOutcome({
  request: { status, codes },
}: {
  request: { status?: number | null | undefined; codes: readonly string[] };
}) {
  return (
    <span className="flex flex-wrap items-center gap-1.5">
      {status ? (
        <StatusClass value={Math.floor(status / 100)} exact={status} />
      ) : (
        <Badge tone="warn">Not waited for</Badge>
      )}
      {codes.map((code) => (
        <code key={code} className="font-mono text-2xs text-muted">
          {code}
        </code>
      ))}
    </span>
  );
}
