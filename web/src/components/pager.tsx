import { type LinkProps, useRouter } from "@tanstack/react-router";
import { Button, ButtonLink } from "../ui/button";

/** Steps through a list by key. The next page is a link; the one before is where the person came from. */
export function Pager({
  pageInfo,
  first,
  next,
  after,
}: {
  pageInfo: { hasNextPage: boolean; endCursor?: string | null };
  /** The first page, as a link. */
  first: LinkProps;
  next: (after: string) => LinkProps;
  /** The cursor that this page starts behind; the first page has none. */
  after: string | undefined;
}) {
  const router = useRouter();
  if (!after && !pageInfo.hasNextPage) return null;
  return (
    <nav aria-label="Pages" className="flex items-center justify-end gap-2 border-t border-line px-4 py-2.5">
      {after && (
        <>
          <ButtonLink look="quiet" {...first}>
            First
          </ButtonLink>
          <Button onClick={() => router.history.back()}>Back</Button>
        </>
      )}
      {pageInfo.hasNextPage && pageInfo.endCursor ? (
        <ButtonLink {...next(pageInfo.endCursor)}>Next</ButtonLink>
      ) : (
        <Button disabled>Next</Button>
      )}
    </nav>
  );
}
