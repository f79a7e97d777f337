import { type ErrorComponentProps, Link } from "@tanstack/react-router";
import { RequestError, requestIdOf, sentence } from "../api/errors";
import { paths } from "../lib/paths";
import { Button } from "../ui/button";
import { CopyText } from "../ui/copy";
import { useMay } from "./viewer";

/** For who may read the log. */
function LogLink({ requestId }: { requestId: string }) {
  const may = useMay();
  return may("readAudit") ? (
    <Link {...paths.managementRequest(requestId)} className="text-accent underline">
      Show in the request log
    </Link>
  ) : null;
}

/** What could not be loaded, why, the id to quote, and a way to try again. */
export function LoadError({
  error,
  retry,
  whole = false,
}: {
  error: unknown;
  retry: () => void;
  /** It stands for the whole page, so that its heading is the page's. */
  whole?: boolean;
}) {
  const Heading = whole ? "h1" : "p";
  const requestId = requestIdOf(error);
  const forbidden = error instanceof RequestError && error.code === "forbidden";
  return (
    <div role="alert" className="flex flex-col items-start gap-2 p-5">
      <Heading className="font-semibold">
        {forbidden ? "You may not see this" : "This could not be loaded"}
      </Heading>
      <p className="text-muted">{sentence(error)}</p>
      {requestId && (
        <p className="flex flex-wrap items-center gap-2 text-xs text-muted">
          Request id <CopyText text={requestId} what="request id" />
          {error instanceof RequestError && error.logged && <LogLink requestId={requestId} />}
        </p>
      )}
      {!forbidden && (
        <Button onClick={retry} className="mt-1">
          Try again
        </Button>
      )}
    </div>
  );
}

/** Shown in a page's place when drawing it failed. */
export function Broken({ error, reset }: ErrorComponentProps) {
  return <LoadError error={error} retry={reset} whole />;
}
