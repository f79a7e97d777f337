import { paths } from "../lib/paths";
import { ButtonLink } from "../ui/button";

export function NotFound() {
  return (
    <main className="flex min-h-[70dvh] flex-col items-center justify-center gap-2 px-6 text-center">
      <title>Not found · Tollgate</title>
      <p className="font-mono text-xs text-muted">404</p>
      <h1 className="text-xl font-semibold tracking-tight">There is nothing at this address</h1>
      <p className="max-w-md text-muted">The page may have been moved or deleted, or the address mistyped.</p>
      <ButtonLink look="primary" {...paths.overview()} className="mt-3">
        Go to the overview
      </ButtonLink>
    </main>
  );
}

/** A thing that the URL names is not there, or not the caller's. */
export function Missing({ noun }: { noun: string }) {
  return (
    <div className="flex flex-col items-center gap-2 px-6 py-24 text-center">
      <title>Not found · Tollgate</title>
      <h1 className="text-lg font-semibold">{`This ${noun} is not here`}</h1>
      <p className="text-muted">It was deleted, or it belongs to someone else.</p>
      <ButtonLink {...paths.overview()} className="mt-2">
        Go to the overview
      </ButtonLink>
    </div>
  );
}
