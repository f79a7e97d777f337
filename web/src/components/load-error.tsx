import type { ErrorComponentProps } from "@tanstack/react-router";
import { RequestError, requestIdOf, sentence } from "../api/errors";
import { Button } from "../ui/button";
import { CopyText } from "../ui/copy";

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
        <p className="flex items-center gap-2 text-xs text-muted">
          Request id <CopyText text={requestId} what="request id" />
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
